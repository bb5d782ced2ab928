//! Folders in folders, and masks by their names.

use std::fs;

use fmam_core::SampleSource;
use fmam_datasets::{Counts, DatasetError};

use crate::miniature::Miniature;

fn ids(source: &dyn SampleSource) -> Vec<&str> {
    (0..source.len()).map(|i| source.sample(i).id.as_str()).collect()
}

/// The mask files of each test sample, relative to the folder of masks.
fn masks(mini: &Miniature, source: &dyn SampleSource, folder: &str) -> Vec<Vec<String>> {
    let name =
        |mask: &std::path::PathBuf| mask.strip_prefix(mini.path(folder)).unwrap().display().to_string();
    (0..source.len()).map(|index| source.sample(index).mask_paths.iter().map(name).collect()).collect()
}

#[test]
fn images_in_nested_folders_are_used_beside_flat_ones() {
    let mini = Miniature::of("folder", "");
    for name in ["monday/a", "monday/late/a", "friday/x", ".hidden/z"] {
        mini.image(&format!("bolt/train/normal/{name}.png"), 12, 10, 7);
        mini.image(&format!("bolt/test/normal/{name}.png"), 12, 10, 9);
    }
    let bolt = mini.open("folder", "bolt").unwrap();
    assert_eq!(
        ids(&*bolt.train),
        ["train/normal/x", "train/normal/friday/x", "train/normal/monday/a", "train/normal/monday/late/a"]
    );
    assert_eq!(Counts::of(&bolt), Counts::new(4, 4, 3));

    for (name, category, train, test) in [
        ("mvtec", "nut", "nut/train/good", "nut/test/good"),
        ("btad", "01", "01/train/ok", "01/test/ok"),
        ("magnetic-tile", "magnetic-tile", "MT_Free/Imgs", "MT_Free/Imgs"),
    ] {
        let mini = Miniature::of(name, "");
        let n = |mini: &Miniature| {
            let Counts { train, test_normal, .. } = Counts::of(&mini.open(name, category).unwrap());
            train + test_normal
        };
        let before = n(&mini);
        mini.image(&format!("{train}/more/000.jpg"), 12, 10, 7);
        mini.image(&format!("{test}/more/deep/000.jpg"), 12, 10, 9);
        assert_eq!(n(&mini), before + 2, "{name}");
    }
}

#[test]
fn a_nested_folder_of_normal_images_alone_is_no_empty_split() {
    let mini = Miniature::of("mvtec", "");
    for name in ["000", "001"] {
        mini.remove(&format!("nut/train/good/{name}.png"));
        mini.image(&format!("nut/train/good/monday/{name}.png"), 12, 10, 9);
    }
    assert_eq!(
        ids(&*mini.open("mvtec", "nut").unwrap().train),
        ["train/good/monday/000", "train/good/monday/001"]
    );
}

#[test]
fn stems_are_judged_within_a_folder() {
    let mini = Miniature::of("folder", "");
    mini.image("bolt/train/normal/monday/x.png", 12, 10, 9);
    assert_eq!(mini.open("folder", "bolt").unwrap().train.len(), 2);
    mini.image("bolt/train/normal/monday/x.jpg", 12, 10, 9);
    let error = mini.open("folder", "bolt").unwrap_err();
    assert!(
        matches!(&error, DatasetError::DuplicateStem { first, .. } if first.ends_with("monday/x.jpg")),
        "{error}"
    );
}

#[test]
fn the_mask_of_a_nested_image_lies_at_the_same_place_or_above() {
    let mini = Miniature::of("folder", "");
    for name in ["hole/left/a", "hole/left/b", "hole/left/c"] {
        mini.image(&format!("bolt/test/anomalous/{name}.png"), 12, 10, 7);
    }
    for name in ["hole/left/a_label", "hole/b", "c_GT"] {
        mini.mask(&format!("bolt/masks/{name}.png"), 12, 10);
    }
    let test = mini.open("folder", "bolt").unwrap().test;
    assert_eq!(
        ids(&*test)[3..],
        [
            "test/anomalous/hole/p",
            "test/anomalous/hole/left/a",
            "test/anomalous/hole/left/b",
            "test/anomalous/hole/left/c"
        ]
    );
    assert!((3..7).all(|index| test.sample(index).defect_type.as_deref() == Some("hole")));
    let expected =
        ["hole/p.png", "hole/left/a_label.png", "hole/b.png", "c_GT.png"].map(|name| vec![name.to_owned()]);
    assert_eq!(masks(&mini, &*test, "bolt/masks")[3..], expected);

    let mini = Miniature::of("mvtec", "");
    mini.image("nut/test/cut/deep/000.png", 12, 10, 7);
    mini.mask("nut/ground_truth/cut/deep/000_mask.png", 12, 10);
    let test = mini.open("mvtec", "nut").unwrap().test;
    assert_eq!((ids(&*test)[4], test.sample(4).defect_type.as_deref()), ("test/cut/deep/000", Some("cut")));
    assert_eq!(masks(&mini, &*test, "nut/ground_truth")[4], ["cut/deep/000_mask.png"]);
}

