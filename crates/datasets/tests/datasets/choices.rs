//! Choices that are made in listing and in reading a data set: each is told once, with a file, and
//! a category keeps those of its list.

use std::path::Path;

use fmam_datasets::{Category, Choice, choices_told, load_region, telling};
use image::{GrayImage, Luma};

use crate::miniature::Miniature;
use crate::notices::told;

/// The choices that the list of `category` of data set `name` makes, and the lines that tell them.
fn listed(mini: &Miniature, name: &str, category: &str) -> (Category, Vec<Choice>, Vec<String>) {
    let (opened, lines) = told(|| mini.open(name, category).unwrap());
    let choices = opened.told.iter().map(|told| told.choice).collect();
    (opened, choices, lines)
}

/// Checks that the list makes one choice, told in one line with `words`, and again not told.
fn check_one(mini: &Miniature, name: &str, category: &str, choice: Choice, words: &[&str]) {
    let (_, choices, lines) = listed(mini, name, category);
    assert_eq!(choices, [choice], "{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    words.iter().for_each(|word| assert!(lines[0].contains(word), "`{word}` is missing in {lines:?}"));
    let (_, again, lines) = listed(mini, name, category);
    assert_eq!((again, lines), (vec![choice], Vec::new()));
}

/// A copy of a file, as it is.
fn copy(mini: &Miniature, from: &str, to: &str) {
    std::fs::create_dir_all(mini.path(to).parent().unwrap()).unwrap();
    std::fs::copy(mini.path(from), mini.path(to)).unwrap();
}

/// The only list of the example of `csv`, with the category `nut` alone.
const LIST: &str = "path,label,split,mask,category\na/0.png,0,train,,nut\na/1.png,0,test,,nut\na/3.png,1,test,a/3_mask.png,nut\n";

#[test]
fn a_list_tells_each_missing_and_each_unknown_column() {
    let with_list = |text: &str| {
        let mini = Miniature::of("csv", "");
        mini.write("list.csv", text.as_bytes());
        mini
    };
    let (_, choices, lines) = listed(&with_list(LIST), "csv", "nut");
    assert_eq!((choices, lines), (Vec::new(), Vec::new()));

    let with_column =
        LIST.replace("path,", "path,camera,").replace(".png,0", ".png,7,0").replace(".png,1", ".png,7,1");
    check_one(&with_list(&with_column), "csv", "nut", Choice::UnknownColumn, &["list.csv", "`camera`"]);

    let without_category = LIST.replace(",nut", "").replace(",category", "");
    let (list, words) = (with_list(&without_category), ["list.csv", "no column `category`"]);
    check_one(&list, "csv", "list", Choice::NoCategories, &words);

    let without_mask = LIST.replace(",a/3_mask.png", "").replace(",,", ",").replace(",mask", "");
    let words = ["list.csv", "no column `mask`: there are no pixel figures"];
    check_one(&with_list(&without_mask), "csv", "nut", Choice::NoMasks, &words);

    let without_split = LIST.replace(",split", "").replace(",train", "").replace(",test", "");
    let words = ["list.csv", "no column `split`", "no normal image is tested on"];
    let mini = with_list(&without_split);
    let (_, choices, lines) = listed(&mini, "csv", "nut");
    assert_eq!(choices, [Choice::NoSplits, Choice::NoNormalTest]);
    words.iter().for_each(|word| assert!(lines[0].contains(word), "{lines:?}"));

    let without_label = LIST.replace("a/1.png,0,test", "a/1.png,0,train");
    let without_label =
        without_label.replace(",label", "").replace(".png,0", ".png").replace(".png,1", ".png");
    let (_, choices, lines) = listed(&with_list(&without_label), "csv", "nut");
    assert_eq!(choices, [Choice::LabelsByMasks, Choice::NoNormalTest]);
    assert!(lines[0].contains("images with a mask count as anomalous"), "{lines:?}");

    // Paths alone: nothing can be tested, and there is no mask either.
    let mini = with_list("path\na/0.png\na/1.png\n");
    let ((opened, heard), lines) = told(|| telling(|| mini.open("csv", "list")));
    assert!(opened.is_err());
    let heard: Vec<Choice> = heard.iter().map(|told| told.choice).collect();
    let expected = [Choice::NoSplits, Choice::NoLabels, Choice::NoMasks, Choice::NoCategories];
    assert_eq!((heard.as_slice(), lines.len()), (&expected[..], 4), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("list.csv")), "{lines:?}");
    assert!(lines[1].contains("none can be tested on"), "{lines:?}");

    let anomalous = LIST.replace("a/0.png,0", "a/2.png,1,train,a/0_mask.png,nut\na/0.png,0");
    let mini = with_list(&anomalous);
    mini.mask("a/0_mask.png", 8, 8);
    check_one(&mini, "csv", "nut", Choice::AnomalousTraining, &["a/2.png", "left out"]);
}

