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

mod archive;
mod cache;
mod digest;
mod download;
mod error;
mod roots;

pub use archive::{Limits, extract};
pub use cache::{cache_dir, check_digest, forget, has_digest, record_digest};
pub use digest::{ExpectedSha256, sha256_file};
pub use download::{Download, Retry};
pub use error::FetchError;
