//! Pictures as factories have them: not square, of 12 bits, large, within a region of interest.

use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_report::write_png;
use fmam_testkit::striped_scene;
use image::{GrayImage, ImageBuffer, Luma};

#[cfg(target_os = "linux")]
use crate::peak_memory;
use crate::{fail, line, succeed};

/// `n` good images of `size`, some in nested folders.
fn good_images(dir: &Path, n: u64, size: ImageSize) {
    for index in 0..n {
        let within = if index % 4 == 0 { "monday/" } else { "" };
        let image = striped_scene(size, Seed::new(3).derive_index(index));
        write_png(&dir.join(format!("{within}{index}.png")), &image).unwrap();
    }
}

/// A good image with a bright square of `side` pixels at (`y`, `x`).
fn defective(path: &Path, size: ImageSize, [y, x]: [usize; 2], side: usize) {
    let mut image = striped_scene(size, Seed::new(99));
    square(&mut image, [y, x], side);
    write_png(path, &image).unwrap();
}

fn square(image: &mut RgbImage, [top, left]: [usize; 2], side: usize) {
    for y in top..top + side {
        (left..left + side).for_each(|x| image.set_pixel(y, x, [255, 0, 0]));
    }
}

/// The JSON lines of `fmam predict`.
fn predicted(dir: &Path, args: &str) -> Vec<serde_json::Value> {
    let said = succeed(dir, &format!("predict {args} --json --quiet"));
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The picture of the verdict.
fn overlay(dir: &Path, verdict: &serde_json::Value) -> PathBuf {
    dir.join("verdicts").join(verdict["overlay"].as_str().unwrap())
}

/// True if a region of the verdict covers the point.
fn covers(verdict: &serde_json::Value, [y, x]: [usize; 2]) -> bool {
    let number = |region: &serde_json::Value, key: &str| region[key].as_u64().unwrap() as usize;
    verdict["regions"].as_array().unwrap().iter().any(|region| {
        let (top, left) = (number(region, "y"), number(region, "x"));
        (top..top + number(region, "height")).contains(&y)
            && (left..left + number(region, "width")).contains(&x)
    })
}

#[test]
fn a_strip_is_seen_in_its_own_shape_padded_or_squeezed_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let size = ImageSize::new(60, 300);
    good_images(&dir.path().join("good"), 9, size);
    defective(&dir.path().join("bad.png"), size, [20, 200], 12);
    let fit = "fit good --method padim --backbone tiny";
    for (options, model) in [("--image-size 64x320", "own"), ("--image-size 128 --keep-aspect", "padded")] {
        succeed(dir.path(), &format!("{fit} {options} --out {model}"));
        let [verdict] = &predicted(dir.path(), &format!("bad.png --model {model}"))[..] else { panic!() };
        assert_eq!(verdict["verdict"], "defect", "{model}: {verdict}");
        assert!(covers(verdict, [26, 206]), "{model}: {verdict}");
    }
    let card = |model: &str| std::fs::read_to_string(dir.path().join(model).join("model.toml")).unwrap();
    assert!(card("own").contains("height = 64\nwidth = 320"), "{}", card("own"));
    assert!(card("padded").contains("placing = \"keep-aspect\""), "{}", card("padded"));

    let squeezed = line(dir.path(), &format!("{fit} --image-size 64 --out squeezed"));
    assert_eq!(squeezed.code, Some(0));
    assert!(squeezed.stderr.contains("changes the aspect ratio 5.0 times"), "{}", squeezed.stderr);
    fail(dir.path(), &format!("{fit} --image-size 64x --out x"), 2, &["64x", "160x768"]);
}

