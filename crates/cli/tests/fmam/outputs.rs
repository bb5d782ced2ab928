//! Places that commands write to: tried before the work, locked during it, and clean after a kill.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fmam_files::{Claim, Digest};

use crate::{Call, fail, files, image_dataset, line, succeed, wait_for};

const GOOD: &str = "data/plain/train/good";
const QUICK: &str = "--method padim --backbone tiny --image-size 64 --calibration off --quiet";
const EVAL: &str = "eval --model model --data-root data --dataset mvtec --category plain --quiet";

/// Images in `data` and a detector in `model`.
fn fitted() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(dir.path(), &format!("fit {GOOD} {QUICK} --out model"));
    dir
}

/// A fit that takes `epochs`, under way: it has claimed its place.
fn long_fit(dir: &Path, epochs: usize) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    let method = QUICK.replace("padim", "nkd");
    let args = format!("fit {GOOD} {method} --epochs {epochs} --out new");
    command.args(args.split_whitespace()).current_dir(dir);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| !hidden(dir).is_empty());
    child
}

/// The locks and temporary files directly in `dir`.
fn hidden(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.starts_with(".lock-") || name.starts_with(".partial-")).collect()
}

/// Runs `fmam` where no file can grow beyond `blocks` of 512 bytes, which stands for a full disk.
fn on_full_disk(dir: &Path, blocks: usize, args: &str) -> Call {
    let fmam = env!("CARGO_BIN_EXE_fmam");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{fmam}' {args}");
    Call::of(Command::new("sh").args(["-c", &script]).current_dir(dir).output().unwrap())
}

#[test]
fn an_evaluation_on_a_full_disk_prints_its_figures() {
    let dir = fitted();
    let none = on_full_disk(dir.path(), 0, &format!("{EVAL} --out e"));
    assert!(none.code == Some(1) && none.stdout.contains("image AUROC"), "{}", none.stderr);
    assert_eq!(none.stderr.lines().count(), 1, "{}", none.stderr);
    assert!(none.stderr.contains("e/scores.jsonl"), "{}", none.stderr);
    // The scores and the figures have room, a map and a picture have none.
    let some = on_full_disk(dir.path(), 8, &format!("{EVAL} --out s --export-maps mvtec"));
    assert!(some.code == Some(1) && some.stdout.contains("image AUROC"), "{}", some.stderr);
    assert!(some.stderr.starts_with("warning: ") && some.stderr.lines().count() == 2, "{}", some.stderr);
    assert!(some.stderr.contains("16 of the maps and pictures"), "{}", some.stderr);
    let scores = std::fs::read_to_string(dir.path().join("s/scores.jsonl")).unwrap();
    assert_eq!((scores.lines().count(), scores.matches("\"overlay\":null").count()), (8, 8), "{scores}");
    assert_eq!(files(&dir.path().join("s")).len(), 2);
}

#[test]
fn an_evaluation_refuses_a_used_folder_and_begins_an_unfinished_one_anew() {
    let dir = fitted();
    let eval = format!("{EVAL} --out e");
    succeed(dir.path(), &eval);
    let all = files(&dir.path().join("e"));
    fail(dir.path(), &eval, 1, &["e exists already", "choose another --out"]);
    assert_eq!(files(&dir.path().join("e")), all);
    let scores = std::fs::read_to_string(dir.path().join("e/scores.jsonl")).unwrap();
    assert!(scores.contains("\"overlay\":\"overlays/0000.png\""), "{scores}");
    // As a kill leaves it.
    std::fs::remove_file(dir.path().join("e/metrics.json")).unwrap();
    std::fs::write(dir.path().join("e/scores.jsonl"), &scores[..100]).unwrap();
    std::fs::write(dir.path().join("e/.partial-x"), "half").unwrap();
    succeed(dir.path(), &eval);
    assert_eq!(files(&dir.path().join("e")), all);
    assert_eq!(std::fs::read_to_string(dir.path().join("e/scores.jsonl")).unwrap(), scores);
}

#[test]
fn a_place_that_no_model_can_take_is_told_before_the_training() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    std::fs::write(dir.path().join("file"), "kept").unwrap();
    let method = QUICK.replace("padim", "nkd");
    let long = "n".repeat(256);
    for (out, words) in [
        ("link", "link exists already"),
        ("file", "file exists already"),
        ("file/model", "cannot write file/model"),
        (long.as_str(), "cannot write nnn"),
        ("/proc/nowhere/model", "cannot write /proc/nowhere/model"),
    ] {
        // The training alone would take days.
        fail(dir.path(), &format!("fit {GOOD} {method} --epochs 1000000 --out {out}"), 1, &[words]);
    }
    assert_eq!(hidden(dir.path()), [""; 0]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn two_fits_of_one_model_are_one_and_a_killed_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let mut first = long_fit(dir.path(), 1_000_000);
    let quick = format!("fit {GOOD} {QUICK} --out new");
    fail(dir.path(), &quick, 1, &["another process is at work in new"]);
    first.kill().unwrap();
    first.wait().unwrap();
    let left = dir.path().join(leftover("new"));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("student.safetensors"), "half").unwrap();
    succeed(dir.path(), &quick);
    assert!(dir.path().join("new/model.toml").is_file());
    assert_eq!(hidden(dir.path()), [""; 0]);
}

#[test]
fn a_model_whose_place_was_taken_meanwhile_is_kept_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let fit = long_fit(dir.path(), 100);
    std::fs::create_dir(dir.path().join("new")).unwrap();
    std::fs::write(dir.path().join("new/theirs"), "kept").unwrap();
    let call = Call::of(fit.wait_with_output().unwrap());
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(call.stderr.contains("the model is kept in ./new-2"), "{}", call.stderr);
    assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
    succeed(dir.path(), "predict data/plain/test/good --model new-2");
    assert_eq!(hidden(dir.path()), [""; 0]);
}

