//! `fmam metrics` on small files.

use std::path::Path;

use fmam_metrics::{Level, METRICS};
use npyz::WriterBuilder;
use serde_json::Value;

use crate::{fail, line, succeed};

fn write<T: npyz::AutoSerialize + Clone>(dir: &Path, name: &str, shape: &[u64], data: &[T]) {
    let file = std::fs::File::create(dir.join(name)).unwrap();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    writer.extend(data.iter().cloned()).unwrap();
    writer.finish().unwrap();
}

#[track_caller]
fn check(dir: &Path, args: &str, expected: &[(&str, f64)]) {
    let figures: Value = serde_json::from_str(&succeed(dir, args)).unwrap();
    let is_of_images = args.contains("--scores");
    let registered = METRICS
        .iter()
        .filter(|metric| (metric.level == Level::Image) == is_of_images && !metric.needs_threshold);
    assert_eq!(figures.as_object().unwrap().len(), registered.count(), "{figures}");
    for (name, value) in expected {
        let figure = figures[name].as_f64().unwrap();
        assert!((figure - value).abs() < 1e-12, "{name} is {figure}, not {value}");
    }
}

#[test]
fn image_figures_are_those_of_the_textbook() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.npy", &[4], &[0.1_f32, 0.4, 0.35, 0.8]);
    write(dir.path(), "s64.npy", &[4], &[0.1_f64, 0.4, 0.35, 0.8]);
    write(dir.path(), "y.npy", &[4], &[0_i64, 0, 1, 1]);
    write(dir.path(), "yf.npy", &[4], &[0.0_f32, 0.0, 1.0, 1.0]);
    write(dir.path(), "yb.npy", &[4], &[false, false, true, true]);
    // Of the four pairs three are in order. Precision is 1 at recall 1/2 and 2/3 at recall 1.
    let expected = [("auroc", 0.75), ("ap", 0.5 + 0.5 * 2.0 / 3.0), ("f1_max", 0.8)];
    for (scores, labels) in [("s", "y"), ("s64", "yf"), ("s", "yb")] {
        check(dir.path(), &format!("metrics --scores {scores}.npy --labels {labels}.npy"), &expected);
    }
}

#[test]
fn scores_that_only_f64_tells_apart_are_no_ties() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.npy", &[2], &[1.0_f64, 1.0 + 1e-12]);
    write(dir.path(), "y.npy", &[2], &[0_u8, 1]);
    check(
        dir.path(),
        "metrics --scores s.npy --labels y.npy",
        &[("auroc", 1.0), ("ap", 1.0), ("f1_max", 1.0)],
    );
}

#[test]
fn pixel_figures_read_maps_and_masks() {
    let dir = tempfile::tempdir().unwrap();
    let maps = [0.1_f32, 0.2, 0.9, 0.1, 0.3, 0.8, 0.1, 0.1, 0.2, 0.2, 0.1, 0.4];
    write(dir.path(), "a.npy", &[2, 2, 3], &maps);
    write(dir.path(), "m.npy", &[2, 2, 3], &[0_u8, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let expected = [("pixel_auroc", 1.0), ("pixel_ap", 1.0), ("aupro", 1.0)];
    check(dir.path(), "metrics --maps a.npy --masks m.npy", &expected);
    write(dir.path(), "constant.npy", &[2, 2, 3], &[0.5_f32; 12]);
    let expected = [("pixel_auroc", 0.5), ("pixel_ap", 1.0 / 6.0), ("aupro", 0.15)];
    check(dir.path(), "metrics --maps constant.npy --masks m.npy", &expected);
}

#[test]
fn maps_of_one_channel_and_masks_of_0_and_255_are_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.npy", &[2, 1, 1, 3], &[1.0_f64, 1.0 + 1e-12, 0.0, 0.0, 0.5, 1.0]);
    write(dir.path(), "m.npy", &[2, 1, 3], &[0_u8, 255, 0, 0, 0, 0]);
    let expected = [("pixel_auroc", 1.0), ("pixel_ap", 1.0), ("aupro", 1.0)];
    check(dir.path(), "metrics --maps a.npy --masks m.npy --spill .", &expected);
}

#[test]
fn a_header_of_nested_brackets_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("26.npy"), b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((").unwrap();
    write(dir.path(), "y.npy", &[3], &[0_i64, 0, 1]);
    fail(dir.path(), "metrics --scores 26.npy --labels y.npy", 1, &["26.npy", "header"]);
}

#[test]
fn unusable_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.npy", &[3], &[0.1_f32, 0.4, 0.35]);
    write(dir.path(), "y.npy", &[3], &[0_i64, 0, 1]);
    write(dir.path(), "one.npy", &[3], &[1_i64; 3]);
    write(dir.path(), "short.npy", &[2], &[0_i64, 1]);
    write(dir.path(), "two.npy", &[3], &[0_i64, 2, 1]);
    write(dir.path(), "nan.npy", &[3], &[0.1_f64, f64::NAN, 0.3]);
    write(dir.path(), "int.npy", &[3], &[1_i32, 2, 3]);
    std::fs::write(dir.path().join("text.npy"), "0.1 0.2").unwrap();
    let whole = std::fs::read(dir.path().join("s.npy")).unwrap();
    std::fs::write(dir.path().join("cut.npy"), &whole[..whole.len() - 2]).unwrap();
    let check = |scores: &str, labels: &str, words: &[&str]| {
        fail(dir.path(), &format!("metrics --scores {scores} --labels {labels}"), 1, words);
    };
    check("absent.npy", "y.npy", &["absent.npy"]);
    check("text.npy", "y.npy", &["text.npy"]);
    check("cut.npy", "y.npy", &["cut.npy"]);
    check("int.npy", "y.npy", &["int.npy", "float16, float32 or float64", "<i4"]);
    check("nan.npy", "y.npy", &["nan.npy", "NaN"]);
    check("s.npy", "two.npy", &["two.npy", "element 1", "there are 0, 1, 2"]);
    check("s.npy", "short.npy", &["s.npy", "short.npy", "[2]"]);
    check("s.npy", "one.npy", &["s.npy", "no normal"]);
    fail(dir.path(), "metrics --maps s.npy --masks y.npy", 1, &["s.npy", "[N, H, W]"]);
    write(dir.path(), "m.npy", &[2, 1, 2], &[0_u8, 0, 0, 1]);
    write(dir.path(), "nan_map.npy", &[2, 1, 2], &[0.1_f32, 0.2, 0.3, f32::NAN]);
    fail(dir.path(), "metrics --maps nan_map.npy --masks m.npy", 1, &["nan_map.npy", "map 1", "NaN"]);
    assert_eq!(line(dir.path(), "metrics --scores s.npy").code, Some(2));
}
