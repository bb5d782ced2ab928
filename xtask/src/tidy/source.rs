//! Rules about the text of a Rust file.

use super::Finding;
use super::scan::{code_only, words};

/// A file of more lines than this holds more than one subject.
const MAX_LINES: usize = 600;
/// A file of more lines than this is worth a look.
const MANY_LINES: usize = 400;
/// The only crate that may hold unsafe code.
const UNSAFE_HOME: &str = "crates/ops/";
/// Words that say nothing of what a type is.
const VAGUE_WORDS: &[&str] = &["Manager", "Helper", "Processor"];
/// Macros and marks that stand for work not done.
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented"];
const UNFINISHED_MARK: &str = concat!("FIX", "ME");

/// Checks one Rust file.
pub(super) fn check(path: &str, source: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = check_length(path, source.lines().count()).into_iter().collect();
    for (index, (line, code)) in source.lines().zip(code_only(source).lines()).enumerate() {
        let mut report = |message: String| findings.push(Finding::error(path, index + 1, message));
        if line.contains(UNFINISHED_MARK) {
            report(format!("`{UNFINISHED_MARK}`: do it, or open an issue"));
        }
        let mut previous = "";
        for (word, next) in words(code) {
            if word == "unsafe" && !path.starts_with(UNSAFE_HOME) {
                report(format!("`unsafe` outside {UNSAFE_HOME}"));
            }
            if next == Some('!') && UNFINISHED_MACROS.contains(&word) {
                report(format!("`{word}!`: do it, or open an issue"));
            }
            if matches!(previous, "struct" | "enum" | "union" | "trait" | "type")
                && let Some(vague) = VAGUE_WORDS.iter().find(|vague| word.contains(**vague))
            {
                report(format!("type `{word}`: `{vague}` does not say what it is"));
            }
            previous = word;
        }
    }
    findings
}

fn check_length(path: &str, lines: usize) -> Option<Finding> {
    if lines > MAX_LINES {
        Some(Finding::error(
            path,
            lines,
            format!("{lines} lines, at most {MAX_LINES} are allowed: split by subject"),
        ))
    } else if lines > MANY_LINES {
        Some(Finding::note(path, lines, format!("{lines} lines; more than {MAX_LINES} are an error")))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Severity;

    /// The lines of `source` with a finding.
    fn check_lines(path: &str, source: &str, expected: &[usize]) {
        let lines: Vec<usize> = check(path, source).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected, "{:#?}", check(path, source));
    }

    #[test]
    fn unsafe_is_for_ops_only() {
        let source = "fn f() {\n    unsafe { g() }\n}\n";
        check_lines("crates/cli/src/main.rs", source, &[2]);
        check_lines("crates/ops/src/conv.rs", source, &[]);
        check_lines("a.rs", "// unsafe\n#![deny(unsafe_code)]\nlet x = \"unsafe\";", &[]);
    }

    #[test]
    fn unfinished_work_is_found() {
        check_lines("a.rs", "fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\nlet todo = 1;", &[1, 2]);
        check_lines("a.rs", &format!("// {UNFINISHED_MARK}: later"), &[1]);
        check_lines("a.rs", "// todo!() stands in a comment\nlet x = \"todo!()\";", &[]);
    }

    #[test]
    fn vague_type_names_are_found() {
        check_lines(
            "a.rs",
            "pub struct DataManager;\nenum Helper {}\ntrait ImageProcessor<T> {}",
            &[1, 2, 3],
        );
        check_lines("a.rs", "use std::x::LockManager;\n/// A struct Helper.\nstruct Managed;", &[]);
    }

    #[test]
    fn long_files_are_found() {
        let severities = |lines: usize| -> Vec<Severity> {
            check("a.rs", &"\n".repeat(lines)).iter().map(|finding| finding.severity).collect()
        };
        assert_eq!(severities(400), []);
        assert_eq!(severities(401), [Severity::Note]);
        assert_eq!(severities(600), [Severity::Note]);
        assert_eq!(severities(601), [Severity::Error]);
    }
}
