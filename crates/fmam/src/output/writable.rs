use std::path::Path;

use fmam_files::MadeDirs;

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
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
