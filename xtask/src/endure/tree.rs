//! Folders: a copy, and what lies in one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Copies the folder `from` to the new folder `to`.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files below `folder` by their paths within it; none where there is no such folder.
pub(super) fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        add(folder, folder, &mut found)?;
    }
    Ok(found)
}

fn add(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            add(root, &path, found)?;
        } else {
            found.insert(path.strip_prefix(root)?.to_owned(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

/// The first left-over of work that was not finished, below `folder`.
pub(super) fn left_over(folder: &Path) -> Result<Option<PathBuf>> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".partial-") || name.starts_with(".unpacking-") {
            return Ok(Some(entry.path()));
        }
        if entry.file_type()?.is_dir()
            && let Some(found) = left_over(&entry.path())?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
