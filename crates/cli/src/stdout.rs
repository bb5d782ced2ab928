//! Writing to stdout without panicking when its reader has gone.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

/// Writes `text` as it is.
///
/// # Errors
/// What the system says, a closed pipe included; `exit::report` knows that that is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes `value` as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
