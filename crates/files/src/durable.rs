use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Writes the file `path` all or nothing: a reader sees the old content or the new, also after a
/// crash. `write` fills a temporary file in the same folder, which then takes the place of `path`.
/// A missing folder is made.
///
/// # Errors
/// The errors of `write` and of the file system; the temporary file is removed then.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    replace(path, |file| {
        write(file)?;
        file.sync_all()
    })?;
    sync_dir(crate::parent(path))
}

/// As [`write_atomic`], without waiting for the disk: for the pictures of a long work, of which
/// [`sync_files`] makes many durable at once. A crash of the machine, not of the process, before
/// that may leave an empty file.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_unsynced(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    replace(path, write)
}

fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let folder = crate::parent(path);
    fs::create_dir_all(folder)?;
    // The same folder, since a rename is atomic only within one file system.
    let mut file = crate::temporary(&crate::prefix_of(path), 0o666).tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

/// Makes the content of `files`, and their names in their folders, survive a crash. Files that were
/// removed meanwhile are passed over.
///
/// # Errors
/// The errors of the file system.
pub fn sync_files(files: &[impl AsRef<Path>]) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let absent_is_fine = |synced: io::Result<()>| match synced {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        synced => synced,
    };
    let mut folders = BTreeSet::new();
    for file in files {
        let file: &Path = file.as_ref();
        absent_is_fine(File::open(file).and_then(|file| file.sync_all()))?;
        folders.insert(crate::parent(file));
    }
    folders.into_iter().try_for_each(|folder| absent_is_fine(sync_dir(folder)))
}

/// Makes the renames and new entries of the folder `dir` survive a crash. Only Unix can open a
/// folder for that; elsewhere the call does nothing.
///
/// # Errors
/// The errors of the file system.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Makes the content of every file under `dir`, and every folder, survive a crash.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() && cfg!(unix) {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_missing_folder_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.txt");
        write_atomic(&path, |file| file.write_all(b"old and long")).unwrap();
        write_atomic(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(path.parent().unwrap()), ["c.txt"]);
    }

    #[test]
    fn a_failure_keeps_the_old_content_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.txt");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(ErrorKind::Other.into())
        });
        assert!(failed.is_err());
        assert_eq!(
            (fs::read(&path).unwrap(), names(dir.path())),
            (b"old".to_vec(), vec!["c.txt".to_owned()])
        );
        let taken = dir.path().join("folder");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write_atomic(&taken, |file| file.write_all(b"x")).is_err());
        assert!(write_atomic(Path::new("/"), |_| Ok(())).is_err());
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn an_unsynced_file_is_replaced_whole_too_and_many_are_made_durable_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, gone] = ["x/a", "x/y/b", "z/gone"].map(|name| dir.path().join(name));
        for path in [&a, &b, &a] {
            write_unsynced(path, |file| file.write_all(b"new")).unwrap();
        }
        assert!(write_unsynced(&a, |_| Err(ErrorKind::Other.into())).is_err());
        assert_eq!((fs::read(&a).unwrap(), names(b.parent().unwrap()).len()), (b"new".to_vec(), 1));
        sync_files(&[a, b, gone]).unwrap();
        assert!(!dir.path().join("z").exists());
    }

    #[test]
    fn a_name_of_the_greatest_length_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n".repeat(255));
        write_atomic(&path, |file| file.write_all(b"x")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_has_the_access_rights_of_an_ordinary_one() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let [ours, ordinary] = ["ours", "ordinary"].map(|name| dir.path().join(name));
        write_atomic(&ours, |file| file.write_all(b"x")).unwrap();
        fs::write(&ordinary, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&ordinary));
    }
}
