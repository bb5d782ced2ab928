//! From an error to one line on stderr and an exit code.

use std::io::Write;
use std::process::ExitCode;

use fmam::ErrorKind;
use fmam_core::shown_line;
use fmam_serve::ServeError;

use crate::advice::advice;
use crate::stdout;

/// A request of the user that cannot be met: a wrong name, value or combination.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Usage(anyhow::Error);

/// Marks `error` as one of the command line, exit code 2.
pub(crate) fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(error.into()).into()
}

/// The work is done, and an image is defective: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("an image is defective")]
pub(crate) struct DefectFound;

/// Tells the user and gives the exit code: 2 for usage, 3 for a defect, 130 after Ctrl-C, else 1.
/// A closed stdout is no failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<stdout::Closed>() {
        return ExitCode::SUCCESS;
    }
    if error.is::<DefectFound>() {
        return ExitCode::from(3);
    }
    error_line(error);
    let of_server =
        |cause: &(dyn std::error::Error + 'static)| Some(cause.downcast_ref::<ServeError>()?.kind());
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<fmam::Error>().map(fmam::Error::kind).or_else(|| of_server(cause))
    };
    match error.chain().find_map(kind) {
        Some(ErrorKind::Cancelled) => ExitCode::from(130),
        Some(ErrorKind::Usage) => ExitCode::from(2),
        _ if error.chain().any(|cause| cause.is::<Usage>()) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

/// Tells what is wrong with the command line, on one line, and gives the exit code; help and the
/// version are printed as they are.
pub(crate) fn report_parse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // The fault comes first; after a blank line there are tips and the usage.
    let text = error.to_string();
    let what: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let _ = writeln!(std::io::stderr(), "{}", shown_line(&what.join(" ")));
    ExitCode::from(2)
}

/// Writes `error: what: why; what to type` as one line on stderr.
pub(crate) fn error_line(error: &anyhow::Error) {
    // Not `eprintln!`, which panics when stderr is closed.
    let line = fmam::one_line(error.as_ref());
    let hint = advice(error.as_ref()).map(|hint| format!("; {hint}")).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "error: {}", shown_line(&(line + &hint)));
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn exit_codes_tell_what_kind_of_error_it_was() {
        let code = |error: anyhow::Error| format!("{:?}", report(&error));
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(anyhow!("broken")), is(1));
        assert_eq!(code(Err::<(), _>(usage(anyhow!("what?"))).context("in").unwrap_err()), is(2));
        assert_eq!(code(fmam::Error::Cancelled.into()), is(130));
        assert_eq!(code(fmam::Error::RootWithoutDataset.into()), is(2));
        assert_eq!(code(DefectFound.into()), is(3));
        assert_eq!(code(Err::<(), _>(anyhow!(stdout::Closed)).context("in").unwrap_err()), is(0));
        // The pipe of a download or of a file is not that of stdout.
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(code(broken().into()), is(1));
        assert_eq!(code(fmam::Error::Write { path: "w.pth".into(), source: broken() }.into()), is(1));
    }
}
