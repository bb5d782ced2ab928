//! Text of inputs (names, keys, values of files) within lines for people: it cannot act on a
//! terminal, and it has a length.

use std::borrow::Cow;

/// Characters of a value, such as a name, within a line.
const VALUE: usize = 200;

/// Characters of a line.
const LINE: usize = 2000;

/// `text` with its control characters as escapes, such as `\u{1b}`; so are the characters that turn
/// the direction of writing.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// [`escaped`], except for the ends of lines and tabs, for a text of several lines.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped_but(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |c: char| acts(c) && !kept(c);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// True for a character that does something to a terminal, or to the order of the characters there.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value of an input, [`escaped`] and of 200 characters at most: of a longer one the begin and
/// the end.
pub fn shown(value: &str) -> Cow<'_, str> {
    cut(escaped(value), VALUE)
}

/// A line about inputs, [`escaped`] and of 2,000 characters at most. Each of its words is cut as
/// [`shown`] does.
pub fn shown_line(line: &str) -> String {
    let line = escaped(line);
    let words: Vec<_> = line.split(' ').map(|word| cut(word.into(), VALUE)).collect();
    cut(words.join(" ").into(), LINE).into_owned()
}

/// `text`, of `longest` characters at most.
fn cut(text: Cow<'_, str>, longest: usize) -> Cow<'_, str> {
    // A character has at least one byte.
    if text.len() <= longest {
        return text;
    }
    let n = text.chars().count();
    if n <= longest {
        return text;
    }
    let n_front = longest * 3 / 5;
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{}…{}", &text[..at(n_front)], &text[at(n + n_front + 1 - longest)..]))
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;
    use crate::Seed;

    #[test]
    fn control_characters_are_escaped_and_the_rest_stays() {
        assert_eq!(escaped("Prüfung 1 – ok.png"), "Prüfung 1 – ok.png");
        assert_eq!(escaped("a\u{1b}[31m\n\u{202e}gnp.b\u{9b}"), "a\\u{1b}[31m\\n\\u{202e}gnp.b\\u{9b}");
        assert_eq!(escaped_lines("a\tb\n\rc\n"), "a\tb\n\\rc\n");
    }

    #[test]
    fn a_long_value_shows_its_begin_and_its_end() {
        let value = format!("{}{}", "ä".repeat(150), "z".repeat(150));
        let cut = shown(&value);
        assert_eq!(cut.chars().count(), 200);
        assert_eq!(cut, format!("{}…{}", "ä".repeat(120), "z".repeat(79)));
        let exact = "é".repeat(200);
        assert_eq!(shown(&exact), exact);
        let line = shown_line(&format!("cannot read {value}: no such file"));
        assert_eq!(line, format!("cannot read {}…{}: no such file", "ä".repeat(120), "z".repeat(78)));
        let words = shown_line(&"word ".repeat(1_000_000));
        assert_eq!(words.chars().count(), 2000);
    }

    #[test]
    fn no_text_acts_on_a_terminal_or_is_long() {
        let pool: Vec<char> =
            ('\0'..'\u{ff}').chain(['\u{202e}', '\u{2028}', '語', '\u{10ffff}', 'a', ' ']).collect();
        for index in 0..300_u64 {
            let seed = Seed::new(index);
            let pick = |k: usize| seed.derive_index(k as u64).rng().next_u64() as usize;
            let n = if index % 100 == 0 { 1_000_000 } else { pick(0) % 4000 };
            // A few characters, over and over: long words and long rows of blanks.
            let alphabet: Vec<char> = (1..=1 + pick(1) % 9).map(|k| pool[pick(k) % pool.len()]).collect();
            let text: String = (0..n).map(|k| alphabet[(k * k + k / 7) % alphabet.len()]).collect();
            let (value, line) = (shown(&text), shown_line(&text));
            assert!(value.chars().count() <= VALUE && line.chars().count() <= LINE, "{index}");
            assert!(!value.chars().chain(line.chars()).any(acts), "{index}");
            assert!(!escaped_lines(&text).chars().any(|c| acts(c) && c != '\n' && c != '\t'), "{index}");
        }
    }
}
