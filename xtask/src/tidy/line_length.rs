//! The length of lines of prose: comments of Rust files, and Markdown.

use super::finding::Finding;

/// Characters that a line of prose has at most.
const MAX_CHARACTERS: usize = 100;

/// Checks the comment lines (`//`, `///`, `//!`) of the Rust file `path`.
pub(super) fn check_rust(path: &str, text: &str) -> Vec<Finding> {
    check(path, text, comment)
}

/// Checks every line of the Markdown file `path`.
pub(super) fn check_markdown(path: &str, text: &str) -> Vec<Finding> {
    // The tests of a crate hold texts that the program wrote.
    if path.starts_with("crates/") && path.contains("/tests/") {
        return Vec::new();
    }
    check(path, text, whole)
}

/// The text of a comment line of Rust.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text))
}

/// Markdown: every line is prose.
fn whole(line: &str) -> Option<&str> {
    Some(line)
}

/// Checks the lines in which `prose_of` finds prose. Code between fences, tables, headings and
/// unbreakable lines may be longer.
fn check(path: &str, text: &str, prose_of: fn(&str) -> Option<&str>) -> Vec<Finding> {
    let (mut findings, mut is_fenced) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let Some(prose) = prose_of(line).map(str::trim) else {
            // A fence ends with the comment that it stands in.
            is_fenced = false;
            continue;
        };
        let is_fence = prose.starts_with("```");
        is_fenced ^= is_fence;
        let n_characters = line.chars().count();
        if n_characters <= MAX_CHARACTERS || is_fenced || is_fence || may_be_long(prose) {
            continue;
        }
        let message = format!("{n_characters} characters; a line of prose has at most {MAX_CHARACTERS}");
        findings.push(Finding::error(path, index + 1, message));
    }
    findings
}

/// True if `prose` cannot be wrapped: a heading, a line of a table, or a link or word that is too
/// long by itself.
fn may_be_long(prose: &str) -> bool {
    let is_heading = prose.trim_start_matches('#').starts_with(' ') && prose.starts_with('#');
    is_heading || prose.starts_with('|') || is_unbreakable(prose)
}

/// True if `prose` is one link, one definition of a link, or one word, behind the mark of a list
/// item or not.
fn is_unbreakable(prose: &str) -> bool {
    let item = prose.strip_prefix("- ").or_else(|| prose.strip_prefix("* ")).unwrap_or(prose);
    let is_definition =
        item.starts_with('[') && item.split_once("]: ").is_some_and(|(_, target)| !target.contains(' '));
    let link = item.trim_start_matches('!');
    let is_link = link.starts_with('[')
        && link.split_once("](").is_some_and(|(_, target)| !target.contains(' ') && !target.contains("]("));
    is_definition || is_link || !item.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "ä few words that are repeated until the line is too long to be read at once, ";

    /// Asserts that `findings` are of the lines `expected`.
    fn check_lines(findings: &[Finding], expected: &[usize]) {
        let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let at_most = "ä ".repeat(MAX_CHARACTERS / 2);
        check_lines(&check_markdown("a.md", &at_most), &[]);
        let finding = Finding::error("a.md", 1, "101 characters; a line of prose has at most 100");
        assert_eq!(check_markdown("a.md", &format!("{at_most}b")), [finding]);
    }

    #[test]
    fn comments_are_checked_and_code_is_not() {
        let long = LONG.repeat(2);
        let text =
            format!("//! {long}\n    /// {long}\nlet x = \"{long}\"; // {long}\n// {long}\n// short\n");
        check_lines(&check_rust("a.rs", &text), &[1, 2, 4]);
    }

    #[test]
    fn code_tables_headings_and_links_may_be_longer() {
        let long = LONG.repeat(2);
        let word = "x".repeat(MAX_CHARACTERS + 1);
        let text = format!(
            "# {long}\n| {long} |\n```\n{long}\n```\n![{long}]({word})\n- [{long}]({word})\n[a]: {word}\n{word}\n\
             {long}\n[{long}](b) and [c]({word})\n"
        );
        check_lines(&check_markdown("docs/a.md", &text), &[10, 11]);
        check_lines(&check_markdown("crates/a/tests/a.md", &text), &[]);
    }

    #[test]
    fn a_fence_of_a_comment_ends_with_the_comment() {
        let long = LONG.repeat(2);
        let text = format!("/// ```\n/// {long}\n/// ```\n/// {long}\n/// ```\nfn f() {{}}\n// {long}\n");
        check_lines(&check_rust("a.rs", &text), &[4, 7]);
    }
}
