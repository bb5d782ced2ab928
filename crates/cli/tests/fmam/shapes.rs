//! Evaluations and grids on images of other shapes: not square, padded, in tiles, within a region
//! of interest.

use std::path::Path;

use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_report::write_png;
use fmam_testkit::striped_scene;
use image::{GrayImage, Luma};
use serde_json::Value;

use crate::{line, succeed};

/// A data set in the layout `folder`, in `data`, with the category `part`: 9 good images to train
/// on, 2 to test, and `defects`: name, place and side of a red square.
fn dataset(dir: &Path, size: ImageSize, defects: &[(&str, [usize; 2], usize)]) {
    let part = dir.join("data/part");
    for index in 0..11 {
        let split = if index < 9 { "train/normal" } else { "test/normal" };
        let image = striped_scene(size, Seed::new(3).derive_index(index));
        write_png(&part.join(format!("{split}/{index}.png")), &image).unwrap();
    }
    for (name, [top, left], side) in defects {
        let is_defect =
            |y: usize, x: usize| (*top..top + side).contains(&y) && (*left..left + side).contains(&x);
        let scene = striped_scene(size, Seed::new(99));
        let image =
            RgbImage::from_fn(size, |y, x| if is_defect(y, x) { [255, 0, 0] } else { scene.pixel(y, x) });
        write_png(&part.join(format!("test/anomalous/{name}.png")), &image).unwrap();
        std::fs::create_dir_all(part.join("masks")).unwrap();
        let mask = GrayImage::from_fn(size.width as u32, size.height as u32, |x, y| {
            Luma([255 * u8::from(is_defect(y as usize, x as usize))])
        });
        mask.save(part.join(format!("masks/{name}.png"))).unwrap();
    }
}

/// The figures of `fmam eval` with `options`.
fn eval(dir: &Path, options: &str) -> Value {
    let data = "--dataset folder --data-root data --category part";
    serde_json::from_str(&succeed(dir, &format!("eval {data} --json --quiet {options}"))).unwrap()
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("{key} in {figures}"))
}

/// The record of the only run of `out`.
fn record(dir: &Path, out: &str) -> Value {
    let runs = dir.join(out).join("runs/folder/part");
    let record = crate::files(&runs).into_iter().find(|path| path.ends_with("record.json")).unwrap();
    serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap()
}

const FIT: &str = "fit --dataset folder --data-root data --category part --backbone tiny --quiet";

/// A grid of one run of PaDiM on the data set, with more lines.
fn preset(dir: &Path, name: &str, more: &str) {
    let preset =
        format!("methods = ['padim']\nbackbones = ['tiny']\nseeds = [0]\n{more}\n[dataset.folder]\n");
    std::fs::write(dir.join(name), preset).unwrap();
}

#[test]
fn a_strip_is_evaluated_and_reproduced_in_its_own_shape() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path(), ImageSize::new(160, 768), &[("cut", [60, 500], 30)]);
    succeed(dir.path(), &format!("{FIT} --method padim --image-size 160x768 --out model"));
    let figures = eval(dir.path(), "--model model --out figures");
    assert!(number(&figures, "pixel_auroc") > 0.9 && number(&figures, "image_auroc") == 1.0, "{figures}");
    // The files have the size of the network: both resolutions are one.
    let original = eval(dir.path(), "--model model --evaluate-at original");
    assert_eq!(figures["pixel_auroc"], original["pixel_auroc"]);

    preset(dir.path(), "strip.toml", "image_size = '160x768'");
    succeed(dir.path(), "reproduce --preset strip.toml --data-root data --out strip --quiet");
    let record = record(dir.path(), "strip");
    assert_eq!(record["config"]["data"]["image_size"], "160x768");
    assert_eq!(record["metrics"]["pixel_auroc"], figures["pixel_auroc"]);
    let report = std::fs::read_to_string(dir.path().join("strip/report.md")).unwrap();
    assert!(report.contains("160×768"), "{report}");
}

