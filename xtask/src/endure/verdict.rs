//! The faults that a run of the program shows.

use super::watch::{End, Limits, Outcome};

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A panic: a bug that was noticed.
    Panic,
    /// The end by a signal that nobody sent.
    Signal,
    /// No end within the limit of time.
    Hang,
    /// A result that is not right, an exit code without its meaning, or too much memory.
    Wrong,
    /// Work that was done and is gone, or left-overs of work that was not.
    Lost,
}

/// A fault and a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self { kind: Kind::Wrong, text: text.into() }
    }

    pub(super) fn lost(text: impl Into<String>) -> Self {
        Self { kind: Kind::Lost, text: text.into() }
    }
}

/// The exit codes of the program: success, failure, usage, a defect, stopped.
const CODES: [i32; 5] = [0, 1, 2, 3, 130];

/// The fault of a run that no campaign allows.
pub(super) fn fault(outcome: &Outcome, limits: Limits) -> Option<Fault> {
    let of = |kind, text: String| Some(Fault { kind, text });
    let last = || outcome.stderr.lines().last().unwrap_or_default().to_owned();
    if outcome.peak > limits.memory {
        let (peak, limit) = (outcome.peak >> 20, limits.memory >> 20);
        return of(Kind::Wrong, format!("it took {peak} MiB of memory; the limit is {limit}"));
    }
    if let Some(line) = outcome.stderr.lines().find(|line| line.contains("panicked at")) {
        return of(Kind::Panic, line.to_owned());
    }
    match outcome.end {
        End::Hang => of(Kind::Hang, format!("no end after {} s: {}", limits.time.as_secs(), last())),
        End::Signal(signal) => of(Kind::Signal, format!("ended by signal {signal}: {}", last())),
        End::Code(code) if !CODES.contains(&code) => of(Kind::Wrong, format!("exit code {code}: {}", last())),
        End::Code(1 | 2) if outcome.stderr.trim().is_empty() => {
            of(Kind::Wrong, "it failed without a word".to_owned())
        }
        End::Code(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::super::watch::run;
    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(2), memory: 200 << 20 };

    /// The kind of fault of a program that is this shell script.
    fn of(script: &str) -> Option<Kind> {
        let outcome = run(Command::new("sh").args(["-c", script]), LIMITS).unwrap();
        fault(&outcome, LIMITS).map(|fault| fault.kind)
    }

    #[test]
    fn a_program_that_panics_hangs_or_is_killed_is_found_out() {
        assert_eq!(of("exit 0"), None);
        assert_eq!(of("echo 'error: no such file' >&2; exit 1"), None);
        assert_eq!(of("exit 3"), None);
        let panic = "echo \"thread 'main' panicked at crates/x.rs:1:2:\" >&2; exit 101";
        assert_eq!(of(panic), Some(Kind::Panic));
        assert_eq!(of("echo \"thread 'loader' panicked at x.rs\" >&2; exit 0"), Some(Kind::Panic));
        assert_eq!(of("kill -SEGV $$"), Some(Kind::Signal));
        assert_eq!(of("kill -ABRT $$"), Some(Kind::Signal));
        assert_eq!(of("sleep 60"), Some(Kind::Hang));
        assert_eq!(of("echo 'what?' >&2; exit 77"), Some(Kind::Wrong));
        assert_eq!(of("exit 1"), Some(Kind::Wrong));
    }

    #[test]
    fn too_much_memory_is_wrong_and_ends_the_program() {
        // `tail` keeps a line of any length.
        assert_eq!(of("exec tail -n 1 /dev/zero"), Some(Kind::Wrong));
    }
}
