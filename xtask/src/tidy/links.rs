//! Relative links of Markdown files: the file is there, and so is the heading behind `#`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::finding::Finding;

/// Checks the links of all Markdown files, each a path and its text, below `root`.
pub(super) fn check(root: &Path, files: &BTreeMap<&str, &str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files {
        // The tests of a crate hold texts that the program wrote for another folder.
        if path.starts_with("crates/") && path.contains("/tests/") {
            continue;
        }
        for (line, target) in links(text) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
            let to = beside(path, file);
            let heading_is_there = || match (anchor, to.to_str().and_then(|to| files.get(to))) {
                (Some(anchor), Some(text)) => {
                    prose(text).any(|(_, line)| slug(line) == Some(anchor.to_owned()))
                }
                _ => true,
            };
            if !root.join(&to).exists() {
                findings.push(Finding::error(
                    path,
                    line,
                    format!("links to `{target}`, which does not exist"),
                ));
            } else if !heading_is_there() {
                findings.push(Finding::error(path, line, format!("links to `{target}`: no such heading")));
            }
        }
    }
    findings
}

/// One-based lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

/// The targets of `](target)` that name a file of the repository, each with its line.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        targets
            .filter(|target| !target.contains(':') && !target.is_empty())
            .map(move |target| (number, target))
    })
}

/// `target` as the file `from` means it; `from` itself where `target` is empty.
fn beside(from: &str, target: &str) -> PathBuf {
    if target.is_empty() {
        return from.into();
    }
    let mut path = Path::new(from).parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// The anchor of a heading, as GitHub makes it.
fn slug(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?.trim();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_must_lead_somewhere() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        let index = "# Why `x`, and *how*?\n[a](../b.md) and [b](../b.md#two-words)\n\
            [c](#why-x-and-how) [d](https://example.org/x.md) ![e](e.png)\n```\n[f](f.md)\n```\n";
        let wrong = "## Two words\n[a](docs/c.md)\n[b](docs/a.md#nothing) [c](docs)\n";
        for (name, text) in [("docs/a.md", index), ("b.md", wrong), ("docs/e.png", "")] {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        let found = check(root.path(), &BTreeMap::from([("docs/a.md", index), ("b.md", wrong)]));
        let expected = [
            Finding::error("b.md", 2, "links to `docs/c.md`, which does not exist"),
            Finding::error("b.md", 3, "links to `docs/a.md#nothing`: no such heading"),
        ];
        assert_eq!(found, expected);
    }
}
