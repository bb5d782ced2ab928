//! The page "What can go wrong": it has every exit code, kind and message of the program.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page() -> String {
    read("docs/src/what-can-go-wrong.md")
}

/// The Rust files below `dir`.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The messages of `#[error("...")]` in a source, with `…` in the place of values.
fn messages(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.split("#[error(").skip(1).filter_map(|rest| message(rest.trim_start().strip_prefix('"')?)).collect()
}

/// The message in a literal, whose first quote is read; `None` for one of values alone.
fn message(literal: &str) -> Option<String> {
    let (mut text, mut chars) = (String::new(), literal.chars().peekable());
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                // A literal that goes on in the next line.
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push(' '),
                escaped => text.push(escaped),
            },
            bracket @ ('{' | '}') if chars.next_if_eq(&bracket).is_some() => text.push(bracket),
            '{' => {
                chars.by_ref().find(|&c| c == '}');
                text.push('…');
            }
            c => text.push(c),
        }
    }
    text.chars().any(char::is_alphabetic).then_some(text)
}

#[test]
fn the_page_has_every_message_of_the_libraries() {
    let page = page();
    let mut files = Vec::new();
    for entry in fs::read_dir(repository().join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let (mut n_messages, mut missing) = (0, String::new());
    for file in files {
        for message in messages(&fs::read_to_string(&file).unwrap()) {
            n_messages += 1;
            if !page.contains(&message.replace('|', "\\|")) {
                let _ = writeln!(missing, "{}: {message}", file.display());
            }
        }
    }
    assert!(n_messages > 300, "{n_messages} messages were found: the sources look otherwise");
    assert!(missing.is_empty(), "docs/src/what-can-go-wrong.md lacks these messages:\n{missing}");
}

#[test]
fn the_page_has_every_exit_code_and_every_kind() {
    let page = page();
    let codes = read("crates/cli/src/exit.rs");
    let codes = codes.split("#[cfg(test)]").next().unwrap();
    let numbers = codes.split("ExitCode::from(").skip(1).map(|rest| rest.split(')').next().unwrap());
    for number in numbers.chain(["0", "1"]) {
        assert!(page.contains(&format!("\n| {number} | ")), "exit code {number} is missing");
    }
    let kinds = read("crates/core/src/error_kind.rs");
    let kinds = kinds.split("pub enum ErrorKind {").nth(1).unwrap().split("\n}").next().unwrap();
    let variants = kinds.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    let mut n_kinds = 0;
    for variant in variants {
        n_kinds += 1;
        let kind = variant.trim_end_matches(',');
        assert!(page.contains(&format!("\n| `{kind}` | ")), "the kind {kind} is missing");
    }
    assert!(n_kinds >= 5);
}

#[test]
fn the_tests_that_the_page_names_are_there() {
    for (name, text) in [("the page", page()), ("SECURITY.md", read("SECURITY.md"))] {
        let mut n_files = 0;
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_test = [".rs", ".py", ".sh"].iter().any(|ending| quoted.ends_with(ending));
            if is_test && quoted.contains('/') && !quoted.contains(char::is_whitespace) {
                n_files += 1;
                assert!(repository().join(quoted).is_file(), "{name} names {quoted}, which is not there");
            }
        }
        assert!(n_files > 5, "{name}: {n_files}");
    }
}

#[test]
fn a_message_is_read_as_the_program_prints_it() {
    let source = r#"#[error("a {} b \"c\" {{d}} \
        e {f:?}")] #[error(transparent)] #[error("{}", x)]
        #[error(
            "g {h}", h
        )]"#;
    assert_eq!(messages(source), ["a … b \"c\" {d} e …", "g …"]);
}
