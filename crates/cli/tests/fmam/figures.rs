//! The figures of `fmam reproduce` and `fmam report`, and `fmam analyze`.

use std::path::Path;

use serde_json::Value;

use crate::{fail, files, image_dataset, line, succeed};

/// Two runs on images of which the folder `data` holds a copy.
const RUN: &str = "reproduce --data-root data --dataset mvtec --categories plain --methods nkd,nkd+fmam --backbone tiny \
                   --image-size 64 --seeds 0 --epochs 1 --out o --quiet";

/// A run that keeps neither pictures nor its model.
const BARE: &str = "
dataset = 'mvtec'
data_root = 'data'
categories = ['plain']
methods = ['nkd']
backbones = ['tiny']
seeds = [0]
image_size = 64
epochs = 1
n_overlays = 0
save_model = false
";

fn record(dir: &Path) -> Value {
    let path = dir.join("o/runs/mvtec/plain/nkd+fmam/tiny/seed-0/record.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = files(&dir.join("o/figures"))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("failures"))
        .collect();
    names.sort();
    names
}

#[test]
fn one_command_draws_every_figure() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let told = succeed(dir.path(), RUN);
    assert!(told.trim_end().ends_with("o/report.html"), "{told}");
    let all = [
        "distributions-mvtec-plain.png",
        "distributions-mvtec-plain.svg",
        "localisation-mvtec-plain.png",
        "localisation-mvtec-plain.svg",
        "statistics-mvtec-nkd+fmam-tiny.png",
        "statistics-mvtec-nkd+fmam-tiny.svg",
    ];
    assert_eq!(names(dir.path()), all);
    let figure = |name: &str| std::fs::read(dir.path().join("o/figures").join(name)).unwrap();
    assert!(figure(all[2]).starts_with(b"\x89PNG"));
    let page = std::fs::read_to_string(dir.path().join("o/report.html")).unwrap();
    for part in ["Where methods look: plain", "How scores lie: plain", "Bias and variance of features"] {
        assert!(page.contains(part), "{part}");
    }
    let run = dir.path().join("o/runs/mvtec/plain/nkd+fmam/tiny/seed-0");
    assert!(run.join("maps.tiff").is_file());
    let is_events = |path: &std::path::PathBuf| path.to_string_lossy().contains("events.out.tfevents.");
    assert_eq!(files(&run).iter().filter(|path| is_events(path)).count(), 1);

    // The same again to the byte; other images and another scale by name.
    let drawn = figure(all[3]);
    succeed(dir.path(), "report o");
    assert_eq!(figure(all[3]), drawn);
    let sample = record(dir.path())["artefacts"]["images"][1]["sample"].as_str().unwrap().to_owned();
    succeed(dir.path(), &format!("report o --images {sample} --scale row"));
    let chosen = String::from_utf8(figure(all[3])).unwrap();
    assert!(chosen.len() < drawn.len() && chosen.contains(sample.rsplit('/').next().unwrap()));
    fail(dir.path(), "report o --images test/none/000", 2, &["test/none/000"]);
    fail_usage(dir.path(), "report o --scale both");

    // An image that cannot be read costs its figure and nothing else; a figure that is not drawn
    // any more goes.
    let image = files(&dir.path().join("data/plain/test")).into_iter().next().unwrap();
    let whole = std::fs::read(&image).unwrap();
    std::fs::write(&image, &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_file(dir.path().join("o/report.json")).unwrap();
    let all_images: Vec<_> = record(dir.path())["artefacts"]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listed| listed["sample"].as_str().unwrap().to_owned())
        .collect();
    let told = succeed(dir.path(), &format!("report o --images {}", all_images.join(",")));
    assert!(told.contains("no localisation figure of mvtec plain: "), "{told}");
    assert!(dir.path().join("o/report.json").is_file());
    std::fs::write(&image, whole).unwrap();

    // Without the images the rest is drawn all the same.
    std::fs::rename(dir.path().join("data"), dir.path().join("moved")).unwrap();
    std::fs::remove_dir_all(dir.path().join("o/figures")).unwrap();
    let told = succeed(dir.path(), "report o");
    assert!(told.contains("no localisation figure of mvtec plain: "), "{told}");
    assert_eq!(names(dir.path()).len(), 4);
    succeed(dir.path(), "report o --data-root moved");
    assert_eq!(names(dir.path()), all);
}

/// clap's own errors have several lines.
#[track_caller]
fn fail_usage(dir: &Path, args: &str) {
    let call = line(dir, args);
    assert_eq!(call.code, Some(2), "fmam {args}\n{}", call.stderr);
}

#[test]
fn an_older_run_gets_its_analysis() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(dir.path(), RUN);
    let whole = record(dir.path());
    assert!(whole["analysis"]["scales"][0]["real"]["after"]["bias"].as_f64().is_some());
    let run = dir.path().join("o/runs/mvtec/plain/nkd+fmam/tiny/seed-0");
    let mut old = whole.clone();
    old.as_object_mut().unwrap().remove("analysis");
    old["artefacts"].as_object_mut().unwrap().remove("maps");
    std::fs::write(run.join("record.json"), old.to_string()).unwrap();
    std::fs::remove_file(run.join("maps.tiff")).unwrap();
    std::fs::remove_dir_all(dir.path().join("o/figures")).unwrap();

    let told = succeed(dir.path(), "analyze o --quiet");
    assert!(told.contains("about the student") && told.contains("o/report.html"), "{told}");
    assert_eq!(record(dir.path()), whole);
    assert!(run.join("maps.tiff").is_file() && names(dir.path()).len() == 6);
    let json: Value = serde_json::from_str(&succeed(dir.path(), "analyze o --quiet --json")).unwrap();
    assert_eq!(json["runs/mvtec/plain/nkd+fmam/tiny/seed-0"], whole["analysis"]);

    // A model that is damaged does not keep the others from being analysed.
    std::fs::write(run.join("model/student.safetensors"), "x").unwrap();
    let call = line(dir.path(), "analyze o --overwrite --quiet");
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(
        call.stderr.contains("student.safetensors") && call.stderr.contains("1 of 2 runs"),
        "{}",
        call.stderr
    );
    assert_eq!(record(dir.path()), whole);

    // Without its model a run stays as it is, and so does one that was to keep no pictures.
    std::fs::remove_dir_all(dir.path().join("o")).unwrap();
    std::fs::write(dir.path().join("bare.toml"), BARE).unwrap();
    succeed(dir.path(), "reproduce --preset bare.toml --out o --quiet");
    let path = dir.path().join("o/runs/mvtec/plain/nkd/tiny/seed-0/record.json");
    let bare = std::fs::read(&path).unwrap();
    let call = line(dir.path(), "analyze o");
    assert_eq!((call.code, call.stderr.as_str()), (Some(0), ""), "{}", call.stdout);
    let call = line(dir.path(), "analyze o --overwrite");
    assert!(call.code == Some(0) && call.stderr.contains("kept no model"), "{}", call.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), bare);
    assert_eq!(names(dir.path()).len(), 2);

    fail_usage(dir.path(), "analyze");
    fail_usage(dir.path(), "analyze o --dataset mvtec");
    fail_usage(dir.path(), "analyze --model o/model");
    fail(dir.path(), "analyze data", 1, &["no finished run"]);
}
