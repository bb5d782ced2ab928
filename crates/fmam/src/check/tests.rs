//! Folders with one fault of each kind.

use std::fs;
use std::path::Path;

use fmam_core::{ImageSize, Reading, RgbImage, Silent};
use fmam_experiment::Registry;
use fmam_report::write_png;
use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, GrayImage, ImageEncoder};
use serde_json::Value;

use super::{CheckOptions, Checked, Finding, Severity, Subject, TakenFor, check};
use crate::output::check_table;

fn write(root: &Path, name: &str, size: (usize, usize), shade: u8) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(ImageSize::new(size.0, size.1), |y, x| [shade, y as u8, x as u8]);
    write_png(&path, &image).unwrap();
}

/// A mask with one anomalous square of `side` pixels.
fn mask(root: &Path, name: &str, size: (usize, usize), side: usize) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let is_defect = |y: usize, x: usize| (9..9 + side).contains(&y) && (9..9 + side).contains(&x);
    let image =
        RgbImage::from_fn(ImageSize::new(size.0, size.1), |y, x| [255 * u8::from(is_defect(y, x)); 3]);
    write_png(&path, &image).unwrap();
}

fn checked(folder: &Path) -> Checked {
    let options = CheckOptions { threads: 2, ..CheckOptions::default() };
    check(&Subject::folder(&Registry::builtin(), folder).unwrap(), &options, &Silent).unwrap()
}

/// A 16-bit grey PGM file with one value besides 0.
fn deep(root: &Path, name: &str, value: u16) {
    let mut bytes = b"P5 4 4 65535\n".to_vec();
    bytes.extend(std::iter::repeat_n(0, 30));
    bytes.extend(value.to_be_bytes());
    fs::write(root.join(name), bytes).unwrap();
}

#[test]
fn a_folder_of_images_is_read_to_its_end_whatever_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("good");
    write(&root, "a.png", (40, 40), 1);
    write(&root, "monday/b.png", (40, 40), 2);
    write(&root, "copy.png", (40, 40), 1);
    write(&root, "wide.png", (10, 40), 3);
    deep(&root, "deep.pgm", 4000);
    fs::write(root.join("broken.png"), "no image").unwrap();
    fs::write(root.join("cut.png"), &fs::read(root.join("a.png")).unwrap()[..90]).unwrap();
    fs::write(root.join("notes.txt"), "x").unwrap();

    let checked = checked(&root);
    assert_eq!(checked.taken_for, TakenFor::Images { could_be: Vec::new() });
    assert_eq!(checked.n_errors(), 2);
    let class = &checked.categories[0].classes[0];
    assert_eq!((class.n_images, class.n_refused, class.n_repeated), (7, 2, 1));
    assert_eq!((checked.categories[0].bits, class.squeeze), (Some(12), Some(4.0)));
    let has = |is: &dyn Fn(&Finding) -> bool| checked.findings.iter().any(is);
    for name in ["broken.png", "cut.png"] {
        assert!(has(
            &|f| matches!(f, Finding::Refused { path, error } if path.ends_with(name) && error.contains(name))
        ));
    }
    assert!(has(&|f| matches!(f, Finding::Repeated { first, second, .. }
        if first.ends_with("a.png") && second.ends_with("copy.png"))));
    assert!(has(&|f| matches!(f, Finding::Squeezed { path, n: 1, .. } if path.ends_with("wide.png"))));
    assert!(has(&|f| matches!(f, Finding::Depth { bits: 12, highest: 4000, .. })));
    assert!(has(&|f| matches!(f, Finding::OtherFiles { path, n: 1 } if path.ends_with("notes.txt"))));
    // Errors come first.
    let severities: Vec<Severity> = checked.findings.iter().map(Finding::severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
}

/// A data set in the layout of `folder`.
fn dataset(root: &Path) {
    for (name, shade) in [("train/normal/0", 1), ("train/normal/1", 2), ("test/normal/2", 3)] {
        write(root, &format!("nut/{name}.png"), (600, 600), shade);
    }
    for (name, shade, side) in [("cut/4", 4, 200), ("cut/5", 5, 2), ("dent/6", 6, 40)] {
        write(root, &format!("nut/test/anomalous/{name}.png"), (600, 600), shade);
        mask(root, &format!("nut/masks/{name}.png"), (600, 600), side);
    }
}

