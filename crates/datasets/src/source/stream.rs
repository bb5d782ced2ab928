use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use fmam_files::NotRegular;

use crate::DatasetError;

/// The bytes of an image, in a file or in memory. One type for both: each decoder is compiled once.
pub(super) trait ImageBytes: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> ImageBytes for T {}

pub(super) type Stream<'a> = Box<dyn ImageBytes + 'a>;

/// Opens an image file; no byte of it is read yet.
///
/// # Errors
/// [`DatasetError::NotAFile`] for a folder, a pipe or a device: opening a pipe could wait for ever.
/// [`DatasetError::Read`].
pub(super) fn open(path: &Path) -> Result<Stream<'static>, DatasetError> {
    let read_error = |source| DatasetError::Read { path: path.to_owned(), source };
    match fmam_files::open_regular(path) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(error) if NotRegular::is_cause(&error) => Err(DatasetError::NotAFile { path: path.to_owned() }),
        Err(error) => Err(read_error(error)),
    }
}

/// The bytes of an image in memory.
pub(super) fn in_memory(bytes: &[u8]) -> Stream<'_> {
    Box::new(Cursor::new(bytes))
}
