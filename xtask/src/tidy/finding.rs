//! A finding of tidy.

use std::fmt;

/// A place that breaks a rule, or comes close.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Relative to the root of the repository.
    pub(super) path: String,
    /// One-based.
    pub(super) line: usize,
    pub(super) severity: Severity,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Error,
    /// Worth a look; fails nothing.
    Note,
}

impl Finding {
    pub(super) fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, severity: Severity::Error, message: message.into() }
    }

    pub(super) fn note(path: &str, line: usize, message: impl Into<String>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_print_as_places() {
        assert_eq!(Finding::error("a/b.rs", 3, "no").to_string(), "a/b.rs:3: no");
        assert_eq!(Finding::note("a/b.rs", 3, "long").to_string(), "a/b.rs:3: note: long");
    }
}
