//! Detectors as files for other programs.

use crate::{fail, image_dataset, line, succeed};

/// Fits `method` to the images of a small data set, as `model` in `dir`.
fn fit(dir: &std::path::Path, method: &str) {
    image_dataset(dir);
    let data = "--data-root data --dataset mvtec --category plain --backbone tiny --image-size 64";
    succeed(dir, &format!("fit {data} --method {method} --epochs 1 --calibration off --out model"));
}

#[test]
fn a_detector_is_written_with_its_facts_and_over_an_older_file() {
    let dir = tempfile::tempdir().unwrap();
    fit(dir.path(), "teacher");
    std::fs::write(dir.path().join("teacher.onnx"), "an older file").unwrap();
    let call = line(dir.path(), "export --model model --out teacher.onnx");
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(call.stdout.contains("an image of any size"), "{}", call.stdout);
    assert!(call.stderr.contains("is not calibrated"), "{}", call.stderr);
    let file = std::fs::read(dir.path().join("teacher.onnx")).unwrap();
    let has = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    for fact in ["method", "teacher", "weights_licence", "blur_sigma", "64x64", "score"] {
        assert_eq!(has(fact), fact != "weights_licence", "{fact}");
    }
    assert!(!has("defective"), "there is no threshold");
    let fixed = succeed(dir.path(), "export --model model --out fixed.onnx --fixed-size");
    assert!(fixed.contains("an image of 64x64"), "{fixed}");
    assert!(std::fs::metadata(dir.path().join("fixed.onnx")).unwrap().len() < file.len() as u64);
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fit(dir.path(), "mrkd");
    let words = ["mrkd", "cannot be exported", "use another method"];
    fail(dir.path(), "export --model model --out mrkd.onnx", 2, &words);
    fail(dir.path(), "export --model nothing --out x.onnx", 1, &["nothing"]);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let files: Vec<_> = names.filter(|name| name.to_string_lossy().contains("onnx")).collect();
    assert!(files.is_empty(), "{files:?}");
}
