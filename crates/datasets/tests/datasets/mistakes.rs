//! Every way in which a data set can be wrong gives its own error, and the message names the file.

use fmam_core::ImageSize;
use fmam_datasets::{Counts, DatasetError};

use crate::miniature::{Miniature, open};

/// Opens `category` after a mistake was made; the error's message must contain all of `names`.
#[track_caller]
fn error_of(mini: &Miniature, name: &str, category: &str, names: &[&str]) -> DatasetError {
    let error = mini.open(name, category).expect_err("the mistake was not noticed");
    let message = error.to_string();
    for name in names {
        assert!(message.contains(name), "`{message}` does not name {name}");
    }
    error
}

#[test]
fn a_missing_split_is_named() {
    for (mini, name, category, gone) in [
        (Miniature::of("mvtec", ""), "mvtec", "nut", "nut/train/good"),
        (Miniature::of("mvtec", ""), "mvtec", "nut", "nut/test"),
        (Miniature::of("magnetic-tile", ""), "magnetic-tile", "magnetic-tile", "MT_Free"),
        (Miniature::of("folder", ""), "folder", "bolt", "bolt/train"),
        (Miniature::of("folder", ""), "folder", "bolt", "bolt/test"),
    ] {
        mini.remove(gone);
        let error = error_of(&mini, name, category, &[gone, "missing"]);
        assert!(matches!(error, DatasetError::MissingSplit { .. }), "{error:?}");
    }
}

#[test]
fn an_empty_category_is_named() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/train/good/000.png");
    mini.remove("nut/train/good/001.png");
    assert!(matches!(error_of(&mini, "mvtec", "nut", &["nut/train/good"]), DatasetError::NoImages { .. }));

    let mini = Miniature::of("magnetic-tile", "");
    for name in ["b", "c", "d", "e", "f"] {
        mini.remove(&format!("MT_Free/Imgs/{name}.jpg"));
    }
    // The only normal image is the first, which is for testing.
    let error = error_of(&mini, "magnetic-tile", "magnetic-tile", &["MT_Free/Imgs"]);
    assert!(matches!(error, DatasetError::NoImages { .. }), "{error:?}");
}

#[test]
fn a_test_split_of_one_class_opens_and_an_empty_one_is_named() {
    let counts =
        |mini: &Miniature, name: &str, category: &str| Counts::of(&mini.open(name, category).unwrap());
    let mini = Miniature::of("mvtec", "");
    for gone in ["nut/test/bent", "nut/test/cut", "nut/ground_truth"] {
        mini.remove(gone);
    }
    assert_eq!(counts(&mini, "mvtec", "nut"), Counts::new(2, 1, 0));
    mini.remove("nut/test/good");
    let error = error_of(&mini, "mvtec", "nut", &["nut/test/good"]);
    assert!(matches!(error, DatasetError::MissingSplit { .. }), "{error:?}");
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/test/good");
    assert_eq!(counts(&mini, "mvtec", "nut"), Counts::new(2, 0, 3));

    let mini = Miniature::of("magnetic-tile", "");
    mini.remove("MT_Crack");
    assert_eq!(counts(&mini, "magnetic-tile", "magnetic-tile"), Counts::new(4, 2, 0));

    for (gone, expected) in [("normal", Counts::new(1, 0, 3)), ("anomalous", Counts::new(1, 1, 0))] {
        let mini = Miniature::of("folder", "");
        mini.remove(&format!("bolt/test/{gone}"));
        if gone == "anomalous" {
            mini.remove("bolt/masks");
        }
        assert_eq!(counts(&mini, "folder", "bolt"), expected);
    }
    let mini = Miniature::of("zju-leaper", "");
    mini.write("ImageSets/total.json", br#"{"normal": {"train": [1]}, "defect": {}}"#);
    let error = error_of(&mini, "zju-leaper", "total", &["no image"]);
    assert!(matches!(error, DatasetError::EmptyTest { .. }), "{error:?}");
}

#[test]
fn a_missing_mask_names_the_image_and_where_the_mask_belongs() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/ground_truth/cut/001_mask.png");
    let error = error_of(&mini, "mvtec", "nut", &["test/cut/001.png", "ground_truth/cut/001_mask.png"]);
    assert!(matches!(error, DatasetError::MissingMask { .. }), "{error:?}");
    mini.remove("nut/ground_truth");
    error_of(&mini, "mvtec", "nut", &["test/bent/000.png"]);

    let mini = Miniature::of("magnetic-tile", "");
    mini.remove("MT_Crack/Imgs/a.png");
    let error = error_of(&mini, "magnetic-tile", "magnetic-tile", &["MT_Crack/Imgs/a.jpg"]);
    assert!(matches!(error, DatasetError::MissingMask { .. }), "{error:?}");
}

