//! Paths that are no text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Call, fmam, image_dataset};

/// A name that is not UTF-8.
fn odd(name: &str) -> OsString {
    let mut odd = OsStr::from_bytes(b"\xff-").to_owned();
    odd.push(name);
    odd
}

/// Runs words in order; those that begin with `!` name a file or folder by [`odd`].
#[track_caller]
fn succeed(dir: &Path, words: &str) -> Call {
    let args = words.split_whitespace().map(|word| word.strip_prefix('!').map_or(word.into(), odd));
    let call = fmam(dir, args);
    assert_eq!(call.code, Some(0), "fmam {words}\n{}", call.stderr);
    call
}

#[test]
fn every_command_takes_a_path_that_is_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let root = image_dataset(dir);
    std::fs::rename(root, dir.join(odd("data"))).unwrap();
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/weights/efficientnet_lite0.safetensors");
    std::fs::copy(embedded, dir.join(odd("weights.safetensors"))).unwrap();
    std::fs::copy(dir.join(odd("data")).join("plain/test/good/000.png"), dir.join(odd("image.png"))).unwrap();

    let data = "--dataset mvtec --data-root !data";
    let run = "--backbone efficientnet-lite0 --weights !weights.safetensors --image-size 64 --threads 2";
    let grid = format!("reproduce {data} {run} --methods teacher --seeds 0 --out !out");
    succeed(dir, &grid);
    let again = succeed(dir, &grid);
    assert!(again.stderr.contains("1 of 1 runs are finished"), "{}", again.stderr);
    // The record knows where the images lie.
    succeed(dir, "analyze !out --overwrite");
    succeed(dir, "report !out");

    succeed(dir, &format!("fit {data} {run} --category plain --method teacher --out !model"));
    succeed(dir, &format!("eval {data} --model !model --out !evaluation"));
    succeed(dir, "predict !image.png --model !model --out !verdicts");
    for folder in ["out", "model", "evaluation", "verdicts"] {
        assert!(dir.join(odd(folder)).is_dir(), "{folder}");
    }
}
