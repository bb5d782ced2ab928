//! `fmam fit` from a folder of good images, and `fmam calibrate`.

use std::path::Path;

use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_report::write_png;
use fmam_testkit::{striped_scene, striped_scene_with_square};

use crate::{fail, files, line, succeed};

const SIZE: ImageSize = ImageSize::square(48);
const FIT: &str = "fit good --method padim --backbone tiny --image-size 32 --out model";

/// `n` good images in `dir`, some of them in folders within it.
fn good_images(dir: &Path, n: u64, seed: u64) {
    for index in 0..n {
        let within = if index % 3 == 0 { "monday/" } else { "" };
        let image = striped_scene(SIZE, Seed::new(seed).derive_index(index));
        write_png(&dir.join(format!("{within}{index}.png")), &image).unwrap();
    }
}

fn defects(dir: &Path, n: u64) {
    for index in 0..n {
        let (image, _) = striped_scene_with_square(SIZE, Seed::new(77).derive_index(index));
        write_png(&dir.join(format!("{index}.png")), &image).unwrap();
    }
}

#[test]
fn a_folder_of_good_images_gives_a_detector_with_a_promise() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 12, 0);
    let said = succeed(dir.path(), FIT);
    assert!(said.contains("fitted padim to 12 of 12 images"), "{said}");
    assert!(said.contains("about 7.69 % of good parts"), "{said}");
    assert!(said.contains("1 % needs 99 such images, 87 more: fmam calibrate"), "{said}");
    assert!(said.contains("synthetic defects"), "{said}");
    let card = std::fs::read_to_string(dir.path().join("model/model.toml")).unwrap();
    for stored in ["[calibration]", "cross-fit", "[calibration.threshold]", "[calibration.synthetic]"] {
        assert!(card.contains(stored), "{stored} is missing in {card}");
    }
    let held_out = FIT.replace("--out model", "--calibration hold-out=25% --false-alarms 25% --out held");
    let said = succeed(dir.path(), &held_out);
    assert!(said.contains("fitted padim to 9 of 12 images"), "{said}");
    assert!(said.contains("at most 25 % of good parts score above it, by 3 good images held out"), "{said}");
    // An image that is named twice is learnt from once.
    let twice = FIT.replace("fit good", "fit good good/monday").replace("--out model", "--out twice");
    assert!(succeed(dir.path(), &twice).contains("fitted padim to 12 of 12 images"));
    let off = FIT.replace("--out model", "--calibration off --out off");
    assert!(succeed(dir.path(), &off).contains("without a threshold"));
}

#[test]
fn the_best_of_the_methods_that_end_in_time_is_fitted() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 12, 0);
    let auto = FIT.replace("padim", "auto");
    fail(dir.path(), &format!("{auto} --budget 0s"), 1, &["no method can be tried", "--budget"]);
    fail(dir.path(), &format!("{auto} --set channels=20"), 2, &["settings"]);
    // Students of so many epochs do not end in time; the methods that train none do.
    let said = succeed(dir.path(), &format!("{auto} --epochs 100000 --budget 40s"));
    assert!(said.contains("not within the budget") && said.contains("confetti"), "{said}");
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("  ")).collect();
    for student in ["nkd", "rkd", "nkd+fmam", "rkd+fmam", "mrkd", "fcdd", "puzzle-ae"] {
        let row = rows.iter().find(|row| row.split_whitespace().next() == Some(student)).unwrap();
        assert!(row.contains("not within the budget"), "{student}: {said}");
    }
    let best = rows[0].split_whitespace().next().unwrap();
    // A mapping alone trains for epochs of its own and may end in time.
    let host = best.strip_suffix("+fmam").unwrap_or(best);
    assert!(["padim", "patchcore", "spade"].contains(&host), "{said}");
    // A method that trains holds good images out for its threshold.
    let learnt_from = if host == best { 12 } else { 10 };
    assert!(said.contains(&format!("fitted {best} to {learnt_from} of 12 images")), "{said}");
}

