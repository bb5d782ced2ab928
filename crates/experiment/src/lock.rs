use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::ExperimentError;
use crate::store::write_error;

/// Name of the file within an output folder that is locked.
const LOCK_FILE: &str = ".lock";

/// Keeps every other [`FolderLock`] from an output folder until it is dropped. The lock of a process that dies goes
/// with it; the empty file that then stays is in nobody's way.
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Locks `folder`, without waiting.
    ///
    /// # Errors
    /// [`ExperimentError::FolderInUse`] when it is locked already, [`ExperimentError::Write`].
    pub fn acquire(folder: &Path) -> Result<Self, ExperimentError> {
        let path = folder.join(LOCK_FILE);
        loop {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|source| write_error(&path, source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(ExperimentError::FolderInUse { folder: folder.to_owned() });
                }
                // A file system without locks must not keep anybody from working there.
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
                Err(TryLockError::Error(source)) => return Err(write_error(&path, source)),
            }
            // Whoever held the lock may have removed the file after it was opened here: then the next one to come would
            // lock a new file.
            if lies_at(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Before the file is unlocked, as `acquire` relies on it. Best effort: a file that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the file system says that it has no locks: some network file systems do so with ENOLCK, which has no kind.
fn has_no_locks(error: &std::io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == ErrorKind::Unsupported
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(ENOLCK))
}

/// Whether the open `file` is the one at `path`.
#[cfg(unix)]
fn lies_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => identity(file) == identity(there),
        _ => false,
    }
}

/// Not known here: of three processes that start and stop in the same instant two might work at once.
#[cfg(not(unix))]
fn lies_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        // As a process that was killed leaves it.
        fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        let lock = FolderLock::acquire(dir.path()).unwrap();
        let error = FolderLock::acquire(dir.path()).unwrap_err();
        assert!(matches!(&error, ExperimentError::FolderInUse { folder } if folder == dir.path()));
        assert!(FolderLock::acquire(&dir.path().join("absent")).is_err());
        drop(lock);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        FolderLock::acquire(dir.path()).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_network_file_system_without_locks_is_told_from_an_error() {
        for (code, expected) in [(37, true), (95, true), (5, false), (11, false)] {
            assert_eq!(has_no_locks(&std::io::Error::from_raw_os_error(code)), expected, "{code}");
        }
    }

    #[test]
    fn removing_the_file_lets_no_two_in() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, n_locked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while n_locked.load(Ordering::SeqCst) < 200 {
                        let Ok(lock) = FolderLock::acquire(dir.path()) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        n_locked.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
