//! Writing to stdout without panicking when its reader has gone.

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Result;
use fmam_core::escaped_lines;
use serde::Serialize;

/// The reader of stdout has closed the pipe: it has all that it wanted.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has closed it")]
pub(crate) struct Closed;

/// Writes `text`; on a terminal the control characters of names in it are escaped.
///
/// # Errors
/// [`Closed`], which `exit::report` takes for success; everything else that the system says.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    // A program that reads the text gets each name as it is.
    if out.is_terminal() { write(&mut out, &escaped_lines(text)) } else { write(&mut out, text) }
}

fn write(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

/// Writes `value` as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_broken_pipe_means_that_the_reader_has_gone() {
        let (_, mut closed) = std::io::pipe().unwrap();
        assert!(write(&mut closed, "text").unwrap_err().is::<Closed>());
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert!(!write(&mut full, "text").unwrap_err().is::<Closed>());
    }
}
