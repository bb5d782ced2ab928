use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use same_file::Handle;

use crate::FetchError;

/// Opens `path` for reading and writing, creates it if needed, and locks it until the file is closed.
///
/// The holder may rename or remove the file: whoever then gets the lock of the old file notices that it no longer
/// stands at `path` and opens anew. On file systems without locks the file is opened unlocked.
///
/// # Errors
/// [`FetchError::InUse`] when another process holds it; [`FetchError::Write`].
pub(crate) fn open_locked(path: &Path) -> Result<File, FetchError> {
    let write_error = |source| FetchError::Write { path: path.to_owned(), source };
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(write_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(write_error(error)),
        }
        if stands_at(&file, path).map_err(write_error)? {
            return Ok(file);
        }
    }
}

fn stands_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let opened = Handle::from_file(file.try_clone()?)?;
    match Handle::from_path(path) {
        Ok(named) => Ok(opened == named),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_in_use_until_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let held = open_locked(&path).unwrap();
        assert!(matches!(open_locked(&path), Err(FetchError::InUse { .. })));
        drop(held);
        open_locked(&path).unwrap();
    }

    #[test]
    fn a_renamed_file_does_not_hold_its_old_place() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a"), dir.path().join("b"));
        let held = open_locked(&old).unwrap();
        std::fs::rename(&old, &new).unwrap();
        assert!(!stands_at(&held, &old).unwrap());
        open_locked(&old).unwrap();
    }
}
