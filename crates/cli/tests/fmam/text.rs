//! Commands that print and compute nothing.

use std::process::Command;

use crate::{fail, line, succeed};

#[test]
fn list_gives_one_name_a_line_or_everything() {
    let dir = tempfile::tempdir().unwrap();
    let names = succeed(dir.path(), "list methods");
    let papers = ["puzzle-ae", "fcdd", "spade", "padim", "mrkd", "nkd", "nkd+fmam", "rkd", "rkd+fmam"];
    assert_eq!(names.lines().take(9).collect::<Vec<_>>(), papers);
    assert!(succeed(dir.path(), "list backbones").lines().any(|name| name == "efficientnet-lite0"));
    assert!(succeed(dir.path(), "list datasets").lines().any(|name| name == "magnetic-tile"));
    let all = succeed(dir.path(), "list");
    for word in ["Methods\n", "Backbones\n", "Data sets\n", "  rkd+fmam  ", "  wide-resnet50-2 ", "  mvtec "]
    {
        assert!(all.contains(word), "`{word}` is missing in\n{all}");
    }
}

#[test]
fn list_settings_gives_the_defaults_of_a_method_as_toml() {
    let dir = tempfile::tempdir().unwrap();
    let settings = |args: &str| -> toml::Table {
        toml::from_str(&succeed(dir.path(), &format!("list settings {args}"))).unwrap()
    };
    let defaults = settings("rkd+fmam");
    assert!(defaults["epochs"].is_integer() && defaults["mapping"]["margin"].is_float(), "{defaults}");
    let changed = settings("rkd+fmam --set mapping.margin=0.125 --set epochs=3");
    assert_eq!(changed["mapping"]["margin"].as_float(), Some(0.125));
    assert_eq!(changed["epochs"].as_integer(), Some(3));
    fail(dir.path(), "list settings nosuch", 2, &["nosuch", "rkd+fmam"]);
    fail(dir.path(), "list settings", 2, &["METHOD"]);
    fail(dir.path(), "list methods rkd", 2, &["list settings"]);
}

#[test]
fn config_tells_each_value_and_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let told = succeed(dir.path(), "config --preset demo --seeds 3 --set rkd@wide.batch_size=2");
    let line = |key: &str| told.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert_eq!(line("seeds"), "seeds = [3]  # option");
    assert!(line("backbones").ends_with("# preset demo"), "{told}");
    assert!(line("precision").ends_with("# default"), "{told}");
    assert!(line("methods").contains("\"rkd@wide\""), "{told}");
    let table: toml::Table = toml::from_str(&told).unwrap();
    assert_eq!(table["method"]["rkd@wide"]["batch_size"].as_integer(), Some(2));
}

#[test]
fn weights_list_says_which_are_in_the_binary() {
    let dir = tempfile::tempdir().unwrap();
    let text = succeed(dir.path(), "weights list");
    let of = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(of("efficientnet-lite0").contains("in the binary"));
    assert!(of("resnet18").contains("--weights"));
}

#[test]
fn help_has_examples_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for command in
        ["", "reproduce ", "config ", "fit ", "eval ", "predict ", "synth ", "metrics ", "check ", "roi "]
    {
        let help = succeed(dir.path(), &format!("{command}--help"));
        assert!(help.contains("fmam ") && (help.contains("Example") || help.contains("Try it")), "{help}");
    }
}

#[test]
fn no_arguments_give_help_and_a_usage_code() {
    let dir = tempfile::tempdir().unwrap();
    let call = line(dir.path(), "");
    assert_eq!(call.code, Some(2));
    assert!(call.stderr.contains("Usage"));
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    for args in [&["list"][..], &["list", "methods"], &["--help"], &["reproduce", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        // Before the program starts, so that its first write fails already.
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_fmam")).args(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
}
