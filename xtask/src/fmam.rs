//! Building and running the `fmam` binary.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::workspace::workspace_root;

/// The path of a freshly built `fmam`.
pub(crate) struct Fmam(PathBuf);

/// Builds `fmam` in release with the given cargo features. Cargo's own progress and messages go to
/// stderr.
pub(crate) fn build(features: &[&str]) -> Result<Fmam> {
    let mut command = cargo();
    command
        .args(["build", "--release", "--package", "fmam-cli", "--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(workspace_root()?.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if let Some(commit) = commit(&workspace_root()?) {
        command.env("FMAM_COMMIT", commit);
    }
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "building fmam failed{}",
            if features.is_empty() { "" } else { "; `--device cpu` builds without CUDA" }
        );
    }
    // Cargo says where the binary is: a target folder or a target triple may be configured.
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read cargo's messages")?
            && artifact.target.name == "fmam"
            && let Some(executable) = artifact.executable
        {
            return Ok(Fmam(executable.into()));
        }
    }
    bail!("cargo built no binary called fmam")
}

/// The commit of the checkout `root` for run records, `-dirty` where files differ from it; `None`
/// without git.
fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output =
            Command::new("git").arg("-C").arg(root).args(args).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let dirty = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    Some(if dirty { format!("{commit}-dirty") } else { commit })
}

impl Fmam {
    /// Runs the binary in the user's own working folder and waits for it.
    pub(crate) fn status<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Result<ExitStatus> {
        self.command(args).status().with_context(|| format!("cannot run {}", self.0.display()))
    }

    /// The path of the binary.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs the binary and gives what it printed. That it failed is no error where it named what is
    /// missing: a merge with gaps fails.
    pub(crate) fn output<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Result<String> {
        let mut command = self.command(args);
        let output = command.output().with_context(|| format!("cannot run {}", self.0.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() && !text.lines().any(|line| line.starts_with("missing: ")) {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: "));
        }
        Ok(text)
    }

    /// Becomes the binary: Ctrl-C and the exit code are then its own.
    #[cfg(unix)]
    pub(crate) fn exec<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Result<ExitCode> {
        let error = std::os::unix::process::CommandExt::exec(&mut self.command(args));
        Err(error).with_context(|| format!("cannot run {}", self.0.display()))
    }

    /// Runs the binary and gives its exit code. Ctrl-C reaches it too, since it shares the console.
    #[cfg(not(unix))]
    pub(crate) fn exec<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Result<ExitCode> {
        let code = self.status(args)?.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.0);
        command.args(args);
        command
    }
}

/// The cargo that runs this task, without the variables that it set for this task.
///
/// Build scripts watch some of those, ring's the name of the package: with them `cargo xtask ..`
/// and `cargo ..` would each compile ring again after the other, and all that depends on it.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_this_task)) {
        command.env_remove(name);
    }
    command
}

/// True if cargo sets the variable for the program that it runs; `CARGO_HOME` and the like are the
/// user's.
fn is_of_this_task(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    let names = ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_sees_no_variable_of_this_package() {
        assert_eq!(std::env::var("CARGO_PKG_NAME").unwrap(), "xtask");
        let command = cargo();
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .filter_map(|(name, _)| name.to_str())
            .collect();
        assert!(
            ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"].iter().all(|name| removed.contains(name)),
            "{removed:?}"
        );
        assert!(
            !["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "PATH"].into_iter().any(is_of_this_task)
        );
    }

    #[test]
    fn the_commit_is_that_of_the_checkout_and_says_when_files_differ() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let git = |line: &str| {
            let author =
                ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"];
            let args = author.into_iter().chain(line.split(' '));
            assert!(Command::new("git").arg("-C").arg(root).args(args).status().unwrap().success());
        };
        assert_eq!(commit(root), None);
        git("init --quiet");
        git("commit --quiet --allow-empty --message first");
        let clean = commit(root).unwrap();
        assert!(clean.len() >= 40 && clean.bytes().all(|byte| byte.is_ascii_hexdigit()), "{clean}");
        std::fs::write(root.join("file"), "").unwrap();
        assert_eq!(commit(root), Some(format!("{clean}-dirty")));
    }
}
