//! `cargo xtask ci`, which is all that `.ci/run` calls: every check that a change must pass.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
#[cfg(unix)]
use cargo_metadata::MetadataCommand;

#[cfg(unix)]
use crate::endure::Endure;
use crate::{fmam::cargo, tidy};

/// One check of the gate.
struct Step {
    name: &'static str,
    run: Run,
}

enum Run {
    /// Cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// [`tidy::run`], without a process of its own.
    Tidy,
    /// A minute of [`Endure`], on the binary that the tests were built with.
    #[cfg(unix)]
    Endure,
    /// Bash with these arguments.
    Bash(&'static [&'static str]),
    /// The program with these arguments, where it is installed.
    IfFound(&'static str, &'static [&'static str]),
    /// Bash with these arguments, where the environment variable is set.
    BashIf(&'static str, &'static [&'static str]),
}

/// Quick checks first. Clippy, doc and test share one profile and one feature set, so that every
/// dependency is compiled only once for checking and once for testing.
static STEPS: &[Step] = &[
    Step { name: "fmt", run: Run::Cargo(&["fmt", "--all", "--", "--check"]) },
    Step { name: "tidy", run: Run::Tidy },
    Step {
        name: "clippy",
        run: Run::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "doc", run: Run::Cargo(&["doc", "--workspace", "--no-deps"]) },
    Step { name: "book", run: Run::IfFound("mdbook", &["build", "docs"]) },
    // Clippy has compiled the examples, which nothing runs.
    Step { name: "test", run: Run::Cargo(&["test", "--workspace", "--tests"]) },
    #[cfg(unix)]
    Step { name: "endure", run: Run::Endure },
    Step { name: "doctest", run: Run::Cargo(&["test", "--workspace", "--doc"]) },
    // pytest on a wheel in the profile of the tests.
    Step { name: "python", run: Run::Bash(&["xtask/check-python.sh"]) },
    Step { name: "outside", run: Run::Bash(&["tests/outside/run.sh"]) },
    // Both need NVIDIA's compiler. The first takes seconds, the second many minutes.
    Step { name: "kernels", run: Run::BashIf("FMAM_CHECK_CUDA", &["xtask/check-kernels.sh"]) },
    Step { name: "cuda", run: Run::BashIf("FMAM_CHECK_CUDA", &["xtask/check-cuda.sh"]) },
];

/// Runs the steps and stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    // The report is tried in a browser; without one that test says that it was skipped.
    if !is_found("chromium") {
        install_browser();
    }
    for Step { name, run } in STEPS {
        let start = Instant::now();
        eprintln!("== {name}");
        let passed = match run {
            Run::Tidy => tidy::run(root, false)? == ExitCode::SUCCESS,
            #[cfg(unix)]
            Run::Endure => Endure::of_gate(tested_binary(root)?).run(root)? == ExitCode::SUCCESS,
            Run::Cargo(args) => run_command(root, cargo().args(*args))?,
            Run::IfFound(program, _) if !is_found(program) => {
                eprintln!("== {name} skipped: {program} is not installed");
                continue;
            }
            Run::IfFound(program, args) => run_command(root, Command::new(program).args(*args))?,
            Run::BashIf(variable, _) if std::env::var_os(variable).is_none_or(|v| v.is_empty()) => continue,
            Run::Bash(args) | Run::BashIf(_, args) => run_command(root, Command::new("bash").args(*args))?,
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

/// The binary that `cargo test` built, wherever the target folder is.
#[cfg(unix)]
fn tested_binary(root: &Path) -> Result<PathBuf> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let name = format!("fmam{}", std::env::consts::EXE_SUFFIX);
    Ok(metadata.target_directory.join("debug").join(name).into())
}

/// Runs a step with `-D warnings` for rustdoc, and tells whether it succeeded.
fn run_command(root: &Path, command: &mut Command) -> Result<bool> {
    command.current_dir(root).env("RUSTDOCFLAGS", "-D warnings");
    command.envs(data_root(root, std::env::var_os("FMAM_DATA")).map(|folder| ("FMAM_DATA", folder)));
    Ok(command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?.success())
}

/// The folder of real data for tests: `given` by the user, else the one beside the checkout, where
/// there is one.
fn data_root(root: &Path, given: Option<OsString>) -> Option<PathBuf> {
    let beside = || root.join("../shared/data").canonicalize().ok().filter(|folder| folder.is_dir());
    given.filter(|folder| !folder.is_empty()).map(PathBuf::from).or_else(beside)
}

/// True if `program` lies in a folder of `PATH`.
fn is_found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Installs chromium where the user may: as root of a machine with apt-get, as a container for CI
/// is.
fn install_browser() {
    let script = "[ \"$(id -u)\" = 0 ] && command -v apt-get && timeout 60 apt-get update -q \
        && timeout 180 apt-get install -qy --no-install-recommends chromium";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !shell.status().is_ok_and(|status| status.success()) {
        eprintln!("chromium is not there and could not be installed: its test will be skipped");
    }
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
}
