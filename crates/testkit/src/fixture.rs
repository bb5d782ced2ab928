use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The path of reference fixture `name` (`models/x.json`, say) below `tests/reference` of the
/// workspace.
pub fn fixture_path(name: &str) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let workspace = crates.and_then(Path::parent).unwrap_or(Path::new("."));
    workspace.join("tests/reference").join(name)
}

/// Reads the JSON fixture `name`, see [`fixture_path`].
///
/// # Panics
/// Panics if it is missing or does not hold a `T`; the message names the file.
#[track_caller]
pub fn read_fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = fixture_path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("cannot read fixture {}: {error}; the script beside it makes it", path.display())
    });
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("fixture {} has another layout than the test: {error}", path.display())
    })
}

/// The folder of real data that the environment variable `FMAM_DATA` names. Where it is unset, says
/// on stderr that the test was skipped and gives `None`, so that a test begins with `let Some(root)
/// = fmam_testkit::data_root() else { return };`.
///
/// # Panics
/// Panics if `FMAM_DATA` is set but is not a folder: a wrong path must not pass as skipped.
#[track_caller]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so, and only tests call this")]
pub fn data_root() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("FMAM_DATA").map(PathBuf::from) else {
        eprintln!("skipped: FMAM_DATA is not set");
        return None;
    };
    assert!(root.is_dir(), "FMAM_DATA={} is not a folder", root.display());
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_lie_in_the_workspace_tests_folder() {
        let path = fixture_path("models/x.json");
        assert!(path.ends_with("tests/reference/models/x.json"), "{}", path.display());
        let workspace = path.ancestors().nth(4).unwrap();
        assert!(workspace.join("crates/testkit/Cargo.toml").is_file(), "{}", workspace.display());
    }

    #[test]
    fn a_missing_fixture_is_named() {
        let panic = std::panic::catch_unwind(|| read_fixture::<Vec<f32>>("no/such.json")).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("no/such.json"));
    }
}
