//! Signals: those that the process was started to ignore stay ignored, the others end it cleanly.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Call, image_dataset, succeed};

/// A fit of some seconds, whose model is `model`.
const FIT: &str = "fit data/plain/train/good --method nkd --backbone tiny --image-size 64 --epochs 200 \
                   --calibration off --quiet --out model";

/// Starts `fmam ARGS` deaf to SIGHUP and SIGINT, as `nohup` and a script in the background do.
fn deaf(dir: &Path, args: &str) -> Child {
    let script = format!("trap '' HUP INT; exec '{}' {args}", env!("CARGO_BIN_EXE_fmam"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(dir).env("FMAM_CACHE", dir.join("cache"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_caught(&child);
    child
}

/// Waits until the process catches SIGTERM.
#[track_caller]
fn wait_until_caught(child: &Child) {
    const TERM: u64 = 1 << 14;
    let start = Instant::now();
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        if u64::from_str_radix(caught, 16).unwrap() & TERM != 0 {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signals: &[&str]) {
    for signal in signals {
        let sent = Command::new("kill").args([signal, &child.id().to_string()[..]]).status().unwrap();
        assert!(sent.success(), "{signal}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

const IGNORED: [&str; 4] = ["-HUP", "-INT", "-HUP", "-INT"];

#[test]
fn a_training_goes_on_after_ignored_signals() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let child = deaf(dir.path(), FIT);
    send(&child, &IGNORED);
    let call = Call::of(child.wait_with_output().unwrap());
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(dir.path().join("model/model.toml").is_file() && !call.stderr.contains("stopping"));
}

#[test]
fn a_watch_and_a_server_end_by_the_signal_that_is_not_ignored() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(dir.path(), &FIT.replace("--epochs 200", "--epochs 1"));
    for args in ["predict --watch data/plain/test --model model --quiet", "serve --model model --port 0"] {
        let mut child = deaf(dir.path(), args);
        send(&child, &IGNORED);
        assert!(child.try_wait().unwrap().is_none(), "{args}");
        send(&child, &["-TERM"]);
        let call = Call::of(child.wait_with_output().unwrap());
        assert_eq!(call.code, Some(0), "{args}: {}", call.stderr);
    }
}

#[test]
fn a_download_goes_on_after_ignored_signals() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap();
    let text = format!(
        "[[weights]]\nname = 'resnet18'\narchitecture = 'a'\nurl = 'http://{url}/r.pth'\n\
         sha256 = '00000000'\nlicence = 'x'\n"
    );
    std::fs::write(dir.path().join("m.toml"), text).unwrap();
    let child = deaf(dir.path(), "weights fetch resnet18 --manifest m.toml");
    let (mut stream, _) = listener.accept().unwrap();
    assert!(BufReader::new(&stream).lines().any(|line| line.is_ok_and(|line| line.is_empty())));
    send(&child, &IGNORED);
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    std::io::Write::write_all(&mut stream, head).unwrap();
    drop(stream);
    let call = Call::of(child.wait_with_output().unwrap());
    // The content arrived and is refused: the signals were no reason.
    assert!(call.code == Some(1) && call.stderr.contains("00000000"), "{}", call.stderr);
}

#[test]
fn a_terminal_that_closes_ends_a_training() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(FIT.replace("--epochs 200", "--epochs 1000000").split_whitespace()).current_dir(dir.path());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_caught(&child);
    send(&child, &["-HUP"]);
    let call = Call::of(child.wait_with_output().unwrap());
    assert_eq!(call.code, Some(130), "{}", call.stderr);
    assert!(!dir.path().join("model").exists());
}
