use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use same_file::Handle;

/// Why a lock was not acquired.
#[derive(Debug)]
pub enum LockError {
    /// Another holder has the lock.
    Held,
    /// The file could not be opened or locked.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("another process holds the lock"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A lock that every other [`Lock`] on the same path waits for, until it is dropped. The lock of a
/// process that dies goes with the process; the empty file that then stays is in nobody's way.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks the file `path`, which is made where it is missing, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] when another holder has it, [`LockError::Io`].
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        Ok(Self { path: path.to_owned(), _file: open_locked(path)? })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the file is unlocked, as `open_locked` relies on it. A file that stays does no
        // harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens `path` for reading and writing, makes it where it is missing, and locks it until the file
/// is closed. The holder may rename or remove the file: a later caller notices that the file it
/// locked is no longer the one at `path`, and opens anew. On a file system without locks the file
/// is opened unlocked.
///
/// # Errors
/// [`LockError::Held`] when another holder has it, [`LockError::Io`].
pub fn open_locked(path: &Path) -> Result<File, LockError> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held),
            // A file system without locks must not keep anybody from working there.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if stands_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// True where the file system says that it has no locks: some network file systems answer ENOLCK,
/// which has no kind.
fn has_no_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == ErrorKind::Unsupported
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(ENOLCK))
}

/// True where the open `file` is the one at `path`: not where it was removed or renamed, or where
/// another file took its place.
///
/// # Errors
/// The errors of the file system; a missing file is none.
pub fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = Handle::from_file(file.try_clone()?)?;
    match Handle::from_path(path) {
        Ok(named) => Ok(opened == named),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_path_is_locked_once_and_free_again_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        // A killed process leaves the file.
        fs::write(&path, "").unwrap();
        let lock = Lock::acquire(&path).unwrap();
        assert!(matches!(Lock::acquire(&path), Err(LockError::Held)));
        assert!(matches!(Lock::acquire(&dir.path().join("absent/.lock")), Err(LockError::Io(_))));
        drop(lock);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn a_renamed_file_does_not_hold_its_old_place() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a"), dir.path().join("b"));
        let held = open_locked(&old).unwrap();
        fs::rename(&old, &new).unwrap();
        assert!(!stands_at(&held, &old).unwrap());
        open_locked(&old).unwrap();
        assert!(matches!(open_locked(&new), Err(LockError::Held)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_network_file_system_without_locks_is_told_from_an_error() {
        for (code, expected) in [(37, true), (95, true), (5, false), (11, false)] {
            assert_eq!(has_no_locks(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
    }

    #[test]
    fn removing_the_file_lets_no_two_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let (inside, n_locked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while n_locked.load(Ordering::SeqCst) < 200 {
                        let Ok(lock) = Lock::acquire(&path) else { continue };
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