#[test]
fn known_suffixes_are_read_in_every_layout() {
    for (name, category, mask) in [
        ("folder", "bolt", "bolt/masks/p.png"),
        ("mvtec", "nut", "nut/ground_truth/bent/000_mask.png"),
        ("btad", "01", "01/ground_truth/ko/0000.png"),
        ("magnetic-tile", "magnetic-tile", "MT_Crack/Imgs/a.png"),
        ("zju-leaper", "total", "Annotations/masks/00010.png"),
        ("mvtec-ad-2", "can", "can/test_public/ground_truth/bad/000_regular_mask.png"),
        ("kolektor-sdd2", "kolektor-sdd2", "test/20000_GT.png"),
    ] {
        let expected = Counts::of(&Miniature::of(name, "").open(name, category).unwrap());
        let base = mask.trim_end_matches(".png").trim_end_matches("_mask").trim_end_matches("_GT");
        for suffix in ["_mask", "_gt", "_label", "_GT", "_Mask"] {
            let mini = Miniature::of(name, "");
            fs::rename(mini.path(mask), mini.path(&format!("{base}{suffix}.png"))).unwrap();
            assert_eq!(Counts::of(&mini.open(name, category).unwrap()), expected, "{name}: {suffix}");
        }
    }
}

#[test]
fn masks_that_fit_no_image_are_named_in_every_layout() {
    for (name, category, mask, expected) in [
        ("folder", "bolt", "bolt/masks/q_mask.png", "bolt/masks/q.png"),
        ("mvtec", "nut", "nut/ground_truth/bent/000_mask.png", "nut/ground_truth/bent/000_mask.png"),
        ("btad", "01", "01/ground_truth/ko/0000.png", "01/ground_truth/ko/0000_mask.png"),
        ("magnetic-tile", "magnetic-tile", "MT_Crack/Imgs/a.png", "MT_Crack/Imgs/a.png"),
        ("kolektor-sdd2", "kolektor-sdd2", "test/20000_GT.png", "test/20000_GT.png"),
    ] {
        let mini = Miniature::of(name, "");
        let stray =
            mini.path(mask).with_file_name(if name == "kolektor-sdd2" { "seg_GT.png" } else { "seg.png" });
        fs::rename(mini.path(mask), &stray).unwrap();
        let error = mini.open(name, category).unwrap_err();
        let DatasetError::MisnamedMask { mask, expected: at, .. } = &error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!((mask, at), (&stray, &mini.path(expected)), "{name}");
        assert!(error.to_string().contains(&mini.path(expected).display().to_string()), "{error}");
    }
    for (name, category, stray, image) in [
        ("folder", "bolt", "bolt/masks/r.png", "bolt/test/anomalous/r.bmp"),
        ("magnetic-tile", "magnetic-tile", "MT_Crack/Imgs/r.png", "MT_Crack/Imgs/r.jpg"),
        ("zju-leaper", "pattern2", "Annotations/masks/00077.png", "Images/00077.jpg"),
        ("visa", "candle", "candle/Data/Masks/Anomaly/077.png", "candle/Data/Images/Anomaly/077.JPG"),
        ("mvtec", "nut", "nut/ground_truth/000_mask.png", "nut/test/TYPE/000_mask.png"),
    ] {
        let mini = Miniature::of(name, "");
        mini.mask(stray, 12, 10);
        let error = mini.open(name, category).unwrap_err();
        let DatasetError::UnusedMask { mask, expected } = &error else { panic!("{name}: {error:?}") };
        assert_eq!((mask, expected), (&mini.path(stray), &mini.path(image)), "{name}");
    }
}

#[test]
fn masks_of_which_none_fits_are_no_set_without_masks() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/masks");
    for name in ["seg_p", "seg_q"] {
        mini.mask(&format!("bolt/masks/{name}.png"), 12, 10);
    }
    let error = mini.open("folder", "bolt").unwrap_err();
    assert!(
        matches!(&error, DatasetError::MisnamedMask { mask, .. } if mask.ends_with("masks/seg_p.png")),
        "{error:?}"
    );
    // A name of a normal image does not help.
    mini.remove("bolt/masks");
    mini.mask("bolt/masks/y.png", 12, 10);
    assert!(matches!(mini.open("folder", "bolt"), Err(DatasetError::MisnamedMask { .. })));
}