#[test]
fn tiles_find_small_defects_in_images_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 8, ImageSize::new(150, 210));
    good_images(&dir.path().join("good/large"), 3, ImageSize::new(200, 170));
    let other = ImageSize::new(260, 330);
    defective(&dir.path().join("bad.png"), other, [170, 290], 7);
    let fit = "fit good --backbone tiny --tile 64 --overlap 16 --calibration hold-out";
    succeed(dir.path(), &format!("{fit} --method patchcore --out model"));
    let card = std::fs::read_to_string(dir.path().join("model/model.toml")).unwrap();
    assert!(card.contains("overlap = 16"), "{card}");
    let [verdict] = &predicted(dir.path(), "bad.png --model model --out verdicts")[..] else { panic!() };
    assert!(verdict["verdict"] == "defect" && covers(verdict, [173, 293]), "{verdict}");
    let picture = image::open(overlay(dir.path(), verdict)).unwrap();
    assert_eq!((picture.height() as usize, picture.width() as usize), (other.height, other.width));

    // A method that learns a statistic of each position needs images of one size.
    fail(dir.path(), &format!("{fit} --method padim --quiet --out p"), 1, &["150x210", "200x170"]);
    fail(dir.path(), &format!("{} --overlap 64 --out p", fit.replace(" --overlap 16", "")), 2, &["64"]);
}

#[test]
fn an_image_beyond_the_memory_is_scored_by_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    good_images(&dir.path().join("good"), 3, ImageSize::square(512));
    let fit = "fit good --method patchcore --backbone tiny --tile 512 --overlap 32 --set coreset_ratio=0.01";
    succeed(dir.path(), &format!("{fit} --calibration cross-fit=3 --out model"));
    // 16.4 megapixels; a scene of the size of the good images, over and over.
    let size = ImageSize::new(2000, 8200);
    let scene = striped_scene(ImageSize::square(512), Seed::new(3).derive_index(1));
    let mut image = RgbImage::from_fn(size, |y, x| scene.pixel(y % 512, x % 512));
    square(&mut image, [1500, 7000], 24);
    write_png(&dir.path().join("scan.png"), &image).unwrap();
    let [verdict] = &predicted(dir.path(), "scan.png --model model --out verdicts")[..] else { panic!() };
    assert_eq!((&verdict["verdict"], &verdict["reduction"]), (&"defect".into(), &3.into()), "{verdict}");
    assert!(covers(verdict, [1512, 7012]), "{verdict}");
    let picture = image::open(overlay(dir.path(), verdict)).unwrap();
    assert_eq!((picture.height(), picture.width()), (667, 2734));
    // All of the image takes 47 MiB, and a row of tiles 12.
    let defect =
        line(dir.path(), "predict scan.png --model model --max-image-mib 16 --quiet --fail-on-defect");
    assert_eq!(defect.code, Some(3), "{}", defect.stderr);
    let refused = line(dir.path(), "predict scan.png --model model --max-image-mib 10 --quiet");
    assert!(refused.stderr.contains("try --max-image-mib 13"), "{}", refused.stderr);
}

#[test]
fn a_region_of_interest_is_all_that_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let size = ImageSize::square(96);
    good_images(&dir.path().join("good"), 9, size);
    defective(&dir.path().join("inside.png"), size, [30, 30], 10);
    defective(&dir.path().join("outside.png"), size, [80, 80], 10);
    let region = GrayImage::from_fn(96, 96, |x, y| Luma([if x < 64 && y < 64 { 255 } else { 0 }]));
    region.save(dir.path().join("roi.png")).unwrap();
    let fit = "fit good --method padim --backbone tiny --image-size 96";
    succeed(dir.path(), &format!("{fit} --roi roi.png --out model"));
    let verdicts = predicted(dir.path(), "inside.png outside.png --model model");
    assert_eq!((&verdicts[0]["verdict"], &verdicts[1]["verdict"]), (&"defect".into(), &"ok".into()));
    let elsewhere = predicted(dir.path(), "outside.png --model model --roi outside.png");
    assert_eq!(elsewhere.len(), 1);

    // A region for each image lies in a folder of masks.
    for index in 0..9 {
        let within = if index % 4 == 0 { "monday/" } else { "" };
        std::fs::create_dir_all(dir.path().join("regions/monday")).unwrap();
        region.save(dir.path().join(format!("regions/{within}{index}.png"))).unwrap();
    }
    succeed(dir.path(), &format!("{fit} --roi regions --out each"));
    fail(dir.path(), "predict inside.png --model each --quiet", 1, &["--roi FOLDER"]);
    let unknown = line(dir.path(), "predict inside.png --model each --roi regions --quiet");
    assert!(unknown.code == Some(1) && unknown.stderr.contains("regions/inside.png"), "{}", unknown.stderr);
    region.save(dir.path().join("regions/inside.png")).unwrap();
    assert_eq!(predicted(dir.path(), "inside.png --model each --roi regions")[0]["verdict"], "defect");
    GrayImage::new(96, 96).save(dir.path().join("blank.png")).unwrap();
    fail(dir.path(), &format!("{fit} --roi blank.png --out x"), 1, &["blank.png"]);
}