#[test]
fn more_good_images_lower_the_rate_and_known_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 12, 0);
    good_images(&dir.path().join("more"), 19, 1);
    succeed(dir.path(), &FIT.replace("--out model", "--calibration hold-out --out model"));
    let model = || std::fs::read(dir.path().join("model/model.toml")).unwrap();
    let before = model();
    fail(dir.path(), "calibrate good --model model", 1, &["learnt from"]);
    assert_eq!(model(), before);
    // 2 held out of 12, and 19.
    let said = succeed(dir.path(), "calibrate more --model model --at-most-false-alarms 5%");
    assert!(said.contains("at most 5 % of good parts score above it, by 21 good images held out"), "{said}");
    assert_ne!(model(), before);
    fail(dir.path(), "calibrate more --model model", 1, &["more", "calibrated the detector already"]);
    fail(dir.path(), "calibrate good --defects good --model model", 1, &["among those with defects"]);
    let kept = model();
    fail(
        dir.path(),
        "calibrate --defects good --model model --at-most-false-alarms 1%",
        2,
        &["99", "78 more"],
    );
    assert_eq!(model(), kept);
}

#[test]
fn defects_tell_what_is_missed_and_may_choose_the_threshold() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 12, 0);
    defects(&dir.path().join("broken"), 9);
    succeed(dir.path(), FIT);
    let said = succeed(dir.path(), "calibrate --defects broken --model model");
    assert!(said.contains("misses in broken: 0 of 9, 0 % (95 % interval 0 % to 29.9 %)"), "{said}");
    let said = succeed(dir.path(), "calibrate --defects broken --model model --at-most-misses 20%");
    assert!(said.contains("at most 20 % of defects like the 9 given"), "{said}");
    assert!(said.contains("the threshold was chosen on these images"), "{said}");
    // It stays when good images come, until they are asked for a rate.
    good_images(&dir.path().join("more"), 5, 1);
    good_images(&dir.path().join("rest"), 5, 2);
    let threshold = said.lines().next().unwrap();
    assert!(succeed(dir.path(), "calibrate more --model model").contains(threshold), "{threshold}");
    let said = succeed(dir.path(), "calibrate rest --model model --at-most-false-alarms 10%");
    assert!(said.contains("about 10 % of good parts"), "{said}");
    fail(dir.path(), "calibrate --defects broken --model model --at-most-misses 5%", 2, &["9 images", "19"]);
    fail(dir.path(), "calibrate --model model", 2, &["FOLDER"]);
    fail(dir.path(), "calibrate --model model good --at-most-misses 5%", 2, &["--defects"]);
}

#[test]
fn folders_that_give_no_detector_are_told_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("good")).unwrap();
    fail(dir.path(), FIT, 1, &["no image", "good"]);
    fail(dir.path(), &FIT.replace("good", "absent"), 1, &["absent"]);
    fail(dir.path(), "fit --out model", 2, &["FOLDER"]);
    good_images(&dir.path().join("good"), 1, 0);
    fail(dir.path(), FIT, 1, &["padim", "needs 3", "1 found"]);
    fail(dir.path(), &FIT.replace("padim", "rkd+fmam"), 1, &["needs 2"]);
    good_images(&dir.path().join("good"), 2, 0);
    fail(dir.path(), FIT, 1, &["needs 3", "2 found", "with so few works", "patchcore"]);
    for index in 0..6 {
        write_png(&dir.path().join(format!("flat/{index}.png")), &RgbImage::filled(SIZE, [90; 3])).unwrap();
    }
    for method in ["padim", "patchcore", "nkd", "rkd+fmam"] {
        let fit =
            FIT.replace("good", "flat").replace("padim", method).replace("--out model", "--epochs 1 --out m");
        let call = line(dir.path(), &fit);
        // A detector, or one line that says why there is none.
        let errors = call.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        let is_told = errors == 1 && call.stderr.contains("of one colour");
        assert!(call.code == Some(0) || (call.code == Some(1) && is_told), "{method}: {}", call.stderr);
        assert_eq!(dir.path().join("m").exists(), call.code == Some(0), "{method}");
        let _ = std::fs::remove_dir_all(dir.path().join("m"));
    }
    assert!(!files(dir.path()).iter().any(|file| file.ends_with("model.toml")));
}

#[cfg(unix)]
#[test]
fn an_output_that_cannot_be_written_is_told_before_the_fit() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 12, 0);
    std::fs::write(dir.path().join("file"), "").unwrap();
    fail(dir.path(), &FIT.replace("--out model", "--out file/model"), 1, &["file"]);
    fail(dir.path(), &FIT.replace("--out model", "--out good"), 1, &["good exists"]);
}
