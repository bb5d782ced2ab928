//! A training that is killed goes on where it was, with the same command.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{files, image_dataset, line, succeed};

const FIT: &str = "fit --data-root data --dataset mvtec --category plain --backbone tiny --image-size 64 \
                   --threads 1 --keep-every 0s";

fn start(dir: &Path, args: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(args.split_whitespace()).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The files of the folder `model` in `dir`, by their names.
fn contents(dir: &Path, model: &str) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files(&dir.join(model)).iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// The folders of trainings that are kept in `dir`.
fn kept(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".training-")).collect()
}

#[test]
fn a_killed_training_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    image_dataset(dir);
    for method in ["rkd+fmam --epochs 20", "puzzle-ae --epochs 20 --set width=4"] {
        let fit = |out: &str| format!("{FIT} --method {method} --calibration off --out {out}");
        let began = std::time::Instant::now();
        succeed(dir, &fit("whole"));
        let whole = began.elapsed();
        assert!(kept(dir).is_empty(), "a finished training leaves nothing");
        let (mut n_killed, mut folder) = (0, String::new());
        for share in [0.35, 0.5, 0.65, 0.8] {
            let mut child = start(dir, &fit("resumed"));
            std::thread::sleep(Duration::from_secs_f64(share * whole.as_secs_f64()));
            // On Unix this is SIGKILL.
            child.kill().unwrap();
            n_killed += usize::from(!child.wait().unwrap().success());
            folder = kept(dir).pop().unwrap_or(folder);
            if dir.join("resumed").exists() {
                break;
            }
        }
        assert!(n_killed > 0 && !folder.is_empty());
        if !dir.join("resumed").exists() {
            let call = line(dir, &fit("resumed"));
            assert_eq!(call.code, Some(0), "{}", call.stderr);
            assert!(call.stderr.contains("an interrupted training goes on"), "{}", call.stderr);
        }
        assert!(contents(dir, "whole") == contents(dir, "resumed"), "{method}");
        assert!(kept(dir).is_empty());
        // Killed between the model and the end: the next call refuses, and tidies up.
        std::fs::create_dir(dir.join(&folder)).unwrap();
        assert_eq!(line(dir, &fit("resumed")).code, Some(1));
        assert!(kept(dir).is_empty());
        for model in ["whole", "resumed"] {
            std::fs::remove_dir_all(dir.join(model)).unwrap();
        }
    }
}

/// Runs `args`, which train for long, until the training has begun, and asks it to stop.
#[cfg(unix)]
#[track_caller]
fn stop_soon(dir: &Path, args: &str) {
    let child = start(dir, args);
    let began = std::time::Instant::now();
    while kept(dir).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "no training began");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}

#[cfg(unix)]
#[test]
fn a_training_that_is_asked_to_stop_is_kept_for_its_own_settings_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    image_dataset(dir);
    // Nothing but the request to stop has the state written.
    let fit = FIT.replace("0s", "1h") + " --method puzzle-ae --epochs 2000 --calibration off --out model";
    stop_soon(dir, &fit);
    let [folder] = &kept(dir)[..] else { panic!("one training is kept") };
    let states = files(&dir.join(folder))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .count();
    assert_eq!(states, 1);

    let call = line(dir, &fit.replace("--epochs 2000", "--epochs 1 --seed 3"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(
        call.stderr.contains("of another training") && call.stderr.contains("seed, settings"),
        "{}",
        call.stderr
    );
    assert!(kept(dir).is_empty() && dir.join("model").is_dir());
}

/// A limit on the size of files stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_state_before_and_the_training_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    image_dataset(dir);
    let fit = |out: &str| {
        format!("{FIT} --method puzzle-ae --epochs 60 --set width=4 --calibration off --quiet --out {out}")
    };
    succeed(dir, &fit("whole"));
    stop_soon(dir, &fit("model").replace("0s", "1h"));
    let limited =
        format!("trap '' XFSZ; ulimit -f 16; exec '{}' {}", env!("CARGO_BIN_EXE_fmam"), fit("model"));
    let output = Command::new("sh").args(["-c", &limited]).current_dir(dir).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("an interrupted training goes on"), "{said}");
    assert_eq!(said.matches("its state cannot be kept").count(), 1, "{said}");
    let call = line(dir, &fit("model"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(call.stderr.contains("an interrupted training goes on"), "{}", call.stderr);
    assert!(contents(dir, "whole") == contents(dir, "model"));
}

#[test]
fn a_killed_run_of_a_grid_goes_on_too() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let reproduce = |out: &str| {
        format!(
            "reproduce --preset demo --categories plain --methods rkd+fmam --backbone tiny --image-size 64 --epochs 20 \
             --seeds 0 --threads 1 --keep-every 0s --out {out}"
        )
    };
    let began = std::time::Instant::now();
    succeed(dir, &reproduce("whole"));
    let whole = began.elapsed();
    let mut child = start(dir, &reproduce("resumed"));
    std::thread::sleep(Duration::from_secs_f64(0.5 * whole.as_secs_f64()));
    child.kill().unwrap();
    child.wait().unwrap();
    let was_kept = !kept(&dir.join("resumed")).is_empty();
    let call = line(dir, &reproduce("resumed"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert_eq!(call.stderr.contains("an interrupted training goes on"), was_kept, "{}", call.stderr);
    assert!(kept(&dir.join("resumed")).is_empty());
    let record = |out: &str| -> serde_json::Value {
        let path = files(&dir.join(out)).into_iter().find(|path| path.ends_with("record.json")).unwrap();
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let (expected, found) = (record("whole"), record("resumed"));
    for key in ["metrics", "curve", "pixels"] {
        assert_eq!(found[key], expected[key], "{key}");
    }
}
