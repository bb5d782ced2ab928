//! `fmam serve`: options, a request, the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::{fail, image_dataset, succeed};

/// A calibrated detector in the folder `model` of `dir`.
fn fitted(dir: &std::path::Path) {
    image_dataset(dir);
    succeed(
        dir,
        "fit data/plain/train/good --method padim --backbone tiny --image-size 64 --out model --quiet",
    );
}

#[test]
fn another_address_needs_a_token_or_an_admission() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fail(dir, "serve --model model --address 0.0.0.0", 2, &["--token-file", "--insecure"]);
    std::fs::write(dir.join("token"), "short").unwrap();
    fail(dir, "serve --model model --token-file token --port 0", 1, &["token", "16 characters"]);
    fail(dir, "serve --model a=x --model a=y --port 0", 2, &["`a`", "NAME=FOLDER"]);
    fail(dir, "serve --model a=nowhere --port 0", 1, &["`a`", "nowhere"]);
    fail(dir, "serve --model a/b=x --port 0", 2, &["`a/b`"]);
}

/// Ends the process if the test has not.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Best effort: the test's own failure is the one to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn requests_are_answered_logged_and_finished_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    fitted(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(["serve", "--model", "product=model", "--port", "0", "--log", "json"]);
    let mut server = Running(command.current_dir(dir.path()).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let entry = |line: String| serde_json::from_str::<serde_json::Value>(&line).unwrap();
    let listening = log.by_ref().map(entry).find(|entry| entry["message"] == "listening").unwrap();
    let address = listening["address"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');

    let image = std::fs::read(dir.path().join("data/plain/test/good/000.png")).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: image/png\r\n\
         Content-Length: {}\r\n\r\n",
        image.len()
    );
    stream.write_all(&[head.as_bytes(), &image].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let served: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(served["model"], "product");
    let predicted = succeed(dir.path(), "predict data/plain/test/good/000.png --model model --json --quiet");
    let predicted: serde_json::Value = serde_json::from_str(&predicted).unwrap();
    for key in ["verdict", "score", "p_value", "threshold", "regions"] {
        assert_eq!(served["images"][0][key], predicted[key], "{key}");
    }

    #[cfg(unix)]
    {
        let process = server.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        let rest: Vec<_> = log.map(entry).collect();
        let answered = rest.iter().find(|entry| entry["message"] == "answered").unwrap();
        assert_eq!((&answered["route"], &answered["status"]), (&"/v1/predict".into(), &200.into()));
        assert_eq!(rest.last().unwrap()["message"], "ended");
        assert_eq!(server.0.wait().unwrap().code(), Some(0));
    }
}
