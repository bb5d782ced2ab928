//! Reading of files that others wrote: regular files only, up to a limit.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The path leads to something else than a regular file. It is the inner error of the [`io::Error`]
/// of [`open_regular`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRegular {
    kind: &'static str,
}

impl fmt::Display for NotRegular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, not a regular file", self.kind)
    }
}

impl std::error::Error for NotRegular {}

impl NotRegular {
    /// True if `error` is of this kind.
    pub fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }

    fn of(file_type: FileType) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            if file_type.is_fifo() {
                return Self { kind: "a pipe" };
            }
            if file_type.is_socket() {
                return Self { kind: "a socket" };
            }
        }
        Self { kind: if file_type.is_dir() { "a folder" } else { "a device" } }
    }
}

/// The file has more bytes than its reader takes. It is the inner error of the [`io::Error`] of
/// [`read_limited`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    limit: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it has more than {} bytes, the most that such a file may have", self.limit)
    }
}

impl std::error::Error for TooLarge {}

/// Opens the file `path`, through links, to read it. A pipe is not opened: to open one can take for
/// ever.
///
/// # Errors
/// [`NotRegular`] within an error of the kind [`ErrorKind::InvalidInput`]; the errors of the file
/// system.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Looked at before as well, since opening a device can do something.
    check(fs::metadata(path)?.file_type())?;
    let file = open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

fn check(file_type: FileType) -> io::Result<()> {
    if file_type.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, NotRegular::of(file_type)))
    }
}

/// Opens a file without waiting where another process has put a pipe in its place.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        // A server of files may have lent the file to a client, from which it gets it back.
        Err(error) if error.kind() == ErrorKind::WouldBlock => File::open(path),
        opened => opened,
    }
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The first bytes of the regular file `path`, `count` at most.
///
/// # Errors
/// As [`open_regular`], and those of reading.
pub fn read_head(path: &Path, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    open_regular(path)?.take(count).read_to_end(&mut head)?;
    Ok(head)
}

/// The content of the regular file `path`, which has `limit` bytes at most.
///
/// # Errors
/// As [`open_regular`]; [`TooLarge`] within an error of the kind [`ErrorKind::FileTooLarge`],
/// before a byte is read if the file says so; [`ErrorKind::OutOfMemory`]; the errors of reading.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(ErrorKind::FileTooLarge, TooLarge { limit });
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).map_err(|_| too_large())?)?;
    // The length of a file of the system, such as those below /proc, is not that of its content.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// The text in the regular file `path`, which has `limit` bytes at most.
///
/// # Errors
/// As [`read_limited`]; [`ErrorKind::InvalidData`] for text that is not UTF-8.
pub fn read_text_limited(path: &Path, limit: u64) -> io::Result<String> {
    let text = String::from_utf8(read_limited(path, limit)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "the text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert_eq!(read_text_limited(&path, u64::MAX).unwrap(), "12345");
        assert_eq!(read_head(&path, 2).unwrap(), b"12");
        let error = read_limited(&path, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("more than 4 bytes"), "{error}");
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text_limited(&path, 4).unwrap_err().kind(), ErrorKind::InvalidData);
        // Nothing of a file with a hole of a terabyte is read.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_limited(&path, 1 << 30).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_limited(&dir.path().join("b"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_the_system_is_read_whole() {
        let status = Path::new("/proc/self/status");
        assert_eq!(fs::metadata(status).unwrap().len(), 0);
        assert!(read_text_limited(status, 1 << 20).unwrap().contains("VmRSS"));
        assert_eq!(read_limited(status, 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket, link) = (dir.path().join("p"), dir.path().join("s"), dir.path().join("l"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, expected) in [
            (pipe.as_path(), "it is a pipe, not a regular file"),
            (&link, "it is a pipe, not a regular file"),
            (&socket, "it is a socket, not a regular file"),
            (dir.path(), "it is a folder, not a regular file"),
            (Path::new("/dev/zero"), "it is a device, not a regular file"),
        ] {
            let error = open_regular(path).unwrap_err();
            assert!(NotRegular::is_cause(&error), "{error}");
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, expected));
            assert!(read_limited(path, 9).is_err() && read_head(path, 9).is_err());
        }
        // In the place of a file after the look at it.
        assert!(check(open(&pipe).unwrap().metadata().unwrap().file_type()).is_err());
    }
}
