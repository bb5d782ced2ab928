//! Just enough of Rust's lexer to tell code from comments and literals.

/// `source` with every comment, string and character literal blanked out; lines stay where they were.
pub(super) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let length = prose_length(&chars[at..]);
        if length == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..at + length].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    code
}

/// The words of a line of code: identifiers and keywords, each with the character that follows it.
pub(super) fn words(line: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.split(move |c| !is_word(c)).filter(|word| !word.is_empty()).map(|word| {
        let end = word.as_ptr() as usize - line.as_ptr() as usize + word.len();
        (word, line[end..].chars().next())
    })
}

/// Length of the comment or literal that `rest` begins with; 0 where it begins with code.
fn prose_length(rest: &[char]) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest, '"'),
        ['\'', '\\', ..] => quoted_length(rest, '\''),
        // Anything else behind a quote is a lifetime.
        ['\'', _, '\'', ..] => 3,
        // No identifier may touch the quote of a string, so that an `r` there begins a raw one.
        ['r', '"' | '#', ..] => raw_string_length(rest),
        _ => 0,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// 0 where `rest` begins with a raw identifier, `r#type` say.
fn raw_string_length(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    let start = 1 + hashes;
    if rest.get(start) != Some(&'"') {
        return 0;
    }
    let closes =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    (start + 1..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_code(source: &str, expected: &str) {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected, "of {source:?}");
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check_code("a // b\nc", "a c");
        check_code("a /* b /* c */ d\n */ e", "a e");
        check_code(r#"f("a \" b", g)"#, "f( , g)");
        check_code("f(r#\"a \" b\"#, br\"c\\\", g)", "f( , b , g)");
        check_code("f('\"', '\\'', b'x', \"y\")", "f( , , b , )");
        check_code("fn f<'a>(x: &'a str, r#type: &'static T)", "fn f<'a>(x: &'a str, r#type: &'static T)");
        check_code("\"unfinished\nstring", "");
        check_code("/* unfinished", "");
    }

    #[test]
    fn words_come_with_what_follows() {
        let found: Vec<_> = words("a!(b_1, c)").collect();
        assert_eq!(found, [("a", Some('!')), ("b_1", Some(',')), ("c", Some(')'))]);
    }
}
