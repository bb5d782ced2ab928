//! `cargo xtask tidy`: the rules of the repository that neither rustc nor clippy can check.

mod circles;
mod features;
mod files;
mod finding;
mod floors;
mod line_length;
mod links;
mod readers;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use self::finding::Severity;

/// Checks every file that git tracks or would track, and the dependencies; prints what it finds.
/// With `write` the table of imports is written first.
pub(crate) fn run(root: &Path, write: bool) -> Result<ExitCode> {
    let house = floors::House::read(root)?;
    let mut findings = house.check();
    findings.extend(house.check_table(root, write)?);
    findings.extend(features::check(root, house.names())?);
    let mut texts = Vec::new();
    for path in tracked_files(root)? {
        let full = root.join(&path);
        // Gone from disk but still in the index, or a link, whose target is checked where it lies.
        if !full.is_file() || full.is_symlink() {
            continue;
        }
        let content = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        findings.extend(files::check(&path, &content));
        if path.ends_with(".rs") || path.ends_with(".md") {
            texts.push((path, String::from_utf8_lossy(&content).into_owned()));
        }
    }
    let (rust, markdown): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(path, _)| path.ends_with(".rs"));
    findings.extend(circles::check(&rust));
    findings.extend(rust.iter().flat_map(|(path, text)| readers::check(path, text)));
    findings.extend(rust.iter().flat_map(|(path, text)| line_length::check_rust(path, text)));
    findings.extend(markdown.iter().flat_map(|(path, text)| line_length::check_markdown(path, text)));
    let markdown: BTreeMap<&str, &str> =
        markdown.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    findings.extend(links::check(root, &markdown));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    println!("tidy: {errors} errors, {} notes", findings.len() - errors);
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Paths relative to `root`, new files that git does not ignore included, so that a rule speaks
/// before a commit.
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
