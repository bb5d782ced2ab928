//! Pipes and devices in the places of files, and reads that never end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{image_dataset, line, succeed};

/// The longest time that a refusal may take: the tests run many programs at once.
const AT_ONCE: Duration = Duration::from_secs(60);

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Waits for `child`; ends it where it does not end.
fn ended(child: &mut Child, patience: Duration) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

/// Runs `fmam` with a limit of time; exit code and stderr.
fn timed(dir: &Path, args: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(args.split_whitespace()).current_dir(dir).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let code = ended(&mut child, AT_ONCE);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (code, told)
}

/// A folder with a data set, and a model of it called `m`.
fn folder_with_model() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(
        dir.path(),
        "fit --data-root data --dataset mvtec --method padim --backbone tiny --image-size 64 --out m",
    );
    dir
}

/// Runs a command line that must fail and say each of `words`.
#[track_caller]
fn refused(dir: &Path, args: &str, words: &[&str]) {
    let call = line(dir, args);
    assert!(matches!(call.code, Some(1 | 2)), "fmam {args}: {:?} {}", call.code, call.stderr);
    for word in words {
        assert!(call.stderr.contains(word), "`{word}` is missing after fmam {args}\n{}", call.stderr);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused() {
    let dir = folder_with_model();
    for name in ["p.toml", "p.tar", "p.pth", "p.safetensors", "p.txt", "p.csv"] {
        pipe(&dir.path().join(name));
    }
    std::fs::create_dir(dir.path().join("list")).unwrap();
    pipe(&dir.path().join("list/list.csv"));
    let image = "data/plain/test/good/000.png";
    let fit = "fit --data-root data --dataset mvtec --method padim --image-size 64 --out other";
    for args in [
        "reproduce --preset p.toml --out new",
        "datasets fetch mvtec --data-root new --from-archive p.tar",
        "weights fetch resnet18 --manifest p.toml",
        "datasets fetch x --data-root new --manifest p.toml",
        &format!("{fit} --backbone resnet18 --weights p.pth"),
        &format!("{fit} --backbone resnet18 --weights p.safetensors"),
        "serve --model m --token-file p.txt --port 0",
    ] {
        let (code, told) = timed(dir.path(), args);
        assert!(matches!(code, Some(1 | 2)), "{args}: {code:?} {told}");
        assert!(told.contains("it is a pipe, not a regular file"), "{args}: {told}");
    }
    for file in ["normal.safetensors", "model.toml"] {
        pipe(&dir.path().join("m").join(file));
        let (code, told) = timed(dir.path(), &format!("predict {image} --model m"));
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(file) && told.contains("it is a pipe, not a regular file"), "{told}");
    }
}

#[test]
fn a_file_of_another_kind_or_without_end_is_not_read_as_weights() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let fit =
        "fit --data-root data --dataset mvtec --method padim --backbone resnet18 --image-size 64 --out other";
    let with = |weights: &str| format!("{fit} --weights {weights}");
    refused(dir.path(), &with("/dev/zero"), &["it is a device, not a regular file"]);
    // A hole of a terabyte, behind the front of a zip archive or of nothing known.
    for (name, head, told) in [
        ("video.mp4", &b"\0\0\0\x20ftypisom"[..], "neither a safetensors file nor one of torch.save"),
        ("weights.pth", b"PK\x03\x04", "the most that such a file may have"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, head).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        refused(dir.path(), &with(name), &[name, told]);
    }
}

/// A list on stdin that is not ended keeps the program waiting, as a network that is gone does.
#[test]
fn a_read_that_waits_ends_on_the_request_to_stop() {
    let dir = folder_with_model();
    for signal in ["-INT", "-TERM"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
        command.args(["predict", "-", "--model", "m", "--out", "p"]).current_dir(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The folder is made when the handler of signals is at work.
        let start = Instant::now();
        while !dir.path().join("p").exists() && start.elapsed() < AT_ONCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(ended(&mut child, AT_ONCE), Some(130));
        assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
        let _ = std::fs::remove_dir_all(dir.path().join("p"));
    }
}

#[test]
fn files_that_are_no_part_of_a_model_are_told() {
    let dir = folder_with_model();
    let predict = "predict data/plain/test/good/000.png --model m";
    std::fs::write(dir.path().join("m/.DS_Store"), "").unwrap();
    assert!(!line(dir.path(), predict).stderr.contains("no part of the model"));
    std::fs::create_dir(dir.path().join("m/old")).unwrap();
    let call = line(dir.path(), predict);
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(call.stderr.contains("no part of the model") && call.stderr.contains("old"), "{}", call.stderr);
}

#[test]
fn a_pointer_or_a_page_in_the_place_of_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let fit = "fit --data-root data --dataset mvtec --method padim --image-size 64";
    succeed(dir.path(), &format!("{fit} --backbone tiny --out m"));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    for (content, told) in
        [(pointer, "it is a Git LFS pointer"), ("<!doctype html>404", "it is an HTML page")]
    {
        for name in ["a.png", "w.pth", "x.tar", "x.zip", "m/normal.safetensors"] {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let predict = "predict data/plain/test/good/000.png --model m";
        refused(dir.path(), predict, &["normal.safetensors", told]);
        refused(dir.path(), &format!("{fit} --backbone resnet18 --weights w.pth --out n"), &["w.pth", told]);
        for archive in ["x.tar", "x.zip"] {
            let fetch = format!("datasets fetch mvtec --data-root new --from-archive {archive}");
            refused(dir.path(), &fetch, &[archive, told]);
        }
        std::fs::remove_dir_all(dir.path().join("m")).unwrap();
        succeed(dir.path(), &format!("{fit} --backbone tiny --out m"));
        refused(dir.path(), "predict a.png --model m", &["a.png", told]);
    }
}
