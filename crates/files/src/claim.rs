use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::made_dirs::MadeDirs;
use crate::{Lock, LockError, remove_leftovers_of};

/// The sole right among processes to write one file or folder, until it is dropped: work of hours
/// is refused at its beginning where another process does it already.
///
/// The empty file `.lock-HASH` beside the target stands for it meanwhile.
#[derive(Debug)]
pub struct Claim {
    target: PathBuf,
    /// Dropped before the folders, which are removed only when they are empty.
    _lock: Lock,
    /// Removes folders that were made for the target and stayed empty.
    _made: MadeDirs,
}

impl Claim {
    /// Claims `target`, whose folder is made where it is missing, and removes what killed processes
    /// that wrote it left beside it.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it, [`LockError::Io`].
    pub fn on(target: &Path) -> Result<Self, LockError> {
        if target.file_name().is_none() {
            return Err(io::Error::from(ErrorKind::InvalidFilename).into());
        }
        let folder = crate::parent(target);
        let made = MadeDirs::make(folder)?;
        let lock = Lock::acquire(&folder.join(format!(".lock-{}", crate::short_name(target))))?;
        remove_leftovers_of(target)?;
        Ok(Self { target: target.to_owned(), _lock: lock, _made: made })
    }

    /// The file or folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Proves that a new folder can take the place of the target: nothing lies there, not even a
    /// link that leads nowhere, and the file system takes the name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; those of the file system.
    pub fn check_new_dir(&self) -> io::Result<()> {
        self.check_free()?;
        fs::create_dir(&self.target)?;
        fs::remove_dir(&self.target)
    }

    /// Proves that nothing lies at the target.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; those of the file system.
    pub fn check_free(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.target) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewDir, TEMPORARY_PREFIX};

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_target_has_one_claim_and_no_trace_of_it_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("new/model");
        let claim = Claim::on(&target).unwrap();
        assert!(matches!(Claim::on(&target), Err(LockError::Held)));
        Claim::on(&root.path().join("new/other")).unwrap();
        claim.check_new_dir().unwrap();
        assert_eq!(claim.target(), target);
        drop(claim);
        assert_eq!(names(root.path()), [""; 0]);
        assert!(matches!(Claim::on(Path::new("/")), Err(LockError::Io(_))));
    }

    #[test]
    fn leftovers_of_the_target_are_removed_and_those_of_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let [mine, other] = ["mine", "other"].map(|name| root.path().join(name));
        // A killed process removes nothing.
        std::mem::forget(NewDir::beside(&mine).unwrap());
        std::mem::forget(NewDir::beside(&other).unwrap());
        fs::write(root.path().join(format!("{}x", crate::prefix_of(&mine))), "half").unwrap();
        Claim::on(&mine).unwrap();
        let left: Vec<_> =
            names(root.path()).into_iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)).collect();
        assert!(matches!(&left[..], [left] if left.starts_with(&crate::prefix_of(&other))), "{left:?}");
    }

    #[test]
    fn a_place_that_no_folder_can_take_is_refused_before_the_work() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("kept");
        fs::create_dir(&kept).unwrap();
        let kind = |target: &Path| Claim::on(target).unwrap().check_new_dir().unwrap_err().kind();
        assert_eq!(kind(&kept), ErrorKind::AlreadyExists);
        assert_eq!(kind(&root.path().join("n".repeat(256))), ErrorKind::InvalidFilename);
        #[cfg(unix)]
        {
            let link = root.path().join("link");
            std::os::unix::fs::symlink("nowhere", &link).unwrap();
            assert_eq!(kind(&link), ErrorKind::AlreadyExists);
        }
        assert!(matches!(Claim::on(&root.path().join("n".repeat(256)).join("m")), Err(LockError::Io(_))));
        assert!(kept.is_dir());
    }
}
