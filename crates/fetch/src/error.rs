use std::path::PathBuf;

use fmam_core::ErrorKind;

/// A fault of a download, a kept digest or an archive. Every message names the file or the address
/// and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is not one of HTTP.
    #[error("`{url}` is not an address to download from; give one that begins with https:// or http://")]
    BadUrl {
        /// The given address.
        url: String,
    },
    /// An expected SHA-256 is neither whole nor a known prefix.
    #[error("`{text}` is not a SHA-256; give its 64 hexadecimal digits, or the first 8")]
    BadDigest {
        /// The given text.
        text: String,
    },
    /// No answer came: the name is unknown, the connection failed or the server broke the protocol.
    #[error("cannot fetch {url}; check the address, the network and the proxy variables, then try again")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is not known to be the one that the address names, or the handshake failed.
    #[error(
        "no secure connection to {url}; check the address and the clock; where a company's proxy or server is in \
         between, name a PEM file of the company's root certificates in SSL_CERT_FILE"
    )]
    Insecure {
        /// The address.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR` names nothing that certificates can be read from.
    #[error(
        "there is no certificate in {}, which SSL_CERT_FILE or SSL_CERT_DIR names; name a PEM file or a folder of \
         them, or unset the variable",
        .path.display()
    )]
    NoCertificates {
        /// The file or folder.
        path: PathBuf,
        /// The fault of the first of the files, if any.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server answered something other than the file.
    #[error("the server answered {status} for {url}; {}", advice(*.status))]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The server asks for a longer wait than the retry policy allows.
    #[error("the server is busy and asks to wait {seconds} s for {url}; try again after that")]
    Busy {
        /// The address.
        url: String,
        /// The wait asked for, seconds.
        seconds: u64,
    },
    /// The connection ended before the file did.
    #[error(
        "the connection for {url} ended after {received} of {} bytes; try again, it goes on from there if the \
         server can",
        .expected.map_or_else(|| "an unknown number of".to_owned(), |bytes| bytes.to_string())
    )]
    Cut {
        /// The address.
        url: String,
        /// Bytes on disk.
        received: u64,
        /// Bytes of the whole, where known.
        expected: Option<u64>,
        /// The error of the connection.
        source: Option<std::io::Error>,
    },
    /// The file is larger than allowed.
    #[error("{url} has more than the {limit} bytes allowed; check the address or raise the limit")]
    TooLarge {
        /// The address.
        url: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes are not those expected. The download was removed.
    #[error(
        "{url} has SHA-256 {found}, expected {expected}; the download was removed: try again, and if it stays so \
         the file at that address has changed"
    )]
    WrongDigest {
        /// The address.
        url: String,
        /// 64 or 8 hexadecimal digits.
        expected: String,
        /// 64 hexadecimal digits.
        found: String,
    },
    /// The progress callback of a download asked to stop.
    #[error("stopped at {url}; what was downloaded so far is kept and the next try goes on from there")]
    Cancelled {
        /// The address.
        url: String,
    },
    /// The progress callback of an extraction asked to stop.
    #[error("stopped while {} was unpacked; nothing of it is kept", .archive.display())]
    UnpackingCancelled {
        /// The archive.
        archive: PathBuf,
    },
    /// Another process works on the same target.
    #[error("another process holds {}; wait until it is done", .path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// Neither `FMAM_CACHE` nor the home folder is known.
    #[error("there is no home folder to keep downloads in; set FMAM_CACHE to a folder")]
    NoCacheDir,
    /// A file is not the one that was recorded when it was first used.
    #[error(
        "{} has SHA-256 {found}, but {recorded} was recorded for it; delete the file and fetch it again (delete \
         its .sha256 too if the change is wanted)",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// 64 hexadecimal digits.
        recorded: String,
        /// 64 hexadecimal digits.
        found: String,
    },
    /// A `.sha256` file is not a line of `sha256sum` for its file.
    #[error("{} does not hold the SHA-256 of its file; delete it", .path.display())]
    BadRecord {
        /// The `.sha256` file.
        path: PathBuf,
    },
    /// The archive's type is not known by its name.
    #[error("{} is no archive of a known type; known are .zip, .tar, .tar.gz, .tgz, .tar.xz, .txz", .archive.display())]
    UnknownArchive {
        /// The archive.
        archive: PathBuf,
    },
    /// The archive is damaged or truncated, or uses a feature that is not supported.
    #[error("cannot unpack {}{}; delete the archive and fetch it again", .archive.display(), at_entry(.entry.as_deref()))]
    BadArchive {
        /// The archive.
        archive: PathBuf,
        /// The entry at hand, if any.
        entry: Option<String>,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An entry of the archive must not be written.
    #[error("{} is refused: its entry `{entry}` {why}; nothing was unpacked", .archive.display())]
    UnsafeEntry {
        /// The archive.
        archive: PathBuf,
        /// The entry's name.
        entry: String,
        /// The fault, in words.
        why: &'static str,
    },
    /// The archive unpacks to more than allowed.
    #[error(
        "{} is refused: at entry `{entry}` it exceeds {limit} {unit}; nothing was unpacked: raise the limit if you \
         trust it",
        .archive.display()
    )]
    OverLimit {
        /// The archive.
        archive: PathBuf,
        /// The entry at hand.
        entry: String,
        /// The allowed maximum.
        limit: u64,
        /// `bytes` or `files and folders`.
        unit: &'static str,
    },
    /// The target of an archive exists.
    #[error("{} exists already; remove it or choose another folder", .path.display())]
    AlreadyExists {
        /// The file or folder in the way.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}; check the free space and the permissions", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FetchError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadUrl { .. } | Self::BadDigest { .. } => ErrorKind::Usage,
            Self::TooLarge { .. }
            | Self::WrongDigest { .. }
            | Self::Changed { .. }
            | Self::BadRecord { .. }
            | Self::UnknownArchive { .. }
            | Self::BadArchive { .. }
            | Self::UnsafeEntry { .. }
            | Self::OverLimit { .. } => ErrorKind::Data,
            Self::Unreachable { .. }
            | Self::Insecure { .. }
            | Self::NoCertificates { .. }
            | Self::Status { .. }
            | Self::Busy { .. }
            | Self::Cut { .. }
            | Self::InUse { .. }
            | Self::NoCacheDir
            | Self::AlreadyExists { .. }
            | Self::Read { .. }
            | Self::Write { .. } => ErrorKind::Environment,
            Self::Cancelled { .. } | Self::UnpackingCancelled { .. } => ErrorKind::Cancelled,
        }
    }

    /// True if a progress callback asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "it refuses access: check that the address is public, or fetch the file by hand",
        404 | 410 => "there is no such file: check the address",
        429 | 500.. => "it has a problem of its own: try again later",
        _ => "check the address",
    }
}

fn at_entry(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |name| format!(" at entry `{name}`"))
}
