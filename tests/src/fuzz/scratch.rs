//! A folder for the files of one input.

use std::path::PathBuf;

use tempfile::TempDir;

/// A new empty folder. A campaign sets `TMPDIR` to a place in memory.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes `data` as the file `name` of `folder`; gives its path.
pub(super) fn write(folder: &TempDir, name: &str, data: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, data).unwrap();
    path
}
