//! `fmam check` and `fmam roi`.

use serde_json::Value;

use crate::{fail, image_dataset, line, succeed};

#[test]
fn a_data_set_is_checked_as_a_table_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let table = succeed(dir.path(), "check data --dataset mvtec");
    assert!(table.starts_with("Read as the data set mvtec."), "{table}");
    for word in ["gone at 128", "train  normal", "64x64"] {
        assert!(table.contains(word), "`{word}` is missing in\n{table}");
    }
    let json = succeed(dir.path(), "check --dataset mvtec --data-root data --image-size 64 --json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["taken_for"]["kind"], "named");
    assert_eq!(json["categories"][0]["classes"][0]["n_images"], 4);
    fail(dir.path(), "check absent", 1, &["cannot read absent"]);
    fail(dir.path(), "check --dataset demo", 1, &["fault"]);
}

#[test]
fn a_damaged_image_is_named_and_gives_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let good = image_dataset(dir.path()).join("plain/train/good");
    std::fs::write(good.join("damaged.png"), "no image").unwrap();
    let call = line(dir.path(), &format!("check {}", good.display()));
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(call.stdout.contains("\nerror: ") && call.stdout.contains("damaged.png"), "{}", call.stdout);
    assert!(call.stderr.starts_with("error: 1 fault would stop"), "{}", call.stderr);
}

#[test]
fn a_region_is_proposed_with_a_preview_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let good = image_dataset(dir.path()).join("plain/train/good");
    let roi = format!("roi {}", good.display());
    fail(dir.path(), &roi, 1, &["at least 5 good images", "there are 4"]);
    std::fs::copy(good.join("000.png"), good.join("004.png")).unwrap();
    let told = succeed(dir.path(), &roi);
    assert!(told.contains("look at roi-preview.png") && told.contains("--roi roi.png"), "{told}");
    let mask = image_size(&dir.path().join("roi.png"));
    assert_eq!(mask, fmam_core::ImageSize::square(64));
    fail(dir.path(), &roi, 1, &["roi.png exists already"]);
    fail(dir.path(), &format!("{roi} --out {}/new.png", good.display()), 1, &["among the images"]);
    fail(dir.path(), &format!("{roi} --out new.jpg"), 2, &["PNG"]);
}

fn image_size(path: &std::path::Path) -> fmam_core::ImageSize {
    fmam_datasets::image_size(path).unwrap()
}