#[test]
fn padded_images_are_evaluated_and_reproduced_without_their_padding() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path(), ImageSize::new(60, 180), &[("cut", [20, 100], 16)]);
    succeed(dir.path(), &format!("{FIT} --method padim --image-size 96 --keep-aspect --out model"));
    let figures = eval(dir.path(), "--model model");
    assert!(number(&figures, "pixel_auroc") > 0.8, "{figures}");
    // A third of the rows is the image, and the rest of the square is padding.
    let original = eval(dir.path(), "--model model --evaluate-at original");
    assert!(number(&original, "pixel_auroc") > 0.8, "{original}");

    preset(dir.path(), "padded.toml", "image_size = 96\n[input]\nkeep_aspect = true");
    succeed(dir.path(), "reproduce --preset padded.toml --data-root data --out padded --quiet");
    let record = record(dir.path(), "padded");
    assert_eq!(record["config"]["data"]["placing"], "keep-aspect");
    assert_eq!(record["metrics"]["pixel_auroc"], figures["pixel_auroc"]);
}

#[test]
fn tiles_are_evaluated_and_reproduced_in_the_size_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path(), ImageSize::new(150, 210), &[("cut", [90, 140], 12), ("dent", [10, 20], 5)]);
    let tiles = "--tile 64 --overlap 16";
    for method in ["patchcore", "padim"] {
        succeed(dir.path(), &format!("{FIT} --method {method} {tiles} --out {method}"));
        let figures = eval(dir.path(), &format!("--model {method} --out {method}-figures"));
        assert!(number(&figures, "pixel_auroc") > 0.8, "{method}: {figures}");
        // Maps have the size of the files already, in which no defect vanishes.
        let original = eval(dir.path(), &format!("--model {method} --evaluate-at original"));
        assert_eq!(figures["pixel_auroc"], original["pixel_auroc"], "{method}");
        assert_eq!(figures.get("findings"), None, "{method}: {figures}");
        let picture = image::open(dir.path().join(format!("{method}-figures/overlays/0002.png"))).unwrap();
        assert!(picture.height() >= 150 && picture.width() >= 210, "{method}");
    }
    preset(dir.path(), "tiles.toml", "image_size = 64\n[input]\ntile_overlap = 16");
    succeed(dir.path(), "reproduce --preset tiles.toml --data-root data --out tiles --quiet");
    let record = record(dir.path(), "tiles");
    let padim = eval(dir.path(), "--model padim");
    assert_eq!(record["metrics"]["pixel_auroc"], padim["pixel_auroc"]);
    assert_eq!(record["config"]["data"]["placing"], serde_json::json!({ "tiles": { "overlap": 16 } }));
}