/// A grey image of `bits` bits in 16; `index` decides the noise.
fn deep(path: &Path, bits: u32, index: u64) {
    let scene = striped_scene(ImageSize::square(64), Seed::new(5).derive_index(index));
    let white = (1_u32 << bits) - 1;
    let level =
        |x: u32, y: u32| Luma([(u32::from(scene.pixel(y as usize, x as usize)[1]) * white / 255) as u16]);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(64, 64, level).save(path).unwrap();
}

#[test]
fn twelve_bits_are_scaled_as_the_training_images_are() {
    let dir = tempfile::tempdir().unwrap();
    (0..8).for_each(|index| deep(&dir.path().join(format!("good/{index}.png")), 12, index));
    deep(&dir.path().join("good/white.png"), 12, 30);
    let white =
        ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(64, 64, |x, _| Luma([if x == 0 { 4095 } else { 2000 }]));
    white.save(dir.path().join("good/white.png")).unwrap();
    let fitted = line(dir.path(), "fit good --method padim --backbone tiny --image-size 64 --out model");
    assert!(fitted.code == Some(0) && fitted.stderr.contains("12 bits"), "{}", fitted.stderr);
    let card = std::fs::read_to_string(dir.path().join("model/model.toml")).unwrap();
    assert!(card.contains("values = \"12-bit\""), "{card}");

    deep(&dir.path().join("new/same.png"), 12, 3);
    deep(&dir.path().join("new/brighter.png"), 14, 3);
    let called = line(dir.path(), "predict new --model model --json");
    assert!(called.stderr.contains("brighter.png"), "{}", called.stderr);
    let verdicts: Vec<serde_json::Value> =
        called.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts[1]["verdict"], "ok", "{}", verdicts[1]);
    // Floating-point numbers have no white of their own.
    let floats = ImageBuffer::<image::Rgb<f32>, Vec<f32>>::from_pixel(64, 64, image::Rgb([0.5; 3]));
    std::fs::create_dir(dir.path().join("floats")).unwrap();
    floats.save(dir.path().join("floats/a.tiff")).unwrap();
    floats.save(dir.path().join("floats/b.tiff")).unwrap();
    let fit = "fit floats --method padim --backbone tiny --image-size 64 --calibration off";
    fail(dir.path(), &format!("{fit} --quiet --out f"), 1, &[".tiff", "--value-range"]);
    succeed(dir.path(), &format!("{fit} --value-range 0,1 --out f"));
}

