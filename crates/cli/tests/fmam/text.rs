//! What is only printed.

use std::process::Command;

use crate::{line, succeed};

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
    for command in ["", "reproduce ", "fit ", "eval ", "predict ", "synth ", "metrics "] {
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
