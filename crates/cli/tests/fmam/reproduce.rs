//! `fmam reproduce`, `fmam report`.

use std::path::Path;

use serde_json::Value;

use crate::{Call, fail, image_dataset, line, succeed};

/// A grid of two runs that takes a moment.
const PRESET: &str = "
methods = ['nkd', 'rkd+fmam']
backbones = ['tiny']
seeds = [3]
image_size = 64
epochs = 1

[dataset.demo]
n_train = 4
n_test_normal = 2
n_test_per_defect = 1
categories = ['plain']
";

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_grid_leaves_a_report_and_is_done_only_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    let first = line(dir.path(), "reproduce --preset mine.toml");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(
        first.stdout.contains("RKD+FMAM") && first.stdout.contains("runs/mine/report.md"),
        "{}",
        first.stdout
    );
    assert_eq!(first.stderr.lines().count(), 2, "{}", first.stderr);
    assert!(first.stderr.contains("left") && first.stderr.contains("2/2 plain rkd+fmam tiny seed 3"));

    let out = dir.path().join("runs/mine");
    let runs = report(&out)["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[0]["seed"], &runs[0]["method"]), (&3.into(), &"nkd".into()));
    let record = out.join("runs/demo/plain/nkd/tiny/seed-3/record.json");
    let written = std::fs::metadata(&record).unwrap().modified().unwrap();

    let again = line(dir.path(), "reproduce --preset mine.toml");
    assert_eq!(again.code, Some(0));
    assert_eq!(again.stdout, first.stdout);
    assert!(again.stderr.contains("2 of 2 runs are finished"), "{}", again.stderr);
    assert_eq!(std::fs::metadata(&record).unwrap().modified().unwrap(), written);

    // A variant that only a setting names runs beside its method.
    let variant = "reproduce --preset mine.toml --methods nkd --set nkd@brief.batch_size=2 --plan";
    let plan = succeed(dir.path(), variant);
    assert!(
        plan.contains("finished runs/demo/plain/nkd/") && plan.contains("pending runs/demo/plain/nkd@brief/"),
        "{plan}"
    );

    // More seeds: only the new one is run. Other settings: refused, and done with --overwrite.
    let more = line(dir.path(), "reproduce --preset mine.toml --seeds 3,4 --methods nkd --quiet");
    assert_eq!((more.code, more.stderr.as_str()), (Some(0), ""));
    assert_eq!(std::fs::metadata(&record).unwrap().modified().unwrap(), written);
    assert_eq!(report(&out)["runs"].as_array().unwrap().len(), 3);
    fail(
        dir.path(),
        "reproduce --preset mine.toml --epochs 2",
        1,
        &["epochs: 1 there, 2 now", "--overwrite"],
    );
    succeed(dir.path(), "reproduce --preset mine.toml --epochs 2 --overwrite");
}

#[test]
fn finished_runs_of_another_program_are_kept_on_request_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    let args = "reproduce --preset mine.toml --methods nkd --out o";
    succeed(dir.path(), args);
    let path = dir.path().join("o/runs/demo/plain/nkd/tiny/seed-3/record.json");
    let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut other = whole.clone();
    other["versions"]["sources"] = "0123456789abcdef".into();
    std::fs::write(&path, other.to_string()).unwrap();
    fail(dir.path(), args, 1, &["another version of the program", "0123456", "--any-version", "--overwrite"]);
    fail(dir.path(), &format!("{args} --plan"), 1, &["another version"]);
    let kept = line(dir.path(), &format!("{args} --any-version --quiet"));
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    assert!(kept.stderr.starts_with("warning: finished runs of another version"), "{}", kept.stderr);

    // A record from before the digests were kept: no more than a note.
    let mut old = whole;
    old["versions"].as_object_mut().unwrap().remove("sources");
    let data = old["config"]["data"].as_object_mut().unwrap();
    data.remove("sha256").and(data.remove("fingerprint")).unwrap();
    let images = old["artefacts"].as_object_mut().unwrap().remove("images").unwrap();
    old["artefacts"]["overlays"] = images;
    std::fs::write(&path, old.to_string()).unwrap();
    let kept = line(dir.path(), args);
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    assert!(kept.stderr.contains("before digests of data and weights"), "{}", kept.stderr);
    assert!(kept.stderr.contains("1 of 1 runs are finished"), "{}", kept.stderr);
}

#[test]
fn a_record_that_points_out_of_its_folder_is_not_drawn() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    succeed(dir.path(), "reproduce --preset mine.toml --methods nkd --out o");
    let path = dir.path().join("o/runs/demo/plain/nkd/tiny/seed-3/record.json");
    let mut sent: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    sent["artefacts"]["images"][0]["path"] = "../../../../../../../secret.png".into();
    std::fs::write(&path, sent.to_string()).unwrap();
    fail(dir.path(), "report o", 1, &["record.json", "../secret.png", "does not lie in its folder"]);
}

