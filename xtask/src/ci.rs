//! `cargo xtask ci`: the whole gate, as `.ci/run` has it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{fmam::cargo, tidy};

/// One check of the gate.
struct Step {
    name: &'static str,
    run: Run,
}

enum Run {
    /// Cargo with these arguments and with `-D warnings` for rustdoc.
    Cargo(&'static [&'static str]),
    /// [`tidy::run`], without a process of its own.
    Tidy,
}

/// Quick checks first. Clippy, doc and test share one profile and one feature set, so that every dependency is
/// compiled only once for checking and once for testing.
static STEPS: &[Step] = &[
    Step { name: "fmt", run: Run::Cargo(&["fmt", "--all", "--", "--check"]) },
    Step { name: "tidy", run: Run::Tidy },
    Step {
        name: "clippy",
        run: Run::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "doc", run: Run::Cargo(&["doc", "--workspace", "--no-deps"]) },
    Step { name: "test", run: Run::Cargo(&["test", "--workspace"]) },
];

/// Runs the steps and stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    for Step { name, run } in STEPS {
        eprintln!("== {name}");
        let start = Instant::now();
        let passed = match run {
            Run::Tidy => tidy::run(root)? == ExitCode::SUCCESS,
            Run::Cargo(args) => cargo()
                .args(*args)
                .current_dir(root)
                .env("RUSTDOCFLAGS", "-D warnings")
                .status()
                .context("cannot run cargo")?
                .success(),
        };
        let seconds = start.elapsed().as_secs_f64();
        if !passed {
            eprintln!("== {name} failed after {seconds:.1} s");
            return Ok(ExitCode::FAILURE);
        }
        eprintln!("== {name} passed in {seconds:.1} s");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_the_same_steps_in_the_same_order() {
        let script = std::fs::read_to_string(crate::workspace_root().unwrap().join(".ci/run")).unwrap();
        let lines = script.lines().filter_map(|line| line.strip_prefix("step "));
        let expected = STEPS.iter().map(|step| match step.run {
            Run::Cargo(args) => format!("{} cargo {}", step.name, args.join(" ")),
            Run::Tidy => format!("{} cargo run --package xtask -- tidy", step.name),
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(script.contains("export RUSTDOCFLAGS=\"-D warnings\""));
    }
}
