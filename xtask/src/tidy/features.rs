//! Every selection of packages builds third-party packages with the features that the whole
//! workspace gives them.
//!
//! Cargo unifies features over the selected packages only. Where a selection asks for fewer, `cargo
//! test -p CRATE` compiles the package again, and everything that depends on it. `fmam-hub` states
//! the features that differ.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::finding::Finding;
use crate::fmam::cargo;

/// The crate that states features.
const HUB: &str = "crates/hub/Cargo.toml";

/// Compares the tests of each of `members` with those of the workspace.
pub(super) fn check<'a>(root: &Path, members: impl Iterator<Item = &'a str>) -> Result<Vec<Finding>> {
    let all = resolved(root, &["--workspace"])?;
    let mut findings = Vec::new();
    for member in members {
        let own = resolved(root, &["--package", member])?;
        findings.extend(differences(member, &own, &all).map(|text| Finding::error(HUB, 1, text)));
    }
    Ok(findings)
}

fn differences<'a>(
    member: &'a str,
    own: &'a BTreeSet<String>,
    all: &'a BTreeSet<String>,
) -> impl Iterator<Item = String> + 'a {
    own.difference(all).map(move |package| {
        let (name, features) = package.split_once('|').unwrap_or((package, ""));
        let with = |line: &&String| line.starts_with(&format!("{name}|"));
        let wanted: Vec<&str> =
            all.iter().filter(with).filter_map(|line| Some(line.split_once('|')?.1)).collect();
        format!(
            "`cargo test -p {member}` would compile {name} again, with [{features}] instead of [{}]",
            wanted.join("] or [")
        )
    })
}

/// A line `name version|features` for each package that the tests of a selection need.
fn resolved(root: &Path, selection: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = cargo();
    command
        .args(["tree", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{f}"])
        .args(selection)
        .current_dir(root);
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(|line| line.trim_end_matches(" (*)").replace(" (proc-macro)", "")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_other_features_is_named() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        let all = set(&["a v1|std", "b v2|", "b v2|x"]);
        assert_eq!(differences("m", &set(&["a v1|std", "b v2|"]), &all).count(), 0);
        let text = "`cargo test -p m` would compile b v2 again, with [y] instead of [] or [x]";
        assert_eq!(differences("m", &set(&["b v2|y"]), &all).collect::<Vec<_>>(), [text]);
    }
}
