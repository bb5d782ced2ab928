//! Names of files and folders that are not UTF-8: each is a name like any other, unless two read
//! the same.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fmam_core::ImageSize;
use fmam_datasets::{Category, Counts, DATASETS, DatasetError, DemoConfig, dataset, write_demo};

use crate::miniature::{Miniature, SIZE, options};

/// Below the miniature: parts of a path, which need not be text.
fn path(mini: &Miniature, parts: &[&[u8]]) -> PathBuf {
    parts.iter().fold(mini.dir.path().to_owned(), |path, part| path.join(OsStr::from_bytes(part)))
}

fn rename(mini: &Miniature, from: &str, to: &[&[u8]]) {
    let to = path(mini, to);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::rename(mini.path(from), to).unwrap();
}

fn open(root: &Path, name: &str, category: &str) -> Result<Category, DatasetError> {
    (dataset(name)?.open)(&options(root))?.category(category, &SIZE.into())
}

#[test]
fn every_layout_is_read_from_a_root_of_any_name() {
    for (entry, layout) in DATASETS.iter().filter_map(|entry| Some((entry, entry.layout.as_ref()?))) {
        let mini = Miniature::new();
        let root = path(&mini, &[b"p\xffq"]);
        layout.example.write(&root).unwrap();
        for (category, counts) in layout.example.counts {
            let opened = open(&root, entry.name, category).unwrap();
            assert_eq!(Counts::of(&opened), *counts);
            opened.train.image(0).unwrap();
        }
    }
}

#[test]
fn images_masks_and_types_may_have_any_name() {
    let mini = Miniature::of("mvtec", "");
    rename(&mini, "nut/train/good/000.png", &[b"nut/train/good", b"p\xffq.png"]);
    rename(&mini, "nut/test/bent/000.png", &[b"nut/test/bent", b"\xfe.png"]);
    rename(&mini, "nut/ground_truth/bent/000_mask.png", &[b"nut/ground_truth/bent", b"\xfe_mask.png"]);
    rename(&mini, "nut/test/cut", &[b"nut/test", b"c\xfft"]);
    rename(&mini, "nut/ground_truth/cut", &[b"nut/ground_truth", b"c\xfft"]);
    let nut = mini.open("mvtec", "nut").unwrap();
    assert_eq!(Counts::of(&nut), Counts::new(2, 1, 3));
    assert_eq!(nut.train.sample(1).id, "train/good/p\u{fffd}q");
    assert!((0..nut.test.len()).all(|index| nut.test.mask(index).unwrap().is_some()));

    let mini = Miniature::of("folder", "");
    rename(&mini, "bolt/test/anomalous/hole", &[b"bolt/test/anomalous", b"h\xff"]);
    rename(&mini, "bolt/masks/hole", &[b"bolt/masks", b"h\xff"]);
    let bolt = mini.open("folder", "bolt").unwrap();
    assert_eq!(bolt.test.sample(3).defect_type.as_deref(), Some("h\u{fffd}"));
    assert!(bolt.test.mask(3).unwrap().is_some_and(|mask| !mask.is_empty()));
}

#[test]
fn two_names_that_read_the_same_are_refused_with_their_bytes() {
    let told = |error: &DatasetError| {
        assert!(matches!(error, DatasetError::SharedName { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(r"\xFE") && message.contains(r"\xFF"), "{message}");
    };
    let mini = Miniature::of("mvtec", "");
    rename(&mini, "nut/train/good/000.png", &[b"nut/train/good", b"\xfe.png"]);
    rename(&mini, "nut/train/good/001.png", &[b"nut/train/good", b"\xff.png"]);
    told(&mini.open("mvtec", "nut").unwrap_err());

    let mini = Miniature::of("folder", "");
    std::fs::create_dir_all(path(&mini, &[b"\xfe", b"train"])).unwrap();
    std::fs::create_dir_all(path(&mini, &[b"\xff", b"train"])).unwrap();
    told(&mini.open("folder", "bolt").unwrap_err());
}

#[test]
fn the_demo_set_is_written_to_a_folder_of_any_name() {
    let mini = Miniature::new();
    let root = path(&mini, &[b"p\xffq"]);
    let config = DemoConfig { n_train: 1, n_test_normal: 1, n_test_per_defect: 1, ..DemoConfig::default() };
    write_demo(&root, &config, ImageSize::square(16)).unwrap();
    assert_eq!(Counts::of(&open(&root, "mvtec", "plain").unwrap()), Counts::new(1, 1, 6));
}
