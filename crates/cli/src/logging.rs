//! The log of a command on stderr. `FMAM_LOG` chooses other levels.

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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log {
        Log::Warnings => subscriber.without_time().init(),
        Log::ServerText => subscriber.with_target(false).with_ansi(false).init(),
        Log::ServerJson => subscriber.json().flatten_event(true).init(),
    }
}
