//! The binary as a user meets it: arguments, output, files, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod calibration;
mod check;
mod detector;
mod errors;
mod export;
mod fetch;
mod figures;
mod hostile_text;
mod metrics;
// Limits of a shell stand for a full disk.
#[cfg(target_os = "linux")]
mod outputs;
// The names of files on macOS are text, on Windows they have no bytes.
mod page;
#[cfg(target_os = "linux")]
mod paths;
mod pictures;
mod predict;
#[cfg(unix)]
mod reading;
mod reproduce;
mod resume;
mod serve;
mod shapes;
mod shell;
// The signals that a process catches stand in /proc.
#[cfg(target_os = "linux")]
mod signals;
mod text;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The outcome of a call of `fmam`.
struct Call {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Call {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs `fmam` in the folder `dir`.
fn fmam<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Call {
    Call::of(Command::new(env!("CARGO_BIN_EXE_fmam")).args(args).current_dir(dir).output().unwrap())
}

/// Runs a command line that is split at blanks.
fn line(dir: &Path, args: &str) -> Call {
    fmam(dir, args.split_whitespace())
}

/// Runs a command line that must succeed.
#[track_caller]
fn succeed(dir: &Path, args: &str) -> String {
    let call = line(dir, args);
    assert_eq!(call.code, Some(0), "fmam {args}\n{}", call.stderr);
    call.stdout
}

/// Runs a command line that must succeed, and gives the largest memory of the process in bytes. The
/// system counts it, and it is read until the process ends.
#[cfg(target_os = "linux")]
#[track_caller]
fn peak_memory(dir: &Path, args: &str) -> u64 {
    let fmam = env!("CARGO_BIN_EXE_fmam");
    let mut command = Command::new(fmam);
    command.args(args.split_whitespace()).current_dir(dir).stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kibibytes =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak = peak.max(kibibytes.map_or(0, |number| 1024 * number.parse::<u64>().unwrap()));
        if let Some(code) = child.try_wait().unwrap() {
            break code;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(code.success(), "fmam {args}");
    assert!(peak > 0, "no memory was read");
    peak
}

/// Runs a command line that must fail with `code` and say each of `words` on the only line of
/// stderr.
#[track_caller]
fn fail(dir: &Path, args: &str, code: i32, words: &[&str]) {
    let call = line(dir, args);
    assert_eq!(call.code, Some(code), "fmam {args}\n{}", call.stderr);
    assert!(call.stderr.starts_with("error: "), "fmam {args}\n{}", call.stderr);
    assert_eq!(call.stderr.lines().count(), 1, "fmam {args}\n{}", call.stderr);
    for word in words {
        assert!(call.stderr.contains(word), "`{word}` is missing after fmam {args}\n{}", call.stderr);
    }
}

/// Waits until `found` is true.
#[track_caller]
fn wait_for(mut found: impl FnMut() -> bool) {
    let start = Instant::now();
    while !found() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A small data set in MVTec AD's layout, its one category `plain` woven, 64 by 64 pixels.
fn image_dataset(dir: &Path) -> PathBuf {
    let root = dir.join("data");
    let config = fmam_datasets::DemoConfig {
        n_train: 4,
        n_test_normal: 2,
        n_test_per_defect: 1,
        categories: fmam_datasets::DemoConfig::default().categories[..1].to_vec(),
        ..Default::default()
    };
    fmam_datasets::write_demo(&root, &config, fmam_core::ImageSize::square(64)).unwrap();
    root
}

/// Every file below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
