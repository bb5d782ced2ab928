//! `cargo xtask ci`: the whole gate, as `.ci/run` has it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
    /// Cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Cargo with an environment variable, its name and value, and arguments.
    CargoWith((&'static str, &'static str), &'static [&'static str]),
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
    // The forms that operators have on a GPU, on the CPU. Not by `--package`, which would build candle with other features.
    Step {
        name: "test-candle-ops",
        run: Run::CargoWith(
            ("FMAM_OPS", "candle"),
            &["test", "--workspace", "--exclude", "fmam-losses", "--test", "gradients", "--test", "pytorch"],
        ),
    },
];

/// Runs the steps and stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    for Step { name, run } in STEPS {
        eprintln!("== {name}");
        let start = Instant::now();
        let passed = match run {
            Run::Tidy => tidy::run(root)? == ExitCode::SUCCESS,
            Run::Cargo(args) => run_cargo(root, None, args)?,
            Run::CargoWith(variable, args) => run_cargo(root, Some(*variable), args)?,
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

/// Runs cargo with `-D warnings` for rustdoc, and tells whether it succeeded.
fn run_cargo(root: &Path, variable: Option<(&str, &str)>, args: &[&str]) -> Result<bool> {
    let mut command = cargo();
    command.args(args).current_dir(root).env("RUSTDOCFLAGS", "-D warnings").envs(variable);
    command.envs(data_root(root, std::env::var_os("FMAM_DATA")).map(|folder| ("FMAM_DATA", folder)));
    Ok(command.status().context("cannot run cargo")?.success())
}

/// The folder of real data for tests: `given` by the user, else the one beside the checkout, where there is one.
fn data_root(root: &Path, given: Option<OsString>) -> Option<PathBuf> {
    let beside = || root.join("../shared/data").canonicalize().ok().filter(|folder| folder.is_dir());
    given.filter(|folder| !folder.is_empty()).map(PathBuf::from).or_else(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_data_is_where_the_user_says_or_beside_the_checkout() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("clone");
        std::fs::create_dir(&root).unwrap();
        assert_eq!(data_root(&root, None), None);
        let data = parent.path().join("shared/data");
        std::fs::create_dir_all(&data).unwrap();
        let data = Some(data.canonicalize().unwrap());
        assert_eq!(data_root(&root, None), data);
        assert_eq!(data_root(&root, Some("".into())), data);
        assert_eq!(data_root(&root, Some("mine".into())), Some("mine".into()));
    }

    #[test]
    fn the_script_runs_the_same_steps_in_the_same_order() {
        let script = std::fs::read_to_string(crate::workspace_root().unwrap().join(".ci/run")).unwrap();
        let lines = script.lines().filter_map(|line| line.strip_prefix("step "));
        let expected = STEPS.iter().map(|step| match step.run {
            Run::Cargo(args) => format!("{} cargo {}", step.name, args.join(" ")),
            Run::CargoWith((name, value), args) => {
                format!("{} env {name}={value} cargo {}", step.name, args.join(" "))
            }
            Run::Tidy => format!("{} cargo run --package xtask -- tidy", step.name),
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(script.contains("export RUSTDOCFLAGS=\"-D warnings\""));
    }
}