#[test]
fn a_layout_is_recognised_and_its_table_tells_what_vanishes() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path());
    let of_root = checked(dir.path());
    assert_eq!(of_root.n_errors(), 0, "{:?}", of_root.findings);
    let datasets = vec!["folder".to_owned()];
    assert_eq!(of_root.taken_for, TakenFor::Recognised { datasets, root: dir.path().to_owned() });
    let vanishing = of_root.findings.iter().find_map(|finding| match finding {
        Finding::Vanishing { size, n_images, n_regions, first, .. } => {
            Some((size, n_images, n_regions, first))
        }
        _ => None,
    });
    let (size, n_images, n_regions, first) = vanishing.unwrap();
    assert_eq!((*size, *n_images, *n_regions), (ImageSize::square(256), 1, 1));
    assert!(first[0].ends_with("cut/5.png"));
    let table = check_table(&of_root);
    let rows: Vec<&str> = table.lines().skip(2).collect();
    expect_test::expect![[r#"
        category  split  class   images  refused  height x width  files              turned  repeated  masks  defects  smallest  gone at 128  at 256  at 512  at 1024
        nut       train  normal       2        –  600x600         PNG, 8-bit colour  –              –      –        –         –            –       –       –        –
        nut       test   normal       1        –  600x600         PNG, 8-bit colour  –              –      –        –         –            –       –       –        –
        nut       test   cut          2        –  600x600         PNG, 8-bit colour  –              –      2        2      4 px            1       1       –        –
        nut       test   dent         1        –  600x600         PNG, 8-bit colour  –              –      1        1   1600 px            –       –       –        –
    "#]]
    .assert_eq(&format!("{}\n", rows.join("\n")));
    // The folder of a category, too.
    let of_category = checked(&dir.path().join("nut"));
    assert_eq!(of_category.categories[0].classes.len(), 4);
}

#[test]
fn faults_of_a_data_set_do_not_hide_one_another() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path());
    let nut = dir.path().join("nut");
    fs::write(nut.join("test/anomalous/cut/4.png"), "no image").unwrap();
    mask(&nut, "masks/cut/5.png", (300, 300), 9);
    mask(&nut, "masks/dent/6.png", (600, 600), 0);
    fs::copy(nut.join("train/normal/0.png"), nut.join("test/normal/2.png")).unwrap();
    write(&nut, "spare/9.png", (8, 8), 9);
    let checked = checked(dir.path());
    let errors: Vec<String> =
        checked.findings.iter().take(checked.n_errors()).map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].contains("4.png") && errors[1].contains("300x300") && errors[2].contains("6.png"));
    let json: Value = serde_json::to_value(&checked).unwrap();
    let kinds: Vec<&str> =
        json["findings"].as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap()).collect();
    assert_eq!(&kinds[..3], ["refused", "mask-refused", "mask-refused"]);
    assert!(kinds.contains(&"repeated") && kinds.contains(&"unused-images"), "{kinds:?}");
    for key in ["severity", "kind", "text"] {
        assert!(json["findings"][0][key].is_string(), "{key}");
    }
    let class = &json["categories"][0]["classes"][0];
    for key in
        ["split", "class", "n_images", "n_refused", "sizes", "files", "orientations", "squeeze", "vanishing"]
    {
        assert!(!class[key].is_null(), "{key}");
    }

    // Masks that fit no image: the training images are read all the same.
    mask(&nut, "masks/cut/7.png", (600, 600), 9);
    let broken = self::checked(dir.path());
    assert!(
        matches!(&broken.findings[0], Finding::Layout { error, .. } if error.contains("7.png")),
        "{:?}",
        broken.findings
    );
    assert_eq!(broken.categories[0].classes.len(), 1);
}

/// The JSON of the finding called `kind`, of a choice the one called `choice`.
fn found(checked: &Checked, kind: &str, choice: Option<&str>) -> Value {
    let json = serde_json::to_value(checked).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let is_it = |finding: &&Value| finding["kind"] == kind && finding["choice"].as_str() == choice;
    let mut of_kind = findings.iter().filter(is_it);
    let found = of_kind.next().unwrap_or_else(|| panic!("no {kind} {choice:?} in {findings:#?}")).clone();
    assert!(of_kind.next().is_none(), "several findings of {kind}");
    found
}