#[test]
fn networks_may_compute_in_bf16_and_a_record_tells() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    let args = "reproduce --preset mine.toml --methods padim,rkd+fmam --epochs 2 --out o";
    let call = line(dir.path(), &format!("{args} --precision bf16"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert_eq!(call.stderr.matches("bf16 is meant for a GPU").count(), 1, "{}", call.stderr);
    let runs = report(&dir.path().join("o"))["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        for figure in ["image_auroc", "pixel_auroc", "aupro"] {
            assert!((0.0..=1.0).contains(&run[figure].as_f64().unwrap()), "{run}");
        }
        let method = run["method"].as_str().unwrap();
        let folder = dir.path().join(format!("o/runs/demo/plain/{method}/tiny/seed-3"));
        let record: Value =
            serde_json::from_slice(&std::fs::read(folder.join("record.json")).unwrap()).unwrap();
        assert_eq!(record["config"]["precision"], "bf16");
        let model = std::fs::read_to_string(folder.join("model/model.toml")).unwrap();
        assert!(model.contains("precision = \"bf16\""), "{model}");
    }
    let markdown = std::fs::read_to_string(dir.path().join("o/report.md")).unwrap();
    assert!(markdown.contains("cpu, bf16"), "{markdown}");

    // The same by the preset is the same run; in f32 it is another.
    std::fs::write(dir.path().join("mine.toml"), format!("precision = 'bf16'\n{PRESET}")).unwrap();
    let again = line(dir.path(), args);
    assert!(again.code == Some(0) && again.stderr.contains("2 of 2 runs are finished"), "{}", again.stderr);
    fail(
        dir.path(),
        &format!("{args} --precision f32"),
        1,
        &["precision: \"bf16\" there, null now", "--overwrite"],
    );
    let unknown = line(dir.path(), &format!("{args} --precision f16"));
    assert!(unknown.code == Some(2) && unknown.stderr.contains("f32 or bf16"), "{}", unknown.stderr);
}

#[test]
fn the_report_can_be_written_again_from_the_records() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    succeed(dir.path(), "reproduce --preset mine.toml --methods nkd --out o");
    let before = std::fs::read(dir.path().join("o/report.md")).unwrap();
    std::fs::remove_file(dir.path().join("o/report.md")).unwrap();
    assert!(succeed(dir.path(), "report o").contains("NKD"));
    assert_eq!(std::fs::read(dir.path().join("o/report.md")).unwrap(), before);

    std::fs::write(dir.path().join("o/runs/demo/plain/nkd/tiny/seed-3/record.json"), "{").unwrap();
    fail(dir.path(), "report o", 1, &["record.json"]);
    fail(
        dir.path(),
        "reproduce --preset mine.toml --methods nkd --out o",
        1,
        &["record.json", "--overwrite"],
    );
    fail(dir.path(), "report absent", 1, &["absent"]);
}

#[test]
fn parts_of_a_grid_make_the_same_report_as_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    succeed(dir.path(), "reproduce --preset mine.toml --out whole --quiet");
    let plan = succeed(dir.path(), "reproduce --preset mine.toml --out whole --plan");
    let runs = ["nkd", "rkd+fmam"].map(|method| format!("runs/demo/plain/{method}/tiny/seed-3"));
    assert_eq!(plan, format!("1 finished {}\n2 finished {}\n", runs[0], runs[1]));

    succeed(dir.path(), "reproduce --preset mine.toml --out a --shard 1/2 --quiet");
    assert_eq!(report(&dir.path().join("a"))["runs"].as_array().unwrap().len(), 1);
    let gap = line(dir.path(), "report merge a --out joined");
    assert_eq!(gap.code, Some(1));
    assert!(gap.stdout.contains(&format!("missing: {} (--shard 2/2)", runs[1])), "{}", gap.stdout);
    assert!(gap.stderr.contains("1 runs are missing"), "{}", gap.stderr);

    let second = line(dir.path(), "reproduce --preset mine.toml --out b --shard 2/2");
    assert!(second.code == Some(0) && second.stderr.contains("1/1 plain rkd+fmam"), "{}", second.stderr);
    succeed(dir.path(), "report merge a b --out joined");
    let figures = |out: &str| {
        let mut report = report(&dir.path().join(out));
        for row in report["summary"].as_array_mut().unwrap() {
            let row = row.as_object_mut().unwrap();
            assert!(row.remove("fit_seconds").and(row.remove("score_images_per_second")).is_some());
        }
        report["summary"].clone()
    };
    assert_eq!(figures("joined"), figures("whole"));
    // Joined runs count as finished.
    let plan = succeed(dir.path(), "reproduce --preset mine.toml --out joined --plan");
    assert!(!plan.contains("pending"), "{plan}");
    fail(dir.path(), "report merge a absent --out joined", 1, &["absent", "no output of `fmam reproduce`"]);
    // Parts are planned each by itself, for any device, and nothing is touched.
    let plan = succeed(dir.path(), "reproduce --preset mine.toml --out n --plan --shard 2/2 --device cuda");
    assert_eq!(plan, format!("2 pending {}\n", runs[1]));
    assert!(!dir.path().join("n").exists());
    assert_eq!(line(dir.path(), "reproduce --preset mine.toml --shard 3/2 --out c").code, Some(2));
}

