//! Peculiarities of each layout: splits, joining of masks, names.

use fmam_core::{ImageSize, Label, SampleSource};
use fmam_datasets::{dataset, textures};

use crate::miniature::{Miniature, SIZE, options};

fn ids(source: &dyn SampleSource) -> Vec<&str> {
    (0..source.len()).map(|i| source.sample(i).id.as_str()).collect()
}

#[test]
fn mvtec_is_found_in_its_folder_or_the_one_above() {
    for prefix in ["", "mvtec/", "mvtec_ad/", "MVTec/"] {
        let mini = Miniature::of("mvtec", prefix);
        let opened = (dataset("mvtec").unwrap().open)(&options(mini.dir.path())).unwrap();
        assert_eq!(opened.categories(), ["nut"]);
        let nut = opened.category("nut", &SIZE.into()).unwrap();
        assert_eq!(ids(&*nut.train), ["train/good/000", "train/good/001"]);
        assert_eq!(ids(&*nut.test), ["test/good/000", "test/bent/000", "test/cut/000", "test/cut/001"]);
        let sample = nut.test.sample(3);
        assert_eq!((sample.label, sample.defect_type.as_deref()), (Label::Anomalous, Some("cut")));
        assert_eq!(nut.test.sample(0).label, Label::Normal);
    }
}

#[test]
fn images_and_masks_come_in_the_size_asked_for() {
    let mini = Miniature::of("mvtec", "");
    let nut = mini.open("mvtec", "nut").unwrap();
    assert_eq!(nut.test.image(1).unwrap().size(), SIZE);
    assert!(nut.test.mask(0).unwrap().unwrap().is_empty());
    let mask = nut.test.mask(1).unwrap().unwrap();
    assert_eq!((mask.size(), mask.area()), (SIZE, 32));
    assert!(mask.at(0, 3) && !mask.at(0, 4));
}

#[test]
fn masks_are_joined_by_stem_not_by_order() {
    let mini = Miniature::of("mvtec", "");
    mini.remove("nut/test/bent");
    mini.remove("nut/ground_truth/bent");
    // In the order of names `a.png` stands before `a0.png`, but `a0_mask.png` before `a_mask.png`.
    for stem in ["a", "a0"] {
        mini.image(&format!("nut/test/bent/{stem}.png"), 12, 10, 90);
        mini.mask(&format!("nut/ground_truth/bent/{stem}_mask.png"), 12, 10);
    }
    let nut = mini.open("mvtec", "nut").unwrap();
    for (index, name) in [(1, "bent/a_mask.png"), (2, "bent/a0_mask.png")] {
        let mask = &nut.test.sample(index).mask_paths[0];
        assert!(mask.ends_with(format!("ground_truth/{name}")), "{}", mask.display());
    }
}

#[test]
fn magnetic_tile_tests_on_every_fifth_normal_image() {
    for prefix in ["", "magnetic-tile/"] {
        let mini = Miniature::of("magnetic-tile", prefix);
        // The published folder of the defect-free tiles has a blank mask for each, which is not
        // read.
        mini.blank_mask(&format!("{prefix}MT_Free/Imgs/b.png"), 12, 10);
        let tile = mini.open("magnetic-tile", "magnetic-tile").unwrap();
        assert_eq!(ids(&*tile.train), ["b", "c", "d", "e"].map(|n| format!("train/Free/{n}")));
        assert_eq!(ids(&*tile.test), ["test/Free/a", "test/Free/f", "test/Crack/a"]);
        assert_eq!(tile.test.mask(2).unwrap().unwrap().area(), 32);
        assert!(tile.test.mask(0).unwrap().unwrap().is_empty());
    }
}

