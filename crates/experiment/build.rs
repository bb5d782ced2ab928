//! Gives the program a name for the code that decides its figures: `FMAM_SOURCES`, 16 hexadecimal
//! digits over the sources of the crates that compute and over `Cargo.lock`. Comments and unit
//! tests do not count. Finished runs are compared by it, since a version and a commit do not change
//! when a file is edited.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that compute figures; the crates that they depend on count too.
const COMPUTING: [&str; 3] = ["methods", "metrics", "datasets"];
/// A crate that computes nothing.
const NOT_COMPUTING: &str = "files";
/// The files of this crate that compute figures.
const OWN: [&str; 9] = [
    "analysis.rs",
    "calibration/config.rs",
    "calibration/fit.rs",
    "calibration/good_scores.rs",
    "evaluation/evaluator.rs",
    "evaluation/pixel_sample.rs",
    "input_config.rs",
    "overrides.rs",
    "scatter.rs",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without its workspace the crate has no sources to name.
    let is_in_workspace = Path::new("../methods/Cargo.toml").exists();
    match sources_digest(Path::new("..")) {
        Some(digest) => println!("cargo:rustc-env=FMAM_SOURCES={digest:016x}"),
        None => assert!(!is_in_workspace, "a source that `build.rs` names is missing"),
    }
}

fn sources_digest(crates: &Path) -> Option<u64> {
    let mut names = BTreeSet::new();
    let mut open: Vec<String> = COMPUTING.map(str::to_owned).to_vec();
    while let Some(name) = open.pop() {
        if name != NOT_COMPUTING && names.insert(name.clone()) {
            let manifest = crates.join(name).join("Cargo.toml");
            open.extend(dependencies(&fs::read_to_string(&manifest).ok()?));
        }
    }
    let mut files = vec![crates.join("../Cargo.lock")];
    for name in names {
        let folder = crates.join(name);
        files.push(folder.join("Cargo.toml"));
        println!("cargo:rerun-if-changed={}", folder.join("src").display());
        collect(&folder.join("src"), &mut files)?;
    }
    files.extend(OWN.map(|name| Path::new("src").join(name)));
    files.sort();
    let mut digest = Fnv::default();
    for path in files {
        println!("cargo:rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).ok()?;
        digest.add(path.file_name()?.as_encoded_bytes());
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        digest.add(if is_rust { code(&text) } else { text }.as_bytes());
    }
    Some(digest.0)
}

/// The workspace's crates that a manifest names before its development dependencies.
fn dependencies(manifest: &str) -> Vec<String> {
    let manifest = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let names = manifest.lines().filter_map(|line| line.strip_prefix("fmam-")?.split(['.', ' ', '=']).next());
    names.map(str::to_owned).collect()
}

/// Every Rust source under `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Option<()> {
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Some(())
}

/// A source without comment lines and without the unit tests, which end each file.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The hash FNV-1a of 64 bits, which is the same on every system.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        // The length parts one piece from the next.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