/// Checks the severity, the file and the number of files of a finding, and that its text names the
/// file.
#[track_caller]
fn tells(finding: &Value, severity: &str, file: &str, n: usize) {
    let path = finding["path"].as_str().or(finding["mask"].as_str()).unwrap();
    assert!(path.ends_with(file), "{finding}");
    assert_eq!((&finding["severity"], finding["n"].as_u64().unwrap_or(1)), (&severity.into(), n as u64));
    assert!(finding["text"].as_str().unwrap().contains(file), "{finding}");
}

/// A PNG file with the EXIF orientation `orientation`.
fn turned(path: &Path, image: &DynamicImage, orientation: u8) {
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    let exif = [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat();
    let mut file = fs::File::create(path).unwrap();
    let mut encoder = PngEncoder::new(&mut file);
    encoder.set_exif_metadata(exif).unwrap();
    image.write_with_encoder(encoder).unwrap();
}

/// A GIF file of two frames.
fn animated(path: &Path) {
    let mut encoder = GifEncoder::new(fs::File::create(path).unwrap());
    for level in [10_u8, 200] {
        let frame = image::RgbaImage::from_pixel(40, 40, image::Rgba([level, level, level, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
}

#[test]
fn each_kind_of_file_that_is_read_in_a_way_of_its_own_has_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("good");
    write(&root, "a.png", (40, 40), 1);
    let grey = |level: u8| DynamicImage::from(GrayImage::from_pixel(40, 40, image::Luma([level])));
    turned(&root.join("b.png"), &grey(60), 6);
    image::RgbaImage::from_pixel(40, 40, image::Rgba([9, 9, 9, 100])).save(root.join("c.png")).unwrap();
    animated(&root.join("d.gif"));
    image::Rgb32FImage::from_pixel(40, 40, image::Rgb([0.5; 3])).save(root.join("e.tiff")).unwrap();
    let image = checked(&root);
    let turned = found(&image, "turned", None);
    tells(&turned, "note", "b.png", 1);
    assert_eq!(turned["orientation"], 6);
    tells(&found(&image, "alpha", None), "note", "c.png", 1);
    tells(&found(&image, "frames", None), "warning", "d.gif", 1);
    assert_eq!(image.categories[0].classes[0].n_more_frames, 1);
    let refused = found(&image, "refused", None);
    tells(&refused, "error", "e.tiff", 1);
    assert!(refused["error"].as_str().unwrap().contains("0.5"), "{refused}");

    // Within a range the numbers are read, and those beyond it are told.
    image::Rgb32FImage::from_pixel(40, 40, image::Rgb([2.5; 3])).save(root.join("f.tiff")).unwrap();
    let with = |reading: Reading| {
        let options = CheckOptions { reading, threads: 2, ..CheckOptions::default() };
        check(&Subject::folder(&Registry::builtin(), &root).unwrap(), &options, &Silent).unwrap()
    };
    let between = with(Reading { values: "0,1".parse().unwrap(), ..Reading::default() });
    assert_eq!(between.n_errors(), 0, "{:?}", between.findings);
    tells(&found(&between, "choice", Some("clamped")), "warning", "f.tiff", 1);

    // A file beyond the limit is refused by its header.
    let limited = with(Reading { max_bytes: 3 * 40 * 40, ..Reading::default() });
    let refused: Vec<String> =
        limited.findings[..limited.n_errors()].iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused[0].contains("c.png") && refused[0].contains("40x40"), "{refused:?}");
}

#[test]
fn values_above_the_depth_of_the_training_images_have_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path());
    let nut = dir.path().join("nut");
    deep(&nut, "train/normal/deep.pgm", 1000);
    deep(&nut, "test/normal/bright.pgm", 9000);
    let checked = checked(dir.path());
    let above = found(&checked, "above-depth", None);
    tells(&above, "warning", "bright.pgm", 1);
    assert_eq!((&above["bits"], &above["highest"]), (&10.into(), &9000.into()));
    tells(&found(&checked, "depth", None), "note", "deep.pgm", 1);
}

#[test]
fn masks_that_are_soft_open_or_missing_have_findings() {
    let dir = tempfile::tempdir().unwrap();
    dataset(dir.path());
    let nut = dir.path().join("nut");
    let soft = GrayImage::from_fn(600, 600, |x, _| image::Luma([(255 - x.min(255)) as u8]));
    soft.save(nut.join("masks/cut/4.png")).unwrap();
    let scene = GrayImage::from_fn(600, 600, |x, y| image::Luma([(x + 2 * y) as u8]));
    turned(&nut.join("test/anomalous/dent/6.png"), &scene.into(), 6);
    let with_masks = checked(dir.path());
    tells(&found(&with_masks, "soft-masks", None), "note", "cut/4.png", 1);
    tells(&found(&with_masks, "choice", Some("mask-orientation")), "note", "masks/dent/6.png", 1);
    assert_eq!(with_masks.categories[0].classes[2].n_soft, 1);

    fs::remove_dir_all(nut.join("masks")).unwrap();
    let without = found(&checked(dir.path()), "no-masks", None);
    assert_eq!((&without["category"], &without["severity"]), (&"nut".into(), &"note".into()));
    fs::remove_dir_all(nut.join("test/anomalous")).unwrap();
    let one_class = found(&checked(dir.path()), "one-class", None);
    assert_eq!((&one_class["category"], &one_class["lacks_normal"]), (&"nut".into(), &false.into()));
}

/// The data set `name` in `root` by its name.
fn named(root: &Path, name: &str) -> Checked {
    let subject = Subject::dataset(&Registry::builtin(), name, Some(root.to_owned()), None).unwrap();
    check(&subject, &CheckOptions { threads: 2, ..CheckOptions::default() }, &Silent).unwrap()
}

/// The example of the data set `name`.
fn example(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let layout = fmam_datasets::dataset(name).unwrap().layout.as_ref().unwrap();
    layout.example.write(dir.path()).unwrap();
    dir
}

#[test]
fn a_blank_mask_that_its_data_set_is_known_for_has_a_finding() {
    let dir = example("magnetic-tile");
    GrayImage::new(12, 10).save(dir.path().join("MT_Crack/Imgs/a.png")).unwrap();
    let checked = named(dir.path(), "magnetic-tile");
    assert_eq!(checked.n_errors(), 0, "{:?}", checked.findings);
    tells(&found(&checked, "blank-mask", None), "warning", "MT_Crack/Imgs/a.png", 1);
}

#[test]
fn choices_of_lists_and_layouts_are_findings_and_not_only_warnings() {
    let dir = example("csv");
    let list = "path,label,camera\na/0.png,0,7\na/1.png,0,7\na/3.png,1,7\n";
    fs::write(dir.path().join("list.csv"), list).unwrap();
    let checked = named(dir.path(), "csv");
    tells(&found(&checked, "choice", Some("no-splits")), "warning", "list.csv", 1);
    tells(&found(&checked, "choice", Some("no-categories")), "note", "list.csv", 1);
    let unknown = found(&checked, "choice", Some("unknown-column"));
    assert!(unknown["clause"].as_str().unwrap().contains("`camera`"), "{unknown}");
    assert_eq!(found(&checked, "one-class", None)["lacks_normal"], true);

    let dir = example("zju-leaper");
    let twice = r#"{"normal": {"train": [1, 2, 2], "test": [3]}, "defect": {"test": [10]}}"#;
    fs::write(dir.path().join("ImageSets/Patterns/pattern2.json"), twice).unwrap();
    let checked = named(dir.path(), "zju-leaper");
    let repeated = found(&checked, "choice", Some("repeated-ids"));
    tells(&repeated, "warning", "pattern2.json", 1);
    assert!(repeated["text"].as_str().unwrap().contains("2 in normal.train"), "{repeated}");

    let dir = example("mvtec-ad-2");
    let private = dir.path().join("can/test_private");
    fs::create_dir(&private).unwrap();
    let checked = named(dir.path(), "mvtec-ad-2");
    tells(&found(&checked, "choice", Some("unused-folder")), "note", "can/test_private", 1);

    let dir = example("kolektor-sdd2");
    for name in ["10000", "10000_GT"] {
        let train = dir.path().join("train");
        fs::copy(train.join(format!("{name}.png")), train.join(format!("{name} (copy).png"))).unwrap();
    }
    let checked = named(dir.path(), "kolektor-sdd2");
    tells(&found(&checked, "choice", Some("copies")), "note", "(copy).png", 2);
}
