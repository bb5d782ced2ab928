//! Downloads that can be resumed and are checked, the cache folder that they go to, and archives
//! that are unpacked with care.
//!
//! This crate knows nothing of models or data sets: an address and a digest go in, a file comes
//! out.
//!
//! - [`Download`]: over HTTP, with a part that survives an interruption, retries, and the SHA-256
//!   checked before the file appears
//! - [`cache_dir`], [`record_digest`], [`has_digest`], [`check_digest`], [`forget`]: where files
//!   are kept, and that they stay what they were
//! - [`extract`]: `.zip`, `.tar`, `.tar.gz` and `.tar.xz`, no entry outside of the target, no
//!   links, no more than allowed
//!
//! ```
//! use std::path::Path;
//!
//! use fmam_fetch::{Download, FetchError, Limits, Retry, extract, sha256_file};
//!
//! /// Downloads an archive, goes on where an earlier call was cut, and unpacks it.
//! fn bring(url: &str, sha256: &str, folder: &Path) -> Result<(), FetchError> {
//!     let path = folder.join("set.tar.xz");
//!     let (url, sha256) = (url.to_owned(), Some(sha256.parse()?));
//!     let download = Download { url, path, sha256, max_bytes: 1 << 30 };
//!     download.run(&Retry::default(), &mut |_received, _of| true)?;
//!     let limits = Limits { max_entries: 10_000, max_bytes: 1 << 32 };
//!     extract(&download.path, &folder.join("set"), limits, &mut |_entries, _bytes| true)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let error = bring("ftp://example.com/set.tar.xz", &"0".repeat(64), folder);
//! assert!(matches!(error, Err(FetchError::BadUrl { .. })));
//!
//! let file = folder.join("empty");
//! std::fs::write(&file, "")?;
//! assert!(sha256_file(&file)?.starts_with("e3b0c442"));
//! # Ok(())
//! # }
//! ```

mod archive;
mod cache;
mod digest;
mod download;
mod error;
mod roots;

pub use archive::{Limits, extract};
pub use cache::{cache_dir, check_digest, forget, has_digest, record_digest, remove_digest_leftovers};
pub use digest::{ExpectedSha256, sha256_file};
pub use download::{Download, Retry};
pub use error::FetchError;
