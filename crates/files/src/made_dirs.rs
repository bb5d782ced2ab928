use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The folders that [`check_writable`] made. Those that are still empty are removed when this value
/// is dropped, so that a failure leaves nothing behind.
#[must_use = "dropped, it removes the folders"]
#[derive(Debug)]
pub struct MadeDirs {
    /// The deepest first.
    folders: Vec<PathBuf>,
}

impl Drop for MadeDirs {
    fn drop(&mut self) {
        for folder in &self.folders {
            // `remove_dir` only ever removes an empty folder: a full one is no failure.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl MadeDirs {
    /// Makes the folder `dir`, and those that hold it, as far as they are missing.
    ///
    /// # Errors
    /// The errors of the file system.
    pub(crate) fn make(dir: &Path) -> io::Result<Self> {
        let missing = dir.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = Self { folders: missing.map(Path::to_owned).collect() };
        fs::create_dir_all(dir)?;
        Ok(made)
    }
}

/// Makes the folder `dir` and proves that files can be written there, so that long work does not
/// fail at its end.
///
/// # Errors
/// The errors of the file system.
pub fn check_writable(dir: &Path) -> io::Result<MadeDirs> {
    let made = MadeDirs::make(dir)?;
    match crate::temporary(crate::TEMPORARY_PREFIX, 0o666).tempfile_in(dir)?.close() {
        // The holder of the folder took it for a left-over.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        closed => closed?,
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_way_makes_a_folder_unwritable() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(check_writable(&file.join("runs")).is_err());
    }

    #[test]
    fn empty_folders_are_removed_again() {
        let root = tempfile::tempdir().unwrap();
        let made = check_writable(&root.path().join("new/deep/er")).unwrap();
        assert_eq!(fs::read_dir(root.path().join("new/deep/er")).unwrap().count(), 0);
        fs::write(root.path().join("new/kept"), "x").unwrap();
        drop(made);
        assert!(root.path().join("new/kept").exists() && !root.path().join("new/deep").exists());
    }
}