/// The name that a killed process left beside the file or folder `name`.
fn leftover(name: &str) -> String {
    format!(".partial-{}-x", &Digest::of(name).to_string()[..16])
}

/// Commands that write to one place, and the file or folder that they claim.
const WRITERS: [(&str, &str); 5] = [
    ("export --model model --out out.onnx --quiet", "out.onnx"),
    ("synth --count 1 --image-size 16 --out sheet.png", "sheet.png"),
    ("roi data/plain --out roi.png --quiet", "roi.png"),
    ("calibrate data/plain/test/good --at-most-false-alarms 50% --model model --quiet", "model"),
    (
        "fit data/plain/train/good --method padim --backbone tiny --image-size 64 --calibration off --quiet --out m",
        "m",
    ),
];

#[test]
fn a_place_that_another_process_writes_is_refused() {
    let dir = fitted();
    for (command, target) in WRITERS {
        let claim = Claim::on(&dir.path().join(target)).unwrap();
        fail(dir.path(), command, 1, &["another process is at work in", target]);
        drop(claim);
    }
    for absent in ["out.onnx", "sheet.png", "roi.png", "m"] {
        assert!(!dir.path().join(absent).exists(), "{absent}");
    }
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_one() {
    let dir = fitted();
    let other = dir.path().join(leftover("another"));
    std::fs::write(&other, "under way").unwrap();
    for (command, target) in WRITERS {
        std::fs::write(dir.path().join(leftover(target)), "half").unwrap();
        // A lock that nobody holds is in nobody's way.
        let name = format!(".lock-{}", &Digest::of(target).to_string()[..16]);
        std::fs::write(dir.path().join(name), "").unwrap();
        let in_model = dir.path().join("model/.partial-x");
        std::fs::write(&in_model, "half").unwrap();
        succeed(dir.path(), command);
        assert_eq!(hidden(dir.path()), [leftover("another")], "{command}");
        assert_eq!(in_model.exists(), target != "model", "{command}");
        let _ = std::fs::remove_file(in_model);
    }
}

#[test]
fn a_report_has_one_writer_and_leaves_nothing_of_a_killed_one() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(
        dir.path(),
        "reproduce --data-root data --dataset mvtec --methods teacher --backbone tiny --image-size 64 --seeds 0 \
         --out o --quiet",
    );
    let output = fmam_record::OutputFolder::open(&dir.path().join("o")).unwrap();
    fail(dir.path(), "report o", 1, &["another process is at work in o"]);
    drop(output);
    let left: Vec<PathBuf> = ["o", "o/figures"].map(|name| dir.path().join(name).join(".partial-x")).into();
    std::fs::create_dir_all(dir.path().join("o/figures")).unwrap();
    left.iter().for_each(|left| std::fs::write(left, "half").unwrap());
    succeed(dir.path(), "report o");
    assert!(left.iter().all(|left| !left.exists()));
    let absent = line(dir.path(), "report nowhere");
    assert!(absent.code == Some(1) && !dir.path().join("nowhere").exists(), "{}", absent.stderr);
}

#[test]
fn a_category_with_a_comma_is_named() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    std::fs::rename(dir.path().join("data/plain"), dir.path().join("data/bolt, large")).unwrap();
    let mut copy = Command::new("cp");
    copy.args(["-r", "bolt, large", "nut"]).current_dir(dir.path().join("data"));
    assert!(copy.status().unwrap().success());
    let plan = |categories: &[&str]| {
        let fixed =
            "reproduce --data-root data --dataset mvtec --methods teacher --backbone tiny --plan --seeds 0";
        let fixed = fixed.split_whitespace().map(str::to_owned);
        let named = categories.iter().map(|name| format!("--categories={name}"));
        crate::fmam(dir.path(), fixed.chain(named))
    };
    for (categories, n) in
        [(&["bolt, large"][..], 1), (&["bolt, large", "nut"], 2), (&["nut,bolt, large"], 2)]
    {
        let call = plan(categories);
        assert_eq!(call.code, Some(0), "{}", call.stderr);
        let runs = call.stdout.lines().filter(|line| line.contains("teacher")).count();
        assert!(runs == n && call.stdout.contains("bolt, large"), "{}", call.stdout);
    }
    assert_ne!(plan(&["bolt, small"]).code, Some(0));
}

#[test]
fn weights_are_fetched_once_at_a_time_and_a_killed_fetch_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache/weights");
    let text = "[[weights]]\nname = 'resnet18'\narchitecture = 'a'\nurl = 'http://127.0.0.1:1/r.pth'\n\
                sha256 = '00000000'\nlicence = 'x'\n";
    std::fs::write(dir.path().join("m.toml"), text).unwrap();
    let fetch = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
        command.args(["weights", "fetch", "resnet18", "--manifest", "m.toml", "--offline"]);
        Call::of(
            command.current_dir(dir.path()).env("FMAM_CACHE", dir.path().join("cache")).output().unwrap(),
        )
    };
    let claim = Claim::on(&cache.join("resnet18.safetensors")).unwrap();
    let second = fetch();
    assert!(second.code == Some(1) && second.stderr.contains("another process"), "{}", second.stderr);
    drop(claim);
    std::fs::create_dir_all(&cache).unwrap();
    for name in ["resnet18.safetensors", "r.pth", "r.pth.sha256"] {
        std::fs::write(cache.join(leftover(name)), "half").unwrap();
    }
    let without = fetch();
    assert!(without.code == Some(1) && without.stderr.contains("--offline"), "{}", without.stderr);
    assert_eq!(std::fs::read_dir(cache).unwrap().count(), 0);
}
