//! From an error to one line on stderr and an exit code.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use fmam_experiment::ExperimentError;

/// What the user asked for cannot be: a wrong name, value or combination.
#[derive(Debug)]
pub(crate) struct Usage(anyhow::Error);

/// Marks `error` as one of the command line, exit code 2.
pub(crate) fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(error.into()).into()
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Usage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Tells the user and gives the exit code: 2 for usage, 130 after Ctrl-C, else 1. A reader that closed the pipe has
/// all that it wanted: that is no failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let causes = || error.chain();
    if causes().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    error_line(error);
    let experiment = causes().find_map(|cause| cause.downcast_ref::<ExperimentError>());
    if experiment.is_some_and(ExperimentError::is_cancelled) {
        ExitCode::from(130)
    } else if causes().any(|cause| cause.is::<Usage>()) || experiment.is_some_and(ExperimentError::is_usage) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// Writes `error: what: why` as one line on stderr.
pub(crate) fn error_line(error: &anyhow::Error) {
    // Not `eprintln!`, which panics when stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {}", one_line(error));
}

/// The error and its causes, each said once, on one line.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        // TOML errors draw the place over several lines; their message alone says what is wrong.
        let message = match cause.downcast_ref::<toml::de::Error>() {
            Some(toml) => toml.message().to_owned(),
            None => cause.to_string(),
        };
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_are_joined_on_one_line_and_said_once() {
        let error = anyhow!("no\n  space").context("cannot write x").context("cannot write x: no space");
        assert_eq!(one_line(&error), "cannot write x: no space");
        assert_eq!(one_line(&anyhow!("b").context("a")), "a: b");
    }

    #[test]
    fn exit_codes_tell_what_kind_of_error_it_was() {
        let code = |error: anyhow::Error| format!("{:?}", report(&error));
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(anyhow!("broken")), is(1));
        assert_eq!(code(usage(anyhow!("what?"))), is(2));
        assert_eq!(code(Err::<(), _>(usage(anyhow!("what?"))).context("in").unwrap_err()), is(2));
        assert_eq!(code(ExperimentError::Cancelled.into()), is(130));
        assert_eq!(code(ExperimentError::EmptyList { key: "seeds" }.into()), is(2));
        assert_eq!(code(std::io::Error::from(ErrorKind::BrokenPipe).into()), is(0));
    }
}
