use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::PathBuf;

use crate::Error;

/// Bytes of a path, at most; no system takes longer ones.
const MAX_BYTES: u64 = 64 << 10;

/// The name of a list in errors.
const LIST: &str = "the list of images";
const TOO_LONG: &str = "a path is longer than 65,536 bytes; a list of `find -print0` needs the option --null";

/// The paths of a list, in which each ends with the byte `separator`.
pub(super) struct PathList {
    reader: Box<dyn BufRead + Send>,
    separator: u8,
}

impl fmt::Debug for PathList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathList").field("separator", &self.separator).finish_non_exhaustive()
    }
}

impl PathList {
    pub(super) fn new(reader: Box<dyn BufRead + Send>, separator: u8) -> Self {
        Self { reader, separator }
    }
}

impl Iterator for PathList {
    type Item = Result<PathBuf, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut bytes = Vec::new();
            let unreadable = |source| Some(Err(Error::Read { path: LIST.into(), source }));
            match (&mut self.reader).take(MAX_BYTES).read_until(self.separator, &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(source) => return unreadable(source),
            }
            if bytes.len() as u64 == MAX_BYTES && bytes.last() != Some(&self.separator) {
                // The rest belongs to no path; without the end of the list it would be read on.
                self.reader = Box::new(io::empty());
                return unreadable(io::Error::new(ErrorKind::InvalidData, TOO_LONG));
            }
            if bytes.last() == Some(&self.separator) {
                bytes.pop();
            }
            // The lines of a list that was written on Windows end with two characters.
            if self.separator == b'\n' && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            if !bytes.is_empty() {
                return Some(path_of(bytes));
            }
        }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a path is text")]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, Error> {
    use std::os::unix::ffi::OsStringExt;

    Ok(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, Error> {
    let text = String::from_utf8(bytes).map_err(|error| Error::Read {
        path: LIST.into(),
        source: io::Error::new(ErrorKind::InvalidData, error),
    })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &'static [u8], separator: u8) -> Vec<PathBuf> {
        PathList::new(Box::new(text), separator).map(Result::unwrap).collect()
    }

    #[test]
    fn a_path_is_a_line_or_ends_with_a_zero_byte() {
        let expected = ["a b.png", " c.png"].map(PathBuf::from);
        assert_eq!(paths(b"a b.png\n\n c.png", b'\n'), expected);
        assert_eq!(paths(b"a b.png\r\n c.png\r\n", b'\n'), expected);
        assert_eq!(paths(b"a b.png\0 c.png\0", 0), expected);
        assert_eq!(paths(b"a\nb\0", 0), [PathBuf::from("a\nb")]);
        assert!(paths(b"", b'\n').is_empty());
    }

    #[test]
    fn a_list_without_ends_of_paths_is_not_read_for_ever() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut list = PathList::new(Box::new(endless), b'\n');
        let error = list.next().unwrap().unwrap_err();
        assert!(matches!(&error, Error::Read { source, .. } if source.kind() == ErrorKind::InvalidData));
        assert!(list.next().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(paths(b"\xff.png\n", b'\n')[0].as_os_str().as_bytes(), b"\xff.png");
    }
}
