use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use tempfile::TempDir;

use crate::durable::{sync_dir, sync_tree};

/// A folder in the making under a temporary name. [`NewDir::finish`] moves it into place; dropped
/// before that, it is removed.
#[derive(Debug)]
pub struct NewDir {
    dir: TempDir,
}

impl NewDir {
    /// An empty folder within `folder`, which is made where it is missing. The target of
    /// [`NewDir::finish`] must lie on the same file system.
    ///
    /// # Errors
    /// The errors of the file system.
    pub fn within(folder: &Path) -> io::Result<Self> {
        Self::named(folder, crate::TEMPORARY_PREFIX)
    }

    /// An empty folder beside `target`, which is to take its place. Where the process is killed,
    /// the next [`Claim`](crate::Claim) on `target` removes it.
    ///
    /// # Errors
    /// The errors of the file system.
    pub fn beside(target: &Path) -> io::Result<Self> {
        Self::named(crate::parent(target), &crate::prefix_of(target))
    }

    fn named(folder: &Path, prefix: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { dir: crate::temporary(prefix, 0o777).tempdir_in(folder)? })
    }

    /// The temporary folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Moves the folder to `target`, with everything in it on disk. An empty folder at `target` is
    /// replaced; missing parents are made.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] or [`ErrorKind::DirectoryNotEmpty`] where something lies at
    /// `target`; those of the file system. The temporary folder is removed then.
    pub fn finish(self, target: &Path) -> io::Result<()> {
        let parent = crate::parent(target);
        fs::create_dir_all(parent)?;
        sync_tree(self.path())?;
        match fs::symlink_metadata(target) {
            // Not every system renames onto an empty folder.
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(target)?,
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(self.path(), target)?;
        // The folder is no longer at its temporary place: nothing is left to remove.
        let _ = self.dir.keep();
        sync_dir(parent)
    }
}

/// Removes every temporary file and folder that killed processes left directly under `folder`. The
/// caller holds the lock of `folder`: another process's work under way has the same names.
///
/// # Errors
/// The errors of the file system; a missing `folder` is none.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    remove_prefixed(folder, crate::TEMPORARY_PREFIX)
}

/// Removes what killed processes that wrote `target` left beside it. The caller holds a lock that
/// keeps others from writing `target`, such as a [`Claim`](crate::Claim).
///
/// # Errors
/// The errors of the file system; a missing folder is none.
pub fn remove_leftovers_of(target: &Path) -> io::Result<()> {
    remove_prefixed(crate::parent(target), &crate::prefix_of(target))
}

/// Removes every temporary file and folder directly under `folder` whose name begins with `prefix`.
fn remove_prefixed(folder: &Path, prefix: &str) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_folder_appears_whole() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/er/model");
        let new = NewDir::within(root.path()).unwrap();
        fs::write(new.path().join("a"), "x").unwrap();
        assert!(!target.exists());
        new.finish(&target).unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"x");
        assert_eq!((n_entries(root.path()), n_entries(&target)), (1, 1));
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let new = NewDir::beside(&root.path().join("x")).unwrap();
        fs::write(new.path().join("a"), "x").unwrap();
        drop(new);
        assert_eq!(n_entries(root.path()), 0);
    }

    #[test]
    fn an_empty_folder_is_replaced_and_a_full_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let [empty, full, file] = ["empty", "full", "file"].map(|name| root.path().join(name));
        fs::create_dir(&empty).unwrap();
        fs::create_dir_all(full.join("kept")).unwrap();
        fs::write(&file, "kept").unwrap();
        NewDir::beside(&empty).unwrap().finish(&empty).unwrap();
        assert!(NewDir::beside(&full).unwrap().finish(&full).is_err());
        assert!(NewDir::beside(&file).unwrap().finish(&file).is_err());
        assert!(full.join("kept").exists() && file.is_file());
        assert_eq!(n_entries(root.path()), 3);
    }

    #[test]
    fn a_folder_that_a_killed_process_left_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("n".repeat(255));
        for _ in 0..3 {
            // A killed process removes nothing.
            std::mem::forget(NewDir::beside(&target).unwrap());
        }
        NewDir::beside(&target).unwrap().finish(&target).unwrap();
        assert_eq!(n_entries(root.path()), 4);
        fs::write(root.path().join("kept"), "x").unwrap();
        remove_leftovers(root.path()).unwrap();
        assert_eq!(n_entries(root.path()), 2);
        remove_leftovers(&root.path().join("absent")).unwrap();
    }
}