#[test]
fn a_defect_that_vanishes_is_named_and_counts_at_the_original_resolution() {
    let dir = tempfile::tempdir().unwrap();
    let (size, root) = (ImageSize::square(256), dir.path().join("data"));
    good_images(&root.join("train/normal"), 6, size);
    good_images(&root.join("test/normal"), 3, size);
    for (name, at, side) in [("large", [100, 120], 60), ("tiny", [40, 200], 3)] {
        defective(&root.join(format!("test/anomalous/{name}.png")), size, at, side);
        let inside = |v: u32, from: usize| (from as u32..(from + side) as u32).contains(&v);
        let mask = GrayImage::from_fn(256, 256, |x, y| {
            Luma([if inside(y, at[0]) && inside(x, at[1]) { 255 } else { 0 }])
        });
        std::fs::create_dir_all(root.join("masks")).unwrap();
        mask.save(root.join(format!("masks/{name}.png"))).unwrap();
    }
    let fit = "fit --dataset folder --data-root data --method padim --backbone tiny --image-size 32";
    succeed(dir.path(), &format!("{fit} --calibration off --out model"));
    let eval = |options: &str| {
        let called = line(
            dir.path(),
            &format!("eval --model model --dataset folder --data-root data --json {options}"),
        );
        assert_eq!(called.code, Some(0), "{}", called.stderr);
        (serde_json::from_str::<serde_json::Value>(&called.stdout).unwrap(), called.stderr)
    };
    let (at_network, told) = eval("--out evaluation");
    assert!(told.contains("tiny"), "the vanished mask is told: {told}");
    let written = std::fs::read_to_string(dir.path().join("evaluation/metrics.json")).unwrap();
    assert!(written.contains("vanished") && written.contains("anomalous/tiny"), "{written}");
    let (at_original, told) = eval("--evaluate-at original");
    assert!(!told.contains("tiny"), "{told}");
    assert_ne!(at_network["aupro"], at_original["aupro"]);
    let (without, _) = eval("--no-pixel-metrics");
    assert!(without["aupro"].is_null() && without["image_auroc"].is_number(), "{without}");

    // A test split of one class has what it allows.
    std::fs::remove_dir_all(root.join("test/anomalous")).unwrap();
    std::fs::remove_dir_all(root.join("masks")).unwrap();
    let (one_class, _) = eval("");
    assert!(one_class["image_auroc"].is_null(), "{one_class}");
}

/// The map of a square network is brought to the size of a line of 4 million pixels. The wrong
/// order of the two passes takes 4 GB.
#[cfg(target_os = "linux")]
#[test]
fn a_thin_image_takes_no_memory_by_the_product_of_its_sides() {
    const LENGTH: u32 = 4_000_000;
    const MOST: u64 = 1 << 30;
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("data/part");
    good_images(&part.join("train/normal"), 4, ImageSize::square(40));
    good_images(&part.join("test/normal"), 1, ImageSize::square(40));
    std::fs::create_dir_all(part.join("test/anomalous")).unwrap();
    std::fs::create_dir_all(part.join("masks")).unwrap();
    for (name, width, height) in [("wide", LENGTH, 1), ("tall", 1, LENGTH)] {
        let image =
            GrayImage::from_fn(width, height, |x, y| Luma([if x + y < LENGTH / 2 { 40 } else { 200 }]));
        image.save(part.join(format!("test/anomalous/{name}.png"))).unwrap();
        let mask = GrayImage::from_fn(width, height, |x, y| Luma([255 * u8::from(x + y >= LENGTH / 2)]));
        mask.save(part.join(format!("masks/{name}.png"))).unwrap();
    }
    let fit = "fit data/part/train/normal --method padim --backbone tiny --image-size 256 --quiet";
    succeed(dir.path(), &format!("{fit} --out model"));
    let test = "data/part/test/anomalous";
    let predict = "--model model --out verdicts --maps tiff --masks --quiet";
    let peak = peak_memory(dir.path(), &format!("predict {test}/wide.png {test}/tall.png {predict}"));
    assert!(peak < MOST, "predict took {peak} bytes");
    let data = "--model model --dataset folder --data-root data --quiet";
    let at = "--evaluate-at original --export-maps mvtec --out figures";
    let peak = peak_memory(dir.path(), &format!("eval {data} {at}"));
    assert!(peak < MOST, "eval took {peak} bytes");
    let metrics = std::fs::read_to_string(dir.path().join("figures/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    assert!(metrics["pixel_auroc"].is_number(), "{metrics}");
}