#[test]
fn zju_leaper_trains_on_the_normal_images_of_a_pattern() {
    for prefix in ["", "ZJU-Leaper/"] {
        let mini = Miniature::of("zju-leaper", prefix);
        let opened = (dataset("zju-leaper").unwrap().open)(&options(mini.dir.path())).unwrap();
        assert_eq!(opened.categories(), ["pattern2", "pattern10"]);
        for name in ["pattern2", "pattern10", "group1", "total"] {
            let fabric = opened.category(name, &SIZE.into()).unwrap();
            assert_eq!(ids(&*fabric.train), ["train/normal/00001", "train/normal/00002"], "{name}");
            assert_eq!(ids(&*fabric.test), ["test/normal/00003", "test/defect/00010"], "{name}");
            assert_eq!(fabric.test.mask(1).unwrap().unwrap().area(), 32);
            assert!(fabric.test.mask(0).unwrap().unwrap().is_empty());
        }
    }
}

#[test]
fn a_folder_is_one_category_or_holds_categories() {
    for below in ["", "bolt"] {
        let mini = Miniature::of("folder", "");
        let opened = (dataset("folder").unwrap().open)(&options(&mini.path(below))).unwrap();
        assert_eq!(opened.categories(), ["bolt"]);
        let bolt = opened.category("bolt", &ImageSize::new(4, 6).into()).unwrap();
        assert_eq!(ids(&*bolt.train), ["train/normal/x"]);
        let expected = ["test/normal/y", "test/anomalous/p", "test/anomalous/q", "test/anomalous/hole/p"];
        assert_eq!(ids(&*bolt.test), expected);
        let areas: Vec<_> = (0..4).map(|i| bolt.test.mask(i).unwrap().map(|mask| mask.area())).collect();
        assert_eq!(areas, [Some(0), Some(12), Some(12), Some(12)]);
        assert_eq!(bolt.test.sample(3).defect_type.as_deref(), Some("hole"));
    }
}

#[test]
fn a_folder_may_have_no_masks_at_all() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/masks");
    let test = mini.open("folder", "bolt").unwrap().test;
    assert!(test.mask(0).unwrap().unwrap().is_empty());
    assert!((1..4).all(|index| test.mask(index).unwrap().is_none()));
}

#[test]
fn a_blank_mask_of_magnetic_tile_is_taken_as_it_is_published() {
    let mini = Miniature::of("magnetic-tile", "");
    mini.blank_mask("MT_Crack/Imgs/a.png", 12, 10);
    let tile = mini.open("magnetic-tile", "magnetic-tile").unwrap();
    assert_eq!(tile.test.sample(2).label, Label::Anomalous);
    assert!(tile.test.mask(2).unwrap().unwrap().is_empty());
}

#[test]
fn hidden_files_and_other_files_are_passed_over() {
    let mini = Miniature::of("mvtec", "");
    mini.write("nut/train/good/.DS_Store", b"x");
    mini.write("nut/train/good/._000.png", b"x");
    mini.write("nut/train/good/Thumbs.db", b"x");
    assert_eq!(mini.open("mvtec", "nut").unwrap().train.len(), 2);
}

#[test]
fn textures_are_the_images_named_as_dtd_names_them() {
    for prefix in ["dtd/images", "images"] {
        let mini = Miniature::new();
        for file in
            ["dotted/dotted_0002.jpg", "dotted/dotted_0001.jpg", "banded/banded_0001.jpg", "dotted/cat.jpg"]
        {
            mini.image(&format!("{prefix}/{file}"), 20, 10, 5);
        }
        let found = textures(mini.dir.path(), SIZE).unwrap().unwrap();
        assert_eq!(
            ids(&*found),
            ["train/banded/banded_0001", "train/dotted/dotted_0001", "train/dotted/dotted_0002"]
        );
        assert_eq!(found.image(0).unwrap().size(), SIZE);
    }
    let none = Miniature::new();
    none.image("images/cats/tom.jpg", 4, 4, 5);
    assert!(textures(none.dir.path(), SIZE).unwrap().is_none());
    assert!(textures(&none.path("absent"), SIZE).unwrap().is_none());
}
