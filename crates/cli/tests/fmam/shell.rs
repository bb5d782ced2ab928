//! The parts of an installation besides the binary: version, completions, manual pages.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{fail, files, succeed};

/// Runs a program that may be missing, which is said; its output is that of success.
#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
fn tool(program: &str, args: &[&str]) -> Option<(String, String)> {
    let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{program} {args:?}\n{stderr}");
    Some((stdout, stderr))
}

#[test]
fn the_version_tells_what_was_built_and_where_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let short = format!("fmam {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(succeed(dir.path(), "-V"), short);
    let long = succeed(dir.path(), "--version");
    assert!(long.starts_with(&short), "{long}");
    let fact = |name: &str| {
        let line = long.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or(&long);
        line.strip_prefix(name).unwrap_or_else(|| panic!("{name} is missing in\n{long}")).trim().to_owned()
    };
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // 40 or 64 digits, `-dirty` behind them where `cargo xtask` says so.
    let commit = fact("commit");
    assert!(commit == "unknown" || is_hexadecimal(commit.trim_end_matches("-dirty")), "{commit}");
    assert!(fact("sources").len() == 16 && is_hexadecimal(&fact("sources")), "{long}");
    assert!(fact("target").contains(std::env::consts::ARCH), "{long}");
    assert_eq!(fact("features").split(' ').any(|name| name == "dinov2"), cfg!(feature = "dinov2"));
    assert_eq!(fact("features").split(' ').any(|name| name == "cuda"), cfg!(feature = "cuda"));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(fact("cpu").contains("avx2"), is_x86_feature_detected!("avx2"), "{long}");
    assert!(fact("candle").starts_with("0."), "{long}");
}

#[test]
fn every_shell_has_a_completion_script() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = succeed(dir.path(), &format!("completions {shell}"));
        for word in ["predict", "fail-on-defect", "calibrate"] {
            assert!(script.contains(word), "`{word}` is missing for {shell}");
        }
        if matches!(shell, "bash" | "fish" | "zsh") {
            let file = dir.path().join(shell);
            std::fs::write(&file, script).unwrap();
            tool(shell, &["-n", file.to_str().unwrap()]);
        }
    }
    fail(dir.path(), "completions tcsh", 2, &["tcsh", "bash"]);
}

#[test]
fn bash_completes_commands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fmam.bash");
    std::fs::write(&file, succeed(dir.path(), "completions bash")).unwrap();
    let complete = |words: &[&str]| {
        let n = words.len() - 1;
        let script = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={n}; _fmam fmam '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.join(" "),
            words[n],
            words[n - 1]
        );
        tool("bash", &["-c", &script]).map(|(stdout, _)| stdout.trim().to_owned())
    };
    let expected = |words: &[&str], reply: &str| {
        if let Some(given) = complete(words) {
            assert_eq!(given, reply, "{words:?}");
        }
    };
    expected(&["fmam", "pre"], "predict");
    expected(&["fmam", "predict", "--fail"], "--fail-on-defect");
    expected(&["fmam", "predict", "--layout", "sh"], "sheet");
    expected(&["fmam", "weights", "im"], "import");
}

#[test]
fn manual_pages_are_written_for_every_command_and_groff_finds_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let told = succeed(dir.path(), "man --out man1");
    let pages = files(&dir.path().join("man1"));
    assert_eq!(told, format!("{} pages: man1\n", pages.len()));
    let named = |name: &str| pages.iter().find(|page| page.ends_with(name)).map(|page| read(page));
    let main = named("fmam.1").unwrap();
    for command in ["fit", "predict", "man", "completions"] {
        assert!(main.contains(&format!("fmam\\-{command}(1)")), "{command} is missing in\n{main}");
        assert!(named(&format!("fmam-{command}.1")).is_some(), "{command}");
    }
    assert!(named("fmam-weights-import.1").is_some() && named("fmam-help.1").is_none());
    // Facts about this machine would make other pages elsewhere.
    assert!(!main.contains("avx") && !main.contains("sources"), "{main}");
    for page in &pages {
        let path = page.to_str().unwrap();
        if let Some((text, faults)) = tool("groff", &["-ww", "-man", "-Tascii", "-P-cbou", "-rLL=110n", path])
        {
            assert_eq!(faults, "", "{path}");
            assert!(text.contains("SYNOPSIS"), "{path}\n{text}");
        }
    }
    // The examples keep their lines.
    if let Some((text, _)) =
        tool("groff", &["-man", "-Tascii", "-P-cbou", "-rLL=130n", pages_path(&pages, "fmam-fit.1")])
    {
        assert!(text.lines().any(|line| line.trim() == "fmam fit good/ --out model"), "{text}");
    }
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap()
}

fn pages_path<'a>(pages: &'a [std::path::PathBuf], name: &str) -> &'a str {
    pages.iter().find(|page| page.ends_with(name)).unwrap().to_str().unwrap()
}
