//! From an error to one line on stderr and an exit code.

use std::io::Write;
use std::process::ExitCode;

use fmam_core::ErrorKind;
use fmam_experiment::ExperimentError;
use fmam_fetch::FetchError;

use crate::advice::advice;
use crate::stdout;

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

/// Tells the user and gives the exit code: 2 for usage, 130 after Ctrl-C, else 1. A closed stdout
/// is no failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let causes = || error.chain();
    if error.is::<stdout::Closed>() {
        return ExitCode::SUCCESS;
    }
    error_line(error);
    let experiment = causes().find_map(|cause| cause.downcast_ref::<ExperimentError>());
    let kind = experiment.map(ExperimentError::kind);
    let fetch = causes().find_map(|cause| cause.downcast_ref::<FetchError>());
    if kind == Some(ErrorKind::Cancelled) || fetch.is_some_and(FetchError::is_cancelled) {
        ExitCode::from(130)
    } else if kind == Some(ErrorKind::Usage) || causes().any(|cause| cause.is::<Usage>()) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// Tells what is wrong with the command line, on one line, and gives the exit code; help and the
/// version are printed as they are.
pub(crate) fn report_parse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // What is wrong comes first; after a blank line there are tips and the usage.
    let text = error.to_string();
    let what: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let _ = writeln!(std::io::stderr(), "{}", what.join(" "));
    ExitCode::from(2)
}

/// Writes `error: what: why; what to type` as one line on stderr.
pub(crate) fn error_line(error: &anyhow::Error) {
    // Not `eprintln!`, which panics when stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {}", one_line(error.chain()));
}

/// The error and its causes, each said once, and the advice on it, on one line.
pub(crate) fn one_line(causes: anyhow::Chain<'_>) -> String {
    let mut text = String::new();
    // `Usage` passes over the error that it marks.
    let marked = causes.clone().find_map(|cause| Some(cause.downcast_ref::<Usage>()?.0.chain()));
    let hint = marked.unwrap_or_else(|| causes.clone()).next().and_then(advice);
    for cause in causes {
        // TOML errors draw the place over several lines; their message alone says what is wrong.
        let boxed = || cause.downcast_ref::<Box<toml::de::Error>>().map(AsRef::as_ref);
        let message = match cause.downcast_ref::<toml::de::Error>().or_else(boxed) {
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
    match hint {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_are_joined_on_one_line_and_said_once() {
        let error = anyhow!("no\n  space").context("cannot write x").context("cannot write x: no space");
        assert_eq!(one_line(error.chain()), "cannot write x: no space");
        assert_eq!(one_line(anyhow!("b").context("a").chain()), "a: b");
        let toml = toml::from_str::<toml::Table>("a = 1\nb = ").unwrap_err();
        let message = toml.message().to_owned();
        let source = Box::new(toml);
        let parse = ExperimentError::Parse { path: "x.toml".into(), line: 2, source };
        let told = one_line(anyhow::Error::new(parse).chain());
        assert_eq!(told, format!("configuration x.toml, line 2: {}", message.replace('\n', " ")));
        let root = fmam_datasets::DatasetError::RootNotGiven { dataset: "mvtec" };
        let told = one_line(usage(ExperimentError::Dataset(root)).chain());
        let what = "data set `mvtec` reads files: the folder that holds it is not given";
        assert_eq!(told, format!("{what}; give it with --data-root"));
    }

    #[test]
    fn exit_codes_tell_what_kind_of_error_it_was() {
        let code = |error: anyhow::Error| format!("{:?}", report(&error));
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(anyhow!("broken")), is(1));
        assert_eq!(code(usage(anyhow!("what?"))), is(2));
        assert_eq!(code(Err::<(), _>(usage(anyhow!("what?"))).context("in").unwrap_err()), is(2));
        assert_eq!(code(ExperimentError::Cancelled.into()), is(130));
        assert_eq!(code(FetchError::Cancelled { url: "http://a".to_owned() }.into()), is(130));
        assert_eq!(code(ExperimentError::EmptyList { key: "seeds" }.into()), is(2));
        assert_eq!(code(Err::<(), _>(anyhow!(stdout::Closed)).context("in").unwrap_err()), is(0));
        // The pipe of a download or of a file is not that of stdout.
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(code(broken().into()), is(1));
        assert_eq!(code(FetchError::Write { path: "w.pth".into(), source: broken() }.into()), is(1));
    }
}
