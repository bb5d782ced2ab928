//! The text forms of figures, names and paths in Markdown; most of them are also used in HTML.

use crate::Estimate;

/// A difference in points with its sign.
pub(crate) fn points(points: f64) -> String {
    let tenths = (10.0 * points).round();
    match tenths {
        0.0 => "0.0".to_owned(),
        _ => format!("{}{:.1}", if tenths < 0.0 { "−" } else { "+" }, tenths.abs() / 10.0),
    }
}

/// A fraction in per cent with one decimal.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

/// `98.2 ± 0.3`, without the spread for a single seed; `–` for none.
pub(crate) fn spread_percent(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "–".to_owned(),
        Some(Estimate { mean, std: None, .. }) => percent(mean),
        Some(Estimate { mean, std: Some(std), .. }) => format!("{} ± {}", percent(mean), percent(std)),
    }
}

/// A decimal where there is but one digit before it.
pub(crate) fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A name in code type. A backtick or bar cannot stand there, so such a name is written plain.
pub(crate) fn code(name: &str) -> String {
    if name.is_empty() || name.contains(['`', '|', '\n', '\r']) { escape(name) } else { format!("`{name}`") }
}

/// A path as the target of a link: everything but letters, digits and `/ - _ . ~ +`
/// percent-encoded.
pub(crate) fn link(path: &str) -> String {
    let mut target = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'+' => target.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => target.push(char::from(byte)),
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
    target
}

/// Text in which no character is taken for HTML or SVG, in an attribute too.
pub(crate) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The use of the text of a table's cells: Markdown, or plain text for a writer that escapes cells
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Markup {
    Markdown,
    Plain,
}

impl Markup {
    /// A name.
    pub(crate) fn name(self, name: &str) -> String {
        if self == Self::Markdown { escape(name) } else { name.to_owned() }
    }

    /// The name of a thing in code.
    pub(crate) fn code(self, name: &str) -> String {
        if self == Self::Markdown { code(name) } else { name.to_owned() }
    }

    /// A name that stands out.
    pub(crate) fn strong(self, name: &str) -> String {
        if self == Self::Markdown { format!("**{}**", escape(name)) } else { name.to_owned() }
    }

    /// A figure; the best of a column in bold, the second best in italics.
    pub(crate) fn ranked(self, text: String, rank: Option<usize>) -> String {
        match rank.filter(|_| self == Self::Markdown) {
            Some(0) => format!("**{text}**"),
            Some(1) => format!("_{text}_"),
            _ => text,
        }
    }
}

/// Text in which no character is taken for Markdown or ends a table cell. `_` within words is
/// harmless.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '<' | '`' | '[' | ']' | '\\' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// `a, b and c`.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escape("a|b*c\n<d>"), r"a\|b\*c \<d>");
        assert_eq!(code("a|b"), r"a\|b");
        assert_eq!(link("runs/left side/é(1).png"), "runs/left%20side/%C3%A9%281%29.png");
    }

    #[test]
    fn lists_end_in_and() {
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed::<&str>(&[]), "");
    }
}
