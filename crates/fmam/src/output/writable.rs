use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use fmam_files::{Claim, LockError, MadeDirs, TEMPORARY_PREFIX};
use fmam_record::RecordError;

use crate::Error;

/// Makes the folder `dir` and proves that files can be written there. The folders that were made
/// are removed with the result, where they are empty then.
///
/// # Errors
/// [`Error::Write`] naming the folder.
pub fn check_writable(dir: &Path) -> Result<MadeDirs, Error> {
    fmam_files::check_writable(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })
}

/// The folder that holds `path`.
pub fn parent_of(path: &Path) -> &Path {
    fmam_files::parent(path)
}

/// Claims the file or folder `target` among processes, until the value is dropped. Its folder is
/// made where it is missing, and what killed processes that wrote it left is removed.
///
/// # Errors
/// [`Error::Record`] where another process has it, [`Error::Write`].
pub fn claim(target: &Path) -> Result<Claim, Error> {
    Claim::on(target).map_err(|error| match error {
        LockError::Held => RecordError::InUse { folder: target.to_owned() }.into(),
        LockError::Io(source) => Error::Write { path: target.to_owned(), source },
    })
}

/// Makes the file `path` survive a crash of the machine, for a picture, which is written without
/// waiting for the disk.
///
/// # Errors
/// [`Error::Write`].
pub fn sync(path: &Path) -> Result<(), Error> {
    fmam_files::sync_files(&[path]).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Claims the saved model in the folder `dir`, as [`claim`], for a change of its card; read the
/// model under the claim, so that no change of another process is lost. `None` for a folder that is
/// not there, and where only the model's own folder can be written to.
///
/// # Errors
/// As [`claim`].
pub fn claim_model(dir: &Path) -> Result<Option<Claim>, Error> {
    // A claim is by the name, and `.` has none.
    let Ok(dir) = dir.canonicalize() else { return Ok(None) };
    let cannot = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem, ErrorKind::InvalidFilename];
    let claimed = match claim(&dir) {
        Err(Error::Write { source, .. }) if cannot.contains(&source.kind()) => return Ok(None),
        claimed => claimed?,
    };
    // A process that was killed while it wrote a card left its temporary file.
    fmam_files::remove_leftovers(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    Ok(Some(claimed))
}

/// True if `out` is missing or a folder without anything but `own` entries. A new file system has a
/// folder for lost files, and a killed process may have left a temporary file.
pub(super) fn is_free(out: &Path, own: &[&str]) -> io::Result<bool> {
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let is_own = name == "lost+found" || own.iter().any(|own| name == *own);
        if !is_own && !name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the temporary files that a killed process left below `folder`.
pub(super) fn remove_leftovers_below(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    fmam_files::remove_leftovers(folder)?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_leftovers_below(&entry.path())?;
        }
    }
    Ok(())
}