#[test]
fn masks_without_anomalous_images_fit_none() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/test/anomalous");
    let error = mini.open("folder", "bolt").unwrap_err();
    assert!(
        matches!(&error, DatasetError::UnusedMask { mask, .. } if mask.ends_with("masks/p.png")),
        "{error:?}"
    );
}

#[test]
fn masks_of_normal_images_are_passed_over_where_no_other_is_missing() {
    let mini = Miniature::of("folder", "");
    mini.blank_mask("bolt/masks/y_mask.png", 12, 10);
    assert_eq!(Counts::of(&mini.open("folder", "bolt").unwrap()), Counts::new(1, 1, 3));
}

#[test]
fn two_masks_of_one_image_are_refused() {
    for (name, category, second) in [
        ("folder", "bolt", "bolt/masks/p_mask.png"),
        ("mvtec", "nut", "nut/ground_truth/bent/000.png"),
        ("magnetic-tile", "magnetic-tile", "MT_Crack/Imgs/a_gt.png"),
        ("btad", "01", "01/ground_truth/ko/0000/1.png"),
    ] {
        let mini = Miniature::of(name, "");
        mini.mask(second, 12, 10);
        let error = mini.open(name, category).unwrap_err();
        assert!(matches!(error, DatasetError::SeveralMasks { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(second), "{error}");
    }
}

#[test]
fn a_name_that_looks_like_a_suffix_may_be_that_of_an_image() {
    let mini = Miniature::of("folder", "");
    mini.image("bolt/test/anomalous/p_gt.png", 12, 10, 3);
    mini.mask("bolt/masks/p_gt.png", 12, 10);
    let test = mini.open("folder", "bolt").unwrap().test;
    let expected = [vec![], vec!["p.png".to_owned()], vec!["p_gt.png".to_owned()]];
    assert_eq!(masks(&mini, &*test, "bolt/masks")[..3], expected);
}

#[test]
fn a_folder_of_masks_is_their_union() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/masks/p.png");
    for (name, left) in [("p/0.png", 0), ("p/1.png", 9)] {
        let column = image::GrayImage::from_fn(12, 10, |x, _| image::Luma([if x == left { 1 } else { 0 }]));
        fs::create_dir_all(mini.path("bolt/masks/p")).unwrap();
        column.save(mini.path("bolt/masks").join(name)).unwrap();
    }
    let opened =
        crate::miniature::open(mini.dir.path(), "folder", "bolt", fmam_core::ImageSize::new(10, 12)).unwrap();
    assert_eq!(masks(&mini, &*opened.test, "bolt/masks")[1], ["p/0.png", "p/1.png"]);
    let mask = opened.test.mask(1).unwrap().unwrap();
    assert!(mask.at(4, 0) && mask.at(4, 9) && mask.area() == 20);
    mini.mask("bolt/masks/p/2.png", 10, 12);
    assert!(
        matches!(mini.open("folder", "bolt"), Err(DatasetError::MaskSize { mask, .. }) if mask.ends_with("p/2.png"))
    );
}

#[cfg(unix)]
#[test]
fn linked_folders_are_read_once_and_circles_end() {
    use std::os::unix::fs::symlink;

    let mini = Miniature::of("folder", "");
    let normal = mini.path("bolt/train/normal");
    mini.image("bolt/train/normal/monday/a.png", 12, 10, 7);
    mini.image("elsewhere/b.png", 12, 10, 8);
    symlink(&normal, normal.join("monday/up")).unwrap();
    symlink(normal.join("monday"), normal.join("latest")).unwrap();
    symlink(mini.path("elsewhere"), normal.join("tuesday")).unwrap();
    symlink(mini.path("elsewhere/b.png"), normal.join("c.png")).unwrap();
    let train = mini.open("folder", "bolt").unwrap().train;
    assert_eq!(
        ids(&*train),
        ["train/normal/c", "train/normal/x", "train/normal/monday/a", "train/normal/tuesday/b"]
    );
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_named() {
    let mini = Miniature::of("folder", "");
    let path = mini.path("bolt/train/normal/pipe.png");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(
        matches!(mini.open("folder", "bolt"), Err(DatasetError::NotRegular { path: named }) if named == path)
    );
}
