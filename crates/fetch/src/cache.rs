use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use fmam_files::write_atomic;

use crate::{FetchError, sha256_file};

/// Bytes of a note beside a fetched file, at most.
pub(crate) const MAX_NOTE: u64 = 64 << 10;

/// The folder for downloads: what the environment variable `FMAM_CACHE` says, or `fmam` in the
/// platform's cache folder, which is `~/Library/Caches` on macOS, the local application data on
/// Windows, and by the XDG rules elsewhere. It need not exist.
///
/// # Errors
/// [`FetchError::NoCacheDir`] when there is no home folder.
pub fn cache_dir() -> Result<PathBuf, FetchError> {
    let platform = || choose_native_strategy().ok().map(|strategy| strategy.cache_dir());
    chosen(std::env::var_os("FMAM_CACHE"), platform)
}

fn chosen(
    variable: Option<OsString>,
    platform: impl FnOnce() -> Option<PathBuf>,
) -> Result<PathBuf, FetchError> {
    match variable.filter(|value| !value.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => platform().map(|folder| folder.join("fmam")).ok_or(FetchError::NoCacheDir),
    }
}

/// The file that holds the digest of `path`, as `sha256sum` writes it.
fn record_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// True if a digest of `path` was kept when the file was fetched.
pub fn has_digest(path: &Path) -> bool {
    record_path(path).is_file()
}

/// Keeps the SHA-256 of `path`, 64 hexadecimal digits, beside it for [`check_digest`].
///
/// # Errors
/// [`FetchError::Write`].
pub fn record_digest(path: &Path, digest: &str) -> Result<(), FetchError> {
    let record = record_path(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    write_atomic(&record, |file| writeln!(file, "{digest}  {name}"))
        .map_err(|source| FetchError::Write { path: record, source })
}

/// Removes what killed processes that kept the digest of `path` left. The caller holds a lock that
/// keeps others from fetching `path`.
///
/// # Errors
/// [`FetchError::Write`].
pub fn remove_digest_leftovers(path: &Path) -> Result<(), FetchError> {
    let record = record_path(path);
    fmam_files::remove_leftovers_of(&record).map_err(|source| FetchError::Write { path: record, source })
}

/// Removes `path` and the digest that was kept beside it, as far as they are there.
pub fn forget(path: &Path) {
    // Best effort: what stays is told by [`check_digest`] when it is used.
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(record_path(path));
}

/// Compares `path` with the digest that was kept when it was fetched; one that has none gets it
/// now. Gives the digest.
///
/// # Errors
/// [`FetchError::Changed`] when the file is another one; [`FetchError::BadRecord`],
/// [`FetchError::Read`], [`FetchError::Write`].
pub fn check_digest(path: &Path) -> Result<String, FetchError> {
    let found = sha256_file(path)?;
    let record = record_path(path);
    let text = match fmam_files::read_text_limited(&record, MAX_NOTE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            record_digest(path, &found)?;
            return Ok(found);
        }
        Err(source) => return Err(FetchError::Read { path: record, source }),
    };
    match text.split_whitespace().next() {
        Some(recorded) if recorded.eq_ignore_ascii_case(&found) => Ok(found),
        Some(recorded) if recorded.len() == found.len() => {
            Err(FetchError::Changed { path: path.to_owned(), recorded: recorded.to_owned(), found })
        }
        _ => Err(FetchError::BadRecord { path: record }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_platform() {
        let platform = || Some(PathBuf::from("/home/a/.cache"));
        assert_eq!(chosen(Some("/c".into()), platform).unwrap(), Path::new("/c"));
        assert_eq!(chosen(Some("".into()), platform).unwrap(), Path::new("/home/a/.cache/fmam"));
        assert!(matches!(chosen(None, || None), Err(FetchError::NoCacheDir)));
    }

    #[test]
    fn each_platform_keeps_caches_at_its_own_place() {
        let home = etcetera::home_dir().unwrap();
        let place = choose_native_strategy().unwrap().cache_dir();
        if cfg!(target_os = "macos") {
            assert_eq!(place, home.join("Library/Caches"));
        } else if cfg!(windows) {
            let told = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
            assert_eq!(place, told.unwrap_or_else(|| home.join("AppData/Local")));
        } else {
            let told =
                std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            assert_eq!(place, told.unwrap_or_else(|| home.join(".cache")));
        }
    }

    #[test]
    fn a_changed_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights.pth");
        fs::write(&path, "one").unwrap();
        assert!(!has_digest(&path));
        let digest = check_digest(&path).unwrap();
        assert!(has_digest(&path));
        assert_eq!(check_digest(&path).unwrap(), digest);
        let record = dir.path().join("weights.pth.sha256");
        assert_eq!(fs::read_to_string(&record).unwrap(), format!("{digest}  weights.pth\n"));
        fs::write(&path, "two").unwrap();
        let error = check_digest(&path).unwrap_err();
        assert!(
            matches!(&error, FetchError::Changed { .. }) && error.to_string().contains("weights.pth"),
            "{error}"
        );
        fs::write(&record, "nothing").unwrap();
        assert!(matches!(check_digest(&path), Err(FetchError::BadRecord { .. })));
        forget(&path);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