#[test]
fn files_are_read_in_their_own_layout_and_threads_do_not_change_the_figures() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let figures = |threads: usize| {
        let out = format!("o{threads}");
        let args = "reproduce --data-root data --dataset mvtec --categories plain --methods rkd+fmam --backbone tiny \
                    --image-size 64 --seeds 0 --epochs 1";
        succeed(dir.path(), &format!("{args} --threads {threads} --out {out}"));
        let report = report(&dir.path().join(out));
        ["image_auroc", "pixel_auroc", "aupro"].map(|name| report["runs"][0][name].as_f64().unwrap())
    };
    assert_eq!(figures(1), figures(4));
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_cleanly_and_the_same_command_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    let args = "reproduce --preset mine.toml --out o --methods nkd,rkd";
    // The second run would take hours.
    let long = format!("{args} --set nkd.epochs=1 --set rkd.epochs=1000000");
    let first = dir.path().join("o/runs/demo/plain/nkd/tiny/seed-3/record.json");
    let second = || is_under_way(&dir.path().join("o"));
    let stopped = interrupt(
        dir.path(),
        &long,
        || first.exists() && second(),
        || {
            // Meanwhile nobody else can have the folder.
            fail(dir.path(), args, 1, &["another process", "o;"]);
            assert!(second());
        },
    );
    assert_eq!(stopped.code, Some(130));
    assert!(stopped.stderr.contains("finished runs are kept in o;"), "{}", stopped.stderr);
    assert!(first.exists() && !second() && !dir.path().join("o/.lock").exists());
    assert!(dir.path().join("o/report.md").exists() && dir.path().join("o/report.html").exists());
    assert!(!dir.path().join("o/runs/demo/plain/rkd").exists());

    let rest = line(dir.path(), args);
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    assert!(rest.stderr.contains("1 of 2 runs are finished"), "{}", rest.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_in_the_first_run_keeps_its_training_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), PRESET).unwrap();
    let args = "reproduce --preset mine.toml --out o --methods nkd --epochs 1000000 --keep-every 100ms";
    let is_kept =
        || crate::files(dir.path()).iter().any(|path| path.extension().is_some_and(|e| e == "safetensors"));
    let stopped = interrupt(dir.path(), args, is_kept, || {});
    assert_eq!(stopped.code, Some(130));
    assert!(!stopped.stderr.contains("finished runs"), "{}", stopped.stderr);
    let names = || std::fs::read_dir(dir.path().join("o")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names().all(|name| name.to_string_lossy().starts_with(".training-")), "{:?}", names().next());
    assert_eq!(names().count(), 1);
    assert!(stopped.stderr.contains("the state of the training is kept in o;"), "{}", stopped.stderr);

    let args = args.replace("--out o", "--out never").replace("100ms", "never");
    let stopped = interrupt(dir.path(), &args, || is_under_way(&dir.path().join("never")), || {});
    assert_eq!(stopped.code, Some(130));
    assert!(!stopped.stderr.contains("kept") && !dir.path().join("never").exists(), "{}", stopped.stderr);
}

/// True while a run is being prepared in the output folder `out`.
#[cfg(target_os = "linux")]
fn is_under_way(out: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(out) else { return false };
    let mut folders = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    folders.any(|entry| entry.file_name().to_string_lossy().starts_with(".partial-"))
}

/// Starts `fmam`, does `meanwhile` once `ready`, then presses Ctrl-C.
#[cfg(target_os = "linux")]
fn interrupt(dir: &Path, args: &str, ready: impl Fn() -> bool, meanwhile: impl FnOnce()) -> Call {
    use std::process::{Command, Stdio};

    let child = Command::new(env!("CARGO_BIN_EXE_fmam"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !ready() {
        assert!(std::time::Instant::now() < deadline, "`fmam {args}` did not come so far");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    meanwhile();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    Call::of(child.wait_with_output().unwrap())
}
