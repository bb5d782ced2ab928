use std::collections::BTreeMap;

use fmam_record::SOURCES_KEY;

/// The digest of the sources of this program's computing crates; `None` for a program that was
/// built outside of its workspace.
pub(crate) const THIS_SOURCES: Option<&str> = option_env!("FMAM_SOURCES");

/// True where a record's program computes as this one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameProgram {
    /// The same sources, or at least nothing that tells a difference.
    Yes,
    /// Other sources.
    No,
    /// The record has no digest, but names another version or commit.
    Unknown,
}

/// Compares the `versions` of a record with those of this program, `own`. Other sources may give
/// other figures for the same run; a record from before the digest was kept tells its version and
/// commit at most.
pub(crate) fn same_program(
    versions: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) -> SameProgram {
    if let (Some(there), Some(here)) = (versions.get(SOURCES_KEY), own.get(SOURCES_KEY)) {
        return if there == here { SameProgram::Yes } else { SameProgram::No };
    }
    let differ = |key: &str| versions.get(key).is_some_and(|there| own.get(key) != Some(there));
    if differ("fmam") || differ("commit") { SameProgram::Unknown } else { SameProgram::Yes }
}

/// A program as a person says it: `fmam 0.1.0 (commit 10fcd4b, sources 0f3a..)`.
pub(crate) fn program_name(versions: &BTreeMap<String, String>) -> String {
    let version = versions.get("fmam").map_or("?", String::as_str);
    let detail = |key: &str| Some(format!("{key} {}", versions.get(key)?.get(..7)?));
    let details: Vec<_> = ["commit", SOURCES_KEY].into_iter().filter_map(detail).collect();
    match details.is_empty() {
        true => format!("fmam {version}"),
        false => format!("fmam {version} ({})", details.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn sources_tell_programs_apart_and_versions_only_raise_a_doubt() {
        let own = versions(&[("fmam", "2"), ("commit", "b"), (SOURCES_KEY, "0123456789abcdef")]);
        for (there, expected) in [
            (&[("fmam", "2"), ("commit", "a"), (SOURCES_KEY, "0123456789abcdef")][..], SameProgram::Yes),
            (&[("fmam", "2"), ("commit", "b"), (SOURCES_KEY, "1123456789abcdef")], SameProgram::No),
            (&[("fmam", "2"), ("commit", "b")], SameProgram::Yes),
            (&[("fmam", "2"), ("commit", "a")], SameProgram::Unknown),
            (&[("fmam", "1")], SameProgram::Unknown),
            (&[], SameProgram::Yes),
        ] {
            assert_eq!(same_program(&versions(there), &own), expected, "{there:?}");
        }
    }

    #[test]
    fn this_program_knows_its_sources() {
        assert!(THIS_SOURCES.is_some_and(|digest| digest.len() == 16));
        let name = program_name(&versions(&[("fmam", "0.1.0"), (SOURCES_KEY, "0123456789abcdef")]));
        assert_eq!(name, "fmam 0.1.0 (sources 0123456)");
    }
}
