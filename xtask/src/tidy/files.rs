//! Rules about any tracked file: its name, its size, and the hosts that it names.

use super::finding::Finding;

/// Names that do not say what is inside.
const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];
/// Largest tracked file, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The one folder that may hold larger files.
const WEIGHTS: &str = "data/weights/";
/// Hosts of package registries. Cargo and pip know theirs from the user's configuration, which may
/// name a mirror.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates.io", "-index"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pypi.python", ".org"),
    concat!("python", "hosted.org"),
];
/// A Rust file of more lines than this holds more than one subject.
const MAX_LINES: usize = 600;
/// A Rust file of more lines than this is worth a look.
const MANY_LINES: usize = 400;
/// The one file that names its registry and is written by cargo.
const LOCK_FILE: &str = "Cargo.lock";

/// Checks one tracked file.
pub(super) fn check(path: &str, content: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with(".rs")
        && let Some(name) = path.split('/').map(stem).find(|name| VAGUE_NAMES.contains(name))
    {
        findings.push(Finding::error(
            path,
            1,
            format!("`{name}` does not say what is inside: name the subject"),
        ));
    }
    if path.ends_with(".rs") {
        findings.extend(check_length(path, content.iter().filter(|byte| **byte == b'\n').count()));
    }
    if content.len() > MAX_BYTES && !path.starts_with(WEIGHTS) {
        let bytes = content.len();
        findings.push(Finding::error(
            path,
            1,
            format!("{bytes} bytes, at most {MAX_BYTES} outside {WEIGHTS}"),
        ));
    }
    if path != LOCK_FILE
        && let Ok(text) = std::str::from_utf8(content)
    {
        for (index, line) in text.lines().enumerate() {
            if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
                findings.push(Finding::error(path, index + 1, format!("names the registry host {host}")));
            }
        }
    }
    findings
}

fn check_length(path: &str, lines: usize) -> Option<Finding> {
    let at_most = format!("{lines} lines, at most {MAX_LINES} are allowed: split by subject");
    if lines > MAX_LINES {
        Some(Finding::error(path, lines, at_most))
    } else {
        (lines > MANY_LINES).then(|| Finding::note(path, lines, at_most))
    }
}

fn stem(component: &str) -> &str {
    component.split_once('.').map_or(component, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::Severity;

    fn check_count(path: &str, content: &[u8], expected: usize) {
        assert_eq!(check(path, content).len(), expected, "{path}: {:#?}", check(path, content));
    }

    #[test]
    fn vague_names_are_found() {
        check_count("crates/a/src/utils.rs", b"", 1);
        check_count("tests/common/mod.rs", b"", 1);
        check_count("crates/a/src/misc/b.rs", b"", 1);
        check_count("crates/a/src/common_mode.rs", b"", 0);
        check_count("docs/src/misc.md", b"", 0);
    }

    #[test]
    fn large_files_are_for_the_weights_folder() {
        let large = vec![0; MAX_BYTES + 1];
        check_count("tests/reference/a.bin", &large, 1);
        check_count("tests/reference/a.bin", &large[1..], 0);
        check_count("data/weights/a.safetensors", &large, 0);
    }

    #[test]
    fn long_files_are_found() {
        let severities = |lines: usize| -> Vec<Severity> {
            check("a.rs", &vec![b'\n'; lines]).iter().map(|finding| finding.severity).collect()
        };
        assert_eq!(severities(400), []);
        assert_eq!(severities(401), [Severity::Note]);
        assert_eq!(severities(600), [Severity::Note]);
        assert_eq!(severities(601), [Severity::Error]);
    }

    #[test]
    fn registry_hosts_are_found() {
        for host in REGISTRY_HOSTS {
            let text = format!("first\nsee https://{host}/simple\n");
            let findings = check("docs/a.md", text.as_bytes());
            assert!(matches!(&findings[..], [Finding { line: 2, .. }]), "{host}: {findings:#?}");
            check_count(LOCK_FILE, text.as_bytes(), 0);
        }
        check_count("docs/a.md", b"from crates.io", 0);
        check_count("a.png", b"\xff\xd8\0", 0);
    }
}