#[test]
fn a_test_split_of_one_class_is_told_with_what_is_undefined() {
    let mini = Miniature::of("folder", "");
    mini.remove("bolt/test/normal");
    check_one(&mini, "folder", "bolt", Choice::NoNormalTest, &["bolt", "false alarm rate"]);

    let mini = Miniature::of("folder", "");
    mini.remove("bolt/test/anomalous");
    mini.remove("bolt/masks");
    check_one(&mini, "folder", "bolt", Choice::NoAnomalousTest, &["bolt", "miss rate"]);
}

#[test]
fn an_id_twice_in_one_list_of_zju_leaper_is_told_and_kept() {
    let mini = Miniature::of("zju-leaper", "");
    let twice = r#"{"normal": {"train": [1, 2, "0002"], "test": [3]}, "defect": {"test": [10]}}"#;
    mini.write("ImageSets/Patterns/pattern2.json", twice.as_bytes());
    let words = ["pattern2.json", "more than once: 2 in normal.train and normal.train"];
    check_one(&mini, "zju-leaper", "pattern2", Choice::RepeatedIds, &words);
    let (opened, ..) = listed(&mini, "zju-leaper", "pattern2");
    assert_eq!(opened.train.len(), 2);
    assert!(opened.told[0].clause().ends_with(words[1].split_once(": ").unwrap().1));
    // The other list names each image once.
    assert_eq!(listed(&mini, "zju-leaper", "pattern10").1, []);
}

#[test]
fn files_that_a_layout_leaves_out_are_told_and_kept() {
    let mini = Miniature::of("mvtec-ad-2", "");
    copy(&mini, "can/train/good/000_regular.png", "can/test_private/000_mixed.png");
    let words = ["can/test_private", "images without published labels"];
    check_one(&mini, "mvtec-ad-2", "can", Choice::UnusedFolder, &words);

    let mini = Miniature::of("kolektor-sdd2", "");
    copy(&mini, "train/10000.png", "train/10000 (copy).png");
    copy(&mini, "train/10000_GT.png", "train/10000_GT (copy).png");
    copy(&mini, "test/20000.png", "train/10009.png");
    copy(&mini, "test/20000_GT.png", "train/10009_GT.png");
    let (opened, choices, lines) = listed(&mini, "kolektor-sdd2", "kolektor-sdd2");
    assert_eq!(choices, [Choice::Copies, Choice::AnomalousTraining], "{lines:?}");
    assert_eq!((opened.told[0].n, opened.told[1].n, opened.train.len()), (2, 1, 2));
    assert!(lines[0].contains("(copy)") && lines[1].contains("10009.png"), "{lines:?}");

    let mini = Miniature::of("mvtec", "");
    mini.mask("nut/ground_truth/good/000_mask.png", 12, 10);
    check_one(&mini, "mvtec", "nut", Choice::MasksOfNormal, &["ground_truth/good/000_mask.png"]);

    let mini = Miniature::of("mvtec", "");
    mini.write("nut/train/good/notes.txt", b"x");
    check_one(&mini, "mvtec", "nut", Choice::OtherFiles, &["notes.txt"]);
}

#[test]
fn choices_in_reading_files_are_counted_for_the_record() {
    let mini = Miniature::of("folder", "");
    let opened = mini.open("folder", "bolt").unwrap();
    let wide =
        (0..opened.test.len()).find(|&index| !opened.test.sample(index).mask_paths.is_empty()).unwrap();
    let sample = opened.test.sample(wide).clone();
    // Three times as wide as high, and a mask with grey edges.
    GrayImage::from_fn(24, 8, |x, _| Luma([10 * x as u8])).save(&sample.image_path).unwrap();
    GrayImage::from_fn(24, 8, |x, _| Luma([255 - 11 * x as u8])).save(&sample.mask_paths[0]).unwrap();
    let opened = mini.open("folder", "bolt").unwrap();
    let (_, lines) = told(|| (opened.test.image(wide).unwrap(), opened.test.mask(wide).unwrap()));
    assert_eq!(lines.len(), 2, "{lines:?}");
    let found = choices_told([sample.image_path.as_path(), sample.mask_paths[0].as_path()]);
    let expected = [(Choice::Squeezed, &sample.image_path), (Choice::SoftMask, &sample.mask_paths[0])];
    let found: Vec<_> = found.iter().map(|told| (told.choice, &told.path)).collect();
    assert_eq!(found, expected);

    let region = mini.path("roi.png");
    GrayImage::from_fn(24, 8, |x, _| Luma([255 - 11 * x as u8])).save(&region).unwrap();
    let (_, lines) = told(|| load_region(&region, 1 << 20).unwrap());
    assert!(lines.len() == 1 && lines[0].contains("roi.png"), "{lines:?}");
    assert_eq!(choices_told([region.as_path()])[0].choice, Choice::SoftRegion);
    assert_eq!(choices_told([Path::new("unknown.png")]), []);
    assert_eq!(opened.told, []);
}