#[test]
fn figures_within_a_region_count_nothing_outside_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let size = ImageSize::square(96);
    dataset(dir.path(), size, &[("inside", [30, 30], 10), ("outside", [80, 80], 10)]);
    let region = GrayImage::from_fn(96, 96, |x, y| Luma([if x < 64 && y < 64 { 255 } else { 0 }]));
    region.save(dir.path().join("roi.png")).unwrap();
    let fit = format!("{FIT} --method padim --image-size 96 --roi roi.png");
    succeed(dir.path(), &format!("{fit} --out model"));
    let figures = eval(dir.path(), "--model model");
    // The defect wholly outside keeps its label and is missed.
    assert_eq!(number(&figures, "image_miss_rate"), 0.5, "{figures}");
    assert!(number(&figures, "pixel_auroc") > 0.9, "{figures}");
    assert_eq!(figures.get("findings"), None, "a defect outside has not vanished: {figures}");

    // Neither the mask nor the pixels outside bear on a figure.
    let part = dir.path().join("data/part");
    let mask = GrayImage::from_fn(96, 96, |x, y| Luma([255 * u8::from(x >= 66 && y >= 10)]));
    mask.save(part.join("masks/outside.png")).unwrap();
    let good = image::open(part.join("test/anomalous/outside.png")).unwrap().into_rgb8();
    let other = image::RgbImage::from_fn(96, 96, |x, y| {
        if x < 64 && y < 64 { *good.get_pixel(x, y) } else { image::Rgb([0, 255, 9]) }
    });
    other.save(part.join("test/anomalous/outside.png")).unwrap();
    assert_eq!(eval(dir.path(), "--model model"), figures);
    // Over the whole image they do.
    succeed(dir.path(), &format!("{FIT} --method padim --image-size 96 --out whole"));
    assert_eq!(number(&eval(dir.path(), "--model whole"), "image_miss_rate"), 0.0);

    preset(dir.path(), "region.toml", "image_size = 96\n[input]\nroi = 'roi.png'");
    succeed(dir.path(), "reproduce --preset region.toml --data-root data --out region --quiet");
    let record = record(dir.path(), "region");
    assert_eq!(record["metrics"]["pixel_auroc"], figures["pixel_auroc"]);
    assert_eq!(record["config"]["data"]["roi_sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn choices_and_copies_stand_in_the_record_and_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path(), ImageSize::square(64), &[("cut", [20, 30], 12), ("dent", [40, 10], 12)]);
    let part = dir.path().join("data/part");
    // A transparent corner, two frames, a strip, soft edges, a copy, and a file that is no image.
    let glass =
        image::RgbaImage::from_fn(64, 64, |x, y| image::Rgba([90, 90, 90, if x + y < 9 { 0 } else { 255 }]));
    glass.save(part.join("train/normal/glass.png")).unwrap();
    let mut frames = image::codecs::gif::GifEncoder::new(
        std::fs::File::create(part.join("test/normal/frames.gif")).unwrap(),
    );
    for level in [90_u8, 200] {
        let frame = image::RgbaImage::from_pixel(64, 64, image::Rgba([level, level, level, 255]));
        frames.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(frames);
    GrayImage::from_fn(200, 64, |x, _| Luma([x as u8])).save(part.join("test/normal/strip.png")).unwrap();
    let soft = GrayImage::from_fn(64, 64, |x, _| Luma([255 - 4 * x as u8]));
    soft.save(part.join("masks/dent.png")).unwrap();
    std::fs::copy(part.join("train/normal/3.png"), part.join("test/normal/copy.png")).unwrap();
    std::fs::write(part.join("train/normal/notes.txt"), "x").unwrap();

    preset(dir.path(), "mine.toml", "image_size = 64");
    let called = line(dir.path(), "reproduce --preset mine.toml --data-root data --out o");
    assert_eq!(called.code, Some(0), "{}", called.stderr);
    let record = record(dir.path(), "o");
    let findings = &record["findings"];
    let copies = serde_json::json!([["train/normal/3", "test/normal/copy"]]);
    assert_eq!(findings["duplicates"], copies, "{findings}");
    let report = std::fs::read_to_string(dir.path().join("o/report.md")).unwrap();
    assert!(report.contains("`train/normal/3` = `test/normal/copy`"), "{report}");
    let expected = [
        ("ignored", "notes.txt"),
        ("transparent pixels", "glass.png"),
        ("first of several frames", "frames.gif"),
        ("aspect ratio", "strip.png"),
        ("soft edges", "masks/dent.png"),
    ];
    let notices = findings["notices"].as_array().unwrap();
    assert_eq!(notices.len(), expected.len(), "{findings}");
    for (clause, file) in expected {
        let is_it = |notice: &&Value| notice["choice"].as_str().unwrap().contains(clause);
        let notice = notices.iter().find(is_it).unwrap_or_else(|| panic!("{clause}: {findings}"));
        assert!(notice["first"].as_str().unwrap().ends_with(file) && notice["n"] == 1, "{notice}");
        assert!(called.stderr.contains(file), "{file} is not told:\n{}", called.stderr);
        assert!(report.contains(notice["choice"].as_str().unwrap()), "{clause} is not in\n{report}");
    }

    // An evaluation tells the choices of the images that it reads, and knows an image learnt from.
    succeed(dir.path(), &format!("{FIT} --method padim --image-size 64 --out model"));
    let data = "--model model --dataset folder --data-root data --category part --out figures";
    let called = line(dir.path(), &format!("eval {data}"));
    assert_eq!(called.code, Some(0), "{}", called.stderr);
    assert!(
        called.stderr.contains("learnt from") && called.stderr.contains("train/normal/3"),
        "{}",
        called.stderr
    );
    let written = std::fs::read(dir.path().join("figures/metrics.json")).unwrap();
    let findings = &serde_json::from_slice::<Value>(&written).unwrap()["findings"];
    assert_eq!(findings["learnt"], serde_json::json!(["test/normal/copy"]), "{findings}");
    assert_eq!(findings["duplicates"], copies, "{findings}");
    let text = findings["notices"].to_string();
    for word in ["frames.gif", "strip.png", "masks/dent.png", "notes.txt"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
