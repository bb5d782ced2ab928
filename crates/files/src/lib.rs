//! Files and folders that are written whole or not at all, locks between processes, digests, and
//! reading of files that others wrote.
//!
//! Every crate that writes a file which matters writes it through this crate, so that durability is
//! right in one place: content first, then `fsync`, then a rename, then an `fsync` of the folder.
//! A temporary name is short and random: a long target name leaves room for no suffix, and process
//! numbers repeat in containers.
//!
//! Modules in reading order: `durable` ([`write_atomic`]), `new_dir` ([`NewDir`],
//! [`remove_leftovers`]), `made_dirs` ([`MadeDirs`]), `lock` ([`Lock`], [`open_locked`]), `digest`
//! ([`Digest`]: SHA-256), `read` ([`open_regular`], [`read_limited`]),
//! `placeholder` ([`Placeholder`]).
//!
//! ```
//! use std::io::Write;
//!
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("scores.json");
//! fmam_files::write_atomic(&path, |file| file.write_all(b"[0.25]\n"))?;
//! assert_eq!(std::fs::read(&path)?, b"[0.25]\n");
//! # Ok(())
//! # }
//! ```

mod digest;
mod durable;
mod lock;
mod made_dirs;
mod new_dir;
mod placeholder;
mod read;

pub use digest::{Digest, Hasher};
pub use durable::{sync_dir, write_atomic};
pub use lock::{Lock, LockError, open_locked};
pub use made_dirs::{MadeDirs, check_writable};
pub use new_dir::{NewDir, remove_leftovers};
pub use placeholder::{PLACEHOLDER_HEAD, Placeholder};
pub use read::{NotRegular, TooLarge, open_regular, read_head, read_limited, read_text_limited};

/// The prefix of every temporary file and folder of this crate.
pub const TEMPORARY_PREFIX: &str = ".partial-";

/// Settings of a temporary file or folder, with the access rights that an ordinary one would get.
fn temporary(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).rand_bytes(12);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// The folder that holds `path`.
fn parent(path: &std::path::Path) -> &std::path::Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."))
}
