//! The workspace that a task works on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    // Cargo says it anew at every run: a shared target folder may hold this binary as another clone
    // built it.
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest_dir).parent().map(Path::to_owned).context("xtask does not lie inside the workspace")
}
