//! Files and folders that are written whole or not at all, locks between processes, digests, and
//! reading of files that others wrote.
//!
//! Every crate that writes a file which matters writes it through this crate, so that durability is
//! right in one place: content first, then `fsync`, then a rename, then an `fsync` of the folder.
//! A temporary name is short and random: a long target name leaves room for no suffix, and process
//! numbers repeat in containers.
//!
//! Modules in reading order: `durable` ([`write_atomic`], [`write_unsynced`]), `new_dir`
//! ([`NewDir`], [`remove_leftovers`]), `made_dirs` ([`MadeDirs`]), `lock` ([`Lock`],
//! [`open_locked`]), `claim` ([`Claim`]), `digest` ([`Digest`]: SHA-256), `read`
//! ([`open_regular`], [`read_limited`]), `placeholder` ([`Placeholder`]).
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

mod claim;
mod digest;
mod durable;
mod lock;
mod made_dirs;
mod new_dir;
mod placeholder;
mod read;

pub use claim::Claim;
pub use digest::{Digest, Hasher};
pub use durable::{sync_dir, sync_files, write_atomic, write_unsynced};
pub use lock::{Lock, LockError, open_locked, stands_at};
pub use made_dirs::{MadeDirs, check_writable};
pub use new_dir::{NewDir, remove_leftovers, remove_leftovers_of};
pub use placeholder::{PLACEHOLDER_HEAD, Placeholder};
pub use read::{NotRegular, TooLarge, open_regular, read_head, read_limited, read_text_limited};

/// The prefix of every temporary file and folder of this crate.
pub const TEMPORARY_PREFIX: &str = ".partial-";

/// Settings of a temporary file or folder whose name begins with `prefix`, with the access rights
/// that an ordinary one would get.
fn temporary(prefix: &str, mode: u32) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).rand_bytes(12);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// The prefix of what is written under a temporary name to become `target`. It is short, however
/// long the name of the target is.
fn prefix_of(target: &std::path::Path) -> String {
    format!("{TEMPORARY_PREFIX}{}-", short_name(target))
}

/// The [`short_digest`] of the name of `target`.
fn short_name(target: &std::path::Path) -> String {
    short_digest(target.file_name().unwrap_or_default().as_encoded_bytes())
}

/// 16 hexadecimal digits that stand for `name`, of any length: enough to tell the entries of a
/// folder apart.
pub fn short_digest(name: &[u8]) -> String {
    Digest::of(name).to_string()[..16].to_owned()
}

/// The folder that holds `path`: `.` for a name without one.
pub fn parent(path: &std::path::Path) -> &std::path::Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."))
}
