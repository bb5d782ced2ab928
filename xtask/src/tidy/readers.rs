//! Files that others wrote are read through `fmam_files` alone: a pipe or a file without end in
//! their place is refused there.

use super::finding::Finding;

/// Functions that open whatever lies at a path.
const FUNCTIONS: &[&str] =
    &["fs::read(", "fs::read_to_string(", "File::open(", "image::open(", "ImageReader::open("];

/// The crate that wraps them.
const WRAPPER: &str = "crates/files/";

/// Files of other crates that may call them, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("crates/ops/src/device.rs", "files of the system, on a floor below fmam-files"),
    ("crates/fmam/src/measure/npy.rs", "arrays may come through a pipe"),
];

/// Checks the Rust file `path` up to its tests. Files below `/proc` have no end to fear.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let is_read = path.starts_with("crates/") && path.contains("/src/") && !path.starts_with(WRAPPER);
    let is_test = path.ends_with("/tests.rs") || path.ends_with("/fixture.rs") || path.contains("/testkit/");
    if !is_read || is_test || EXCEPTIONS.iter().any(|(exception, _)| *exception == path) {
        return Vec::new();
    }
    let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").enumerate();
    let findings =
        code.filter(|(_, line)| !line.trim_start().starts_with("//") && !line.contains("\"/proc/"));
    let findings = findings.filter_map(|(index, line)| {
        let is_called = |function: &&&str| {
            let places = line.match_indices(**function);
            places.into_iter().any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
        };
        let function = FUNCTIONS.iter().find(is_called)?;
        let message =
            format!("{function}..) takes pipes and files of any size: use fmam_files::read_limited");
        Some(Finding::error(path, index + 1, message))
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_anything_are_found_outside_of_tests() {
        let text = "\
let a = std::fs::read(path)?;
let b = fs::read_to_string(\"/proc/self/status\")?;
// As fs::read(path) does.
let c = fmam_files::read_limited(path, 1)?;
let d = BufReader::new(File::open(path)?);
let f = ArrayFile::open(path)?;
#[cfg(test)]
mod tests { let e = fs::read(path).unwrap(); }
";
        let lines =
            |path: &str| -> Vec<usize> { check(path, text).iter().map(|finding| finding.line).collect() };
        assert_eq!(lines("crates/a/src/b.rs"), [1, 5]);
        for path in ["crates/files/src/read.rs", "crates/a/tests/b.rs", "xtask/src/a.rs", EXCEPTIONS[0].0] {
            assert!(lines(path).is_empty(), "{path}");
        }
    }
}
