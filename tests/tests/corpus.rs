//! The corpus of the fuzz targets, replayed by the functions that the targets call.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fmam_tests::fuzz::{TARGETS, Target};

/// Files of a target, at most.
const MOST_FILES: usize = 110;

/// Bytes of a file.
const LARGEST_FILE: u64 = 8 << 10;

/// Bytes of the corpus.
const MOST_BYTES: u64 = 1 << 20;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of the corpus of `target`, by name.
fn files(target: &Target) -> Vec<PathBuf> {
    let folder = package().join("corpus").join(target.name);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Replays the corpus of the target `name`. Each of its seeds is accepted.
fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    for (seed, bytes) in (target.seeds)() {
        assert!((target.run)(&bytes), "{name} refuses its seed {seed}");
    }
    let files = files(target);
    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let passed = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        assert!(passed.is_ok(), "{} fails, see above", file.display());
    }
}

#[test]
fn archive() {
    replay("archive");
}

#[test]
fn calibration() {
    replay("calibration");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn graph() {
    replay("graph");
}

#[test]
fn image() {
    replay("image");
}

#[test]
fn list() {
    replay("list");
}

#[test]
fn maps() {
    replay("maps");
}

#[test]
fn mask() {
    replay("mask");
}

#[test]
fn model() {
    replay("model");
}

#[test]
fn npy() {
    replay("npy");
}

#[test]
fn record() {
    replay("record");
}

#[test]
fn rows() {
    replay("rows");
}

#[test]
fn serve() {
    replay("serve");
}

#[test]
fn shapes() {
    replay("shapes");
}

#[test]
fn weights() {
    replay("weights");
}

#[test]
fn every_target_has_a_binary_and_a_small_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = package().join(folder).read_dir().unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest: toml::Table =
        std::fs::read_to_string(package().join("Cargo.toml")).unwrap().parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap();
    let binaries: BTreeSet<String> =
        binaries.iter().map(|binary| binary["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(binaries, names);
    let mut total = 0;
    for target in TARGETS {
        let files = files(target);
        assert!(files.len() <= MOST_FILES, "{} has {} files", target.name, files.len());
        for file in files {
            let bytes = file.metadata().unwrap().len();
            assert!(bytes <= LARGEST_FILE, "{} has {bytes} bytes", file.display());
            total += bytes;
        }
    }
    assert!(total <= MOST_BYTES, "the corpus has {total} bytes");
}