#[test]
fn a_mask_without_its_image_is_refused() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/test/cut/001.png");
    let error = error_of(&mini, "mvtec", "nut", &["ground_truth/cut/001_mask.png", "test/cut/001.png"]);
    assert!(matches!(error, DatasetError::UnusedMask { .. }), "{error:?}");

    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/test/bent");
    let error = error_of(&mini, "mvtec", "nut", &["nut/ground_truth/bent", "nut/test/bent"]);
    assert!(matches!(error, DatasetError::UnusedMask { .. }), "{error:?}");
}

#[test]
fn a_defect_type_without_images_is_named() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/test/cut/000.png");
    mini.remove("nut/test/cut/001.png");
    assert!(matches!(error_of(&mini, "mvtec", "nut", &["nut/test/cut"]), DatasetError::NoImages { .. }));

    let mini = Miniature::of("folder", "");
    mini.remove("bolt/test/anomalous/hole/p.bmp");
    let error = error_of(&mini, "folder", "bolt", &["anomalous/hole"]);
    assert!(matches!(error, DatasetError::NoImages { .. }), "{error:?}");
}

#[test]
fn masks_for_some_images_only_are_refused() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/masks/p.png");
    mini.remove("bolt/masks/q_mask.png");
    let error = error_of(&mini, "folder", "bolt", &["2 of 3", "anomalous/p.bmp", "remove all masks"]);
    assert!(matches!(error, DatasetError::SomeMasksMissing { without: 2, of: 3, .. }), "{error:?}");
}

#[test]
fn a_mask_without_a_defect_is_found_when_it_is_decoded() {
    for (mini, name, category, mask) in [
        (Miniature::of("mvtec", ""), "mvtec", "nut", "nut/ground_truth/bent/000_mask.png"),
        (Miniature::of("folder", ""), "folder", "bolt", "bolt/masks/p.png"),
    ] {
        let (width, height) = image::image_dimensions(mini.path(mask)).unwrap();
        mini.blank_mask(mask, width, height);
        let error = mini.open(name, category).unwrap().test.mask(1).unwrap_err();
        assert!(error.to_string().contains(mask), "{error}");
        assert!(matches!(error.downcast_ref(), Some(DatasetError::BlankMask { .. })), "{error:?}");
    }
}

#[test]
fn a_mask_of_another_size_names_both_files_and_sizes() {
    let mini = Miniature::of("mvtec", "");
    mini.mask("nut/ground_truth/cut/001_mask.png", 10, 12);
    let names = ["test/cut/001.png", "cut/001_mask.png", "10x12", "12x10"];
    let error = error_of(&mini, "mvtec", "nut", &names);
    let DatasetError::MaskSize { mask_size, image_size, .. } = error else { panic!("{error:?}") };
    assert_eq!((mask_size, image_size), (ImageSize::new(12, 10), ImageSize::new(10, 12)));
}

#[test]
fn two_images_of_one_stem_are_refused() {
    let mini = Miniature::of("mvtec", "");
    mini.image("nut/test/cut/000.bmp", 12, 10, 0);
    let error = error_of(&mini, "mvtec", "nut", &["test/cut/000.bmp", "test/cut/000.png"]);
    assert!(matches!(error, DatasetError::DuplicateStem { .. }), "{error:?}");
}

