//! Writing to stdout without panicking when its reader has gone.

use std::io::{ErrorKind, Write};

use anyhow::Result;
use serde::Serialize;

/// The reader of stdout has closed the pipe: it has all that it wanted.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of the output has closed it")
    }
}

impl std::error::Error for Closed {}

/// Writes `text` as it is.
///
/// # Errors
/// [`Closed`], which `exit::report` takes for success; everything else that the system says.
pub(crate) fn print(text: &str) -> Result<()> {
    write(&mut std::io::stdout().lock(), text)
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

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_broken_pipe_means_that_the_reader_has_gone() {
        for (kind, expected) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let error = write(&mut Failing(kind), "text").unwrap_err();
            assert_eq!(error.is::<Closed>(), expected, "{error}");
        }
    }
}
