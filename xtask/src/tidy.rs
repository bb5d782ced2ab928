//! `cargo xtask tidy`: the rules of the repository that neither rustc nor clippy can check.

mod dependencies;
mod files;
mod scan;
mod source;

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// A place that breaks a rule, or comes close.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root of the repository.
    path: String,
    /// One-based.
    line: usize,
    severity: Severity,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Error,
    /// Worth a look; fails nothing.
    Note,
}

impl Finding {
    fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, severity: Severity::Error, message: message.into() }
    }

    fn note(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    /// Writes `path:line: message`, which editors turn into a link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, severity, message } = self;
        let note = if *severity == Severity::Note { "note: " } else { "" };
        write!(f, "{path}:{line}: {note}{message}")
    }
}

/// Checks every file that git tracks or would track, and the dependencies; prints what it finds.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let mut findings = dependencies::check(root)?;
    for path in tracked_files(root)? {
        let full = root.join(&path);
        // Gone from disk but still in the index, or a link to a folder: nothing to read.
        if !full.is_file() {
            continue;
        }
        let content = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        findings.extend(files::check(&path, &content));
        if path.ends_with(".rs") {
            findings.extend(source::check(&path, &String::from_utf8_lossy(&content)));
        }
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    println!("tidy: {errors} errors, {} notes", findings.len() - errors);
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Paths relative to `root`, new files that git does not ignore included, so that a rule speaks before a commit.
fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .current_dir(root)
        .output()
        .context("cannot run git, which lists the files to check")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let list = String::from_utf8(output.stdout).context("a tracked file's name is not UTF-8")?;
    Ok(list.split_terminator('\0').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Path, args: &[&str]) {
        assert!(Command::new("git").args(args).current_dir(root).status().unwrap().success());
    }

    #[test]
    fn findings_print_as_places() {
        assert_eq!(Finding::error("a/b.rs", 3, "no").to_string(), "a/b.rs:3: no");
        assert_eq!(Finding::note("a/b.rs", 3, "long").to_string(), "a/b.rs:3: note: long");
    }

    #[test]
    fn new_files_are_checked_and_ignored_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        git(root.path(), &["init", "--quiet"]);
        for (name, content) in [(".gitignore", "/target\n"), ("target", ""), ("new.rs", ""), ("known.rs", "")]
        {
            std::fs::write(root.path().join(name), content).unwrap();
        }
        git(root.path(), &["add", "known.rs"]);
        let mut files = tracked_files(root.path()).unwrap();
        files.sort();
        assert_eq!(files, [".gitignore", "known.rs", "new.rs"]);
    }

    #[test]
    fn outside_a_repository_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(tracked_files(root.path()).is_err());
    }
}
