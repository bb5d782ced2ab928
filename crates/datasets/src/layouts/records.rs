//! Lists of images as CSV texts, which the layouts share.

use std::path::{Component, Path, PathBuf};

use crate::RowProblem;

/// Bytes of the list of a data set, at most: millions of images.
pub(crate) const MAX_LIST: u64 = 1 << 30;

/// One record of a CSV text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// Its fields, without the quotes around them.
    pub(crate) fields: Vec<String>,
}

/// A quoted field that is not closed, or that goes on after its closing quote.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MisplacedQuote {
    /// The line on which the field begins, from 1.
    pub(crate) line: usize,
}

/// The records of a CSV text (RFC 4180). Lines end in LF or CRLF; a quoted field may hold commas,
/// line ends and, doubled, quotes. A byte order mark at the beginning and blank lines are passed
/// over. Spaces belong to the fields.
///
/// # Errors
/// [`MisplacedQuote`].
pub(crate) fn records(text: &str) -> Result<Vec<Record>, MisplacedQuote> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut line, mut records) = (1, Vec::new());
    while !rest.is_empty() {
        let mut record = Record { line, fields: Vec::new() };
        loop {
            let (field, after) = field(rest).ok_or(MisplacedQuote { line })?;
            line += rest[..rest.len() - after.len()].matches('\n').count();
            record.fields.push(field);
            let Some(next) = after.strip_prefix(',') else {
                rest = after;
                break;
            };
            rest = next;
        }
        if let Some(next) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = next;
            line += 1;
        }
        if record.fields != [""] {
            records.push(record);
        }
    }
    Ok(records)
}

/// The field at the beginning of `text`, and what follows it: a comma, a line end or nothing.
/// `None` for a misplaced quote.
fn field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let end = if text[..end].ends_with('\r') && !text[end..].starts_with(',') { end - 1 } else { end };
        let after = text[end..].strip_prefix('\r').filter(|after| after.is_empty()).unwrap_or(&text[end..]);
        return Some((text[..end].to_owned(), after));
    };
    let mut value = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        value.push_str(part);
        let Some(next) = after.strip_prefix('"') else {
            let at_end = after.is_empty() || after.starts_with([',', '\n']) || after.starts_with("\r\n");
            return at_end.then_some((value, after));
        };
        value.push('"');
        rest = next;
    }
}

/// A path that cannot lead out of the folder that it is relative to; `field` names it where it is
/// empty.
pub(crate) fn within(path: &str, field: &'static str) -> Result<PathBuf, RowProblem> {
    if path.is_empty() {
        return Err(RowProblem::EmptyField { field });
    }
    let inner = |component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    };
    let components = Path::new(path).components().filter(|component| *component != Component::CurDir);
    let inside: Option<PathBuf> = components.map(inner).collect();
    inside.ok_or_else(|| RowProblem::OutsideDataset { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &[&str])]) {
        let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect();
        let expected =
            expected.iter().map(|&(line, fields)| Record { line, fields: owned(fields) }).collect();
        assert_eq!(records(text), Ok(expected));
    }

    #[test]
    fn lines_end_in_either_way_and_the_last_needs_no_end() {
        for text in ["a,b\nc,\n", "a,b\r\nc,\r\n", "a,b\r\nc,", "\u{feff}a,b\nc,\r\n"] {
            check(text, &[(1, &["a", "b"]), (2, &["c", ""])]);
        }
        check("", &[]);
        check("\r\n\na", &[(3, &["a"])]);
        check(",\n", &[(1, &["", ""])]);
        check("a\r", &[(1, &["a"])]);
    }

    #[test]
    fn quotes_protect_commas_line_ends_and_doubled_quotes() {
        check("\"a,b\",\"c\"\"d\"\r\ne\n", &[(1, &["a,b", "c\"d"]), (2, &["e"])]);
        check("\"a\nb\",c\nd,\"\"", &[(1, &["a\nb", "c"]), (3, &["d", ""])]);
        // A quote within a field that does not begin with one is a character like any other.
        check("a\"b,c", &[(1, &["a\"b", "c"])]);
    }

    #[test]
    fn a_misplaced_quote_is_found_on_its_line() {
        for text in ["a\nb,\"c\n", "a\n\"b\"c\n", "a\n\"b\" ,c\n", "a\n\""] {
            assert_eq!(records(text), Err(MisplacedQuote { line: 2 }), "{text:?}");
        }
    }
}
