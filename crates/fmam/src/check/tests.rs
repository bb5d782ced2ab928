//! Folders with one fault of each kind.

use std::fs;
use std::path::Path;

use fmam_core::{ImageSize, RgbImage, Silent};
use fmam_experiment::Registry;
use fmam_report::write_png;
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
