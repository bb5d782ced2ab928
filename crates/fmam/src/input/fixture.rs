//! Folders of images for tests.

use std::path::{Path, PathBuf};

use crate::Error;

/// A temporary folder with `files`, none of which is an image.
pub(super) fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    root
}

/// The names below `root` of images that were found.
pub(super) fn names(root: &Path, found: impl Iterator<Item = Result<PathBuf, Error>>) -> Vec<String> {
    let name = |path: PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.map(|path| name(path.unwrap())).collect()
}