#[test]
fn one_mask_for_two_images_is_refused() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/masks/hole");
    mini.mask("bolt/masks/p.png", 12, 10);
    let error = error_of(&mini, "folder", "bolt", &["masks/p.png", "anomalous/p.bmp", "hole/p.bmp"]);
    assert!(matches!(error, DatasetError::SharedMask { .. }), "{error:?}");
}

#[test]
fn a_mask_that_is_no_image_is_found_when_the_category_is_opened() {
    let mini = Miniature::of("mvtec", "");
    mini.write("nut/ground_truth/bent/000_mask.png", b"not a picture");
    let error = error_of(&mini, "mvtec", "nut", &["bent/000_mask.png"]);
    assert!(matches!(error, DatasetError::Decode { .. }), "{error:?}");
}

#[test]
fn a_damaged_image_is_found_when_it_is_decoded() {
    let mini = Miniature::of("mvtec", "");
    mini.write("nut/train/good/001.png", b"");
    let train = open(mini.dir.path(), "mvtec", "nut", ImageSize::square(8)).unwrap().train;
    assert!(train.image(0).is_ok());
    let error = train.image(1).unwrap_err();
    assert!(error.to_string().contains("train/good/001.png"), "{error}");
    // A file that vanished since.
    mini.remove("nut/train/good/001.png");
    assert!(matches!(
        train.image(1).unwrap_err().downcast_ref(),
        Some(DatasetError::Read { path, .. }) if path.ends_with("train/good/001.png")
    ));
}

#[test]
fn a_file_in_the_place_of_a_folder_is_an_error() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/train/good");
    mini.write("nut/train/good", b"x");
    assert!(matches!(error_of(&mini, "mvtec", "nut", &["train/good"]), DatasetError::MissingSplit { .. }));
}

#[test]
fn an_image_set_must_name_images_that_are_there() {
    const LIST: &str = "ImageSets/Patterns/pattern2.json";
    let broken = |text: &str| {
        let mini = Miniature::of("zju-leaper", "");
        mini.write(LIST, text.as_bytes());
        mini
    };
    let error = error_of(&broken("{\"normal\": 3}"), "zju-leaper", "pattern2", &["pattern2.json"]);
    assert!(matches!(error, DatasetError::ImageSet { .. }), "{error:?}");
    let unknown = r#"{"normal": {"train": [77], "test": [3]}, "defect": {"test": [10]}}"#;
    let error = error_of(&broken(unknown), "zju-leaper", "pattern2", &["pattern2.json", "77", "Images"]);
    assert!(matches!(error, DatasetError::MissingImage { .. }), "{error:?}");
    let untrained = r#"{"normal": {"test": [3]}, "defect": {"test": [10]}}"#;
    let error = error_of(&broken(untrained), "zju-leaper", "pattern2", &["pattern2.json"]);
    assert!(matches!(error, DatasetError::EmptyImageSet { .. }), "{error:?}");

    let mini = Miniature::of("zju-leaper", "");
    mini.remove("Annotations/masks/00010.png");
    let error = error_of(&mini, "zju-leaper", "total", &["00010.jpg", "00010.png"]);
    assert!(matches!(error, DatasetError::MissingMask { .. }), "{error:?}");
    let mini = Miniature::of("zju-leaper", "");
    mini.image("Images/1.png", 12, 10, 90);
    let error = error_of(&mini, "zju-leaper", "total", &["00001.jpg", "1.png"]);
    assert!(matches!(error, DatasetError::DuplicateStem { .. }), "{error:?}");
}

#[test]
fn an_image_that_a_list_names_twice_counts_once() {
    let mini = Miniature::of("zju-leaper", "");
    let twice = r#"{"normal": {"train": [1, "00001"], "test": [3, 1]}, "defect": {"test": [10, 10]}}"#;
    mini.write("ImageSets/total.json", twice.as_bytes());
    assert_eq!(Counts::of(&mini.open("zju-leaper", "total").unwrap()), Counts::new(1, 2, 1));
}
