//! The log of a command on stderr. `FMAM_LOG` chooses other levels.

use std::io::{self, Write};

use fmam_core::shown_line;
use tracing_subscriber::EnvFilter;

/// The form of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Warnings, for a person at a terminal.
    Warnings,
    /// The log of a server: times, and a line for each request.
    ServerText,
    /// JSON lines: an object for each event.
    ServerJson,
}

/// Begins to log.
pub(crate) fn begin(log: Log) {
    let usual = if log == Log::Warnings { "warn" } else { "warn,fmam=info,fmam_serve=info" };
    let filter = EnvFilter::try_from_env("FMAM_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match log {
        Log::Warnings => subscriber.without_time().with_writer(|| Escaping(std::io::stderr())).init(),
        Log::ServerText => subscriber.with_target(false).with_writer(|| Escaping(std::io::stderr())).init(),
        // JSON has escapes of its own.
        Log::ServerJson => subscriber.json().flatten_event(true).with_writer(std::io::stderr).init(),
    }
}

/// A writer of events, each written at once, whose names and values cannot act on a terminal.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = shown_line(text.strip_suffix('\n').unwrap_or(&text));
        writeln!(self.0, "{line}").map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_cannot_act_on_a_terminal() {
        let mut written = Vec::new();
        let long = format!("WARN first=a\u{1b}[2J\nERROR forged {}\n", "x".repeat(100_000));
        Escaping(&mut written).write_all(long.as_bytes()).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert!(text.starts_with("WARN first=a\\u{1b}[2J\\nERROR forged xxx") && text.len() < 400, "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
