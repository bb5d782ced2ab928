//! The folders that commands write to.

use std::path::Path;

use anyhow::{Context, Result};
use fmam_files::MadeDirs;

/// Makes the folder `dir` and proves that files can be written there. The error names the folder.
pub(crate) fn check_writable(dir: &Path) -> Result<MadeDirs> {
    fmam_files::check_writable(dir).with_context(|| format!("cannot write {}", dir.display()))
}

/// The folder that holds `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
