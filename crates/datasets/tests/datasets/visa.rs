//! VisA: the list of splits, the masks, and every way in which they can be wrong.

use fmam_core::{ImageSize, Label, SampleSource, Split};
use fmam_datasets::{Counts, DatasetError, RowProblem, dataset};
use image::{GrayImage, ImageBuffer, Luma};

use crate::miniature::{Miniature, SIZE, options};

const LIST: &str = "split_csv/1cls.csv";

fn ids(source: &dyn SampleSource) -> Vec<&str> {
    (0..source.len()).map(|i| source.sample(i).id.as_str()).collect()
}

/// The list of the example, with bare line feeds.
fn list() -> String {
    std::fs::read_to_string(Miniature::of("visa", "").path(LIST)).unwrap().replace("\r\n", "\n")
}

/// A miniature whose list is `text`.
fn with_list(text: &str) -> Miniature {
    let mini = Miniature::of("visa", "");
    mini.write(LIST, text.as_bytes());
    mini
}

/// The miniature's list with `from` replaced; it must be there.
#[track_caller]
fn edited(from: &str, to: &str) -> String {
    assert!(list().contains(from), "{from}");
    list().replacen(from, to, 1)
}

/// The problem of the row on `line` of the list `text`; the message must name the list, the line
/// and `name`.
#[track_caller]
fn problem_of(text: &str, line: usize, name: &str) -> RowProblem {
    let error = with_list(text).open("visa", "candle").expect_err("the mistake was not noticed");
    let message = error.to_string();
    for part in ["split_csv/1cls.csv", &format!("line {line}:"), name] {
        assert!(message.contains(part), "`{message}` does not name {part}");
    }
    match error {
        DatasetError::SplitListRow { line: found, problem, .. } if found == line => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn visa_is_found_in_its_folder_or_the_one_above_and_split_by_its_list() {
    for prefix in ["", "visa/", "VisA/", "VisA_20220922/"] {
        let mini = Miniature::of("visa", prefix);
        let opened = (dataset("visa").unwrap().open)(&options(mini.dir.path())).unwrap();
        assert_eq!(opened.categories(), ["candle", "pcb1"]);
        let candle = opened.category("candle", &SIZE.into()).unwrap();
        assert_eq!(ids(&*candle.train), ["train/normal/0000", "train/normal/0002"]);
        assert_eq!(ids(&*candle.test), ["test/normal/0001", "test/anomaly/000", "test/anomaly/001"]);
        let sample = candle.test.sample(1);
        assert_eq!((sample.label, sample.defect_type.as_deref()), (Label::Anomalous, Some("anomaly")));
        assert!(sample.image_path.ends_with("candle/Data/Images/Anomaly/000.JPG"));
        assert!(sample.mask_paths[0].ends_with("candle/Data/Masks/Anomaly/000.png"));
        let sample = candle.test.sample(0);
        assert_eq!((sample.label, &sample.defect_type), (Label::Normal, &None));
        assert_eq!(candle.train.image(0).unwrap().size(), SIZE);
        let pcb1 = opened.category("pcb1", &SIZE.into()).unwrap();
        assert_eq!(Counts::of(&pcb1), Counts { train: 1, test_normal: 1, test_anomalous: 1 });
    }
}

#[test]
fn any_class_index_is_anomalous() {
    let mini = Miniature::of("visa", "");
    let test = mini.open("visa", "candle").unwrap().test;
    assert!(test.mask(0).unwrap().unwrap().is_empty());
    let mask = test.mask(1).unwrap().unwrap();
    // Half of the mask, though no value in it is above 3.
    assert_eq!((mask.size(), mask.area()), (SIZE, 32));
    assert!(mask.at(0, 3) && !mask.at(0, 4));
}

#[test]
fn class_indices_are_made_binary_before_they_are_resized() {
    let mini = Miniature::of("visa", "");
    // A target pixel covers four: half of them anomalous is enough, whatever the index, a quarter
    // is not.
    let values = [[1, 0, 0, 9], [9, 0, 0, 0]];
    let mask = GrayImage::from_fn(4, 2, |x, y| Luma([values[y as usize][x as usize]]));
    mini.image("candle/Data/Images/Anomaly/000.JPG", 4, 2, 90);
    mask.save(mini.path("candle/Data/Masks/Anomaly/000.png")).unwrap();
    let load = |height, width| {
        let opened = (dataset("visa").unwrap().open)(&options(mini.dir.path())).unwrap();
        let test = opened.category("candle", &ImageSize::new(height, width).into()).unwrap().test;
        test.mask(1).unwrap().unwrap().data().to_vec()
    };
    assert_eq!(load(2, 4), [1, 0, 0, 1, 1, 0, 0, 0]);
    assert_eq!(load(1, 2), [1, 0]);
    // An index that is lost when 16 bits are scaled to 8.
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(4, 2, |x, _| Luma([u16::from(x < 2)]));
    deep.save(mini.path("candle/Data/Masks/Anomaly/000.png")).unwrap();
    assert_eq!(load(1, 2), [1, 0]);
}

#[test]
fn a_blank_mask_is_found_when_it_is_decoded() {
    let mini = Miniature::of("visa", "");
    mini.blank_mask("candle/Data/Masks/Anomaly/001.png", 12, 10);
    let error = mini.open("visa", "candle").unwrap().test.mask(2).unwrap_err();
    assert!(error.to_string().contains("Masks/Anomaly/001.png"), "{error}");
    assert!(error.to_string().contains("a value that is not 0"), "{error}");
    assert!(matches!(error.downcast_ref(), Some(DatasetError::BlankMask { .. })), "{error:?}");
}

#[test]
fn a_list_may_be_written_in_several_ways() {
    let list = list();
    let shuffled = {
        let mut lines: Vec<_> = list.lines().collect();
        lines[1..].reverse();
        lines.join("\n")
    };
    let quoted: String = list.lines().map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\""))).collect();
    let expected = Miniature::of("visa", "").open("visa", "candle").unwrap();
    for text in [
        list.clone(),
        format!("\u{feff}{list}"),
        format!("\u{feff}{quoted}"),
        format!("{list}\r\n\n"),
        shuffled,
        list.replace(",candle/", ",./candle/"),
    ] {
        let candle = with_list(&text).open("visa", "candle").unwrap();
        assert_eq!(ids(&*candle.train), ids(&*expected.train), "{text}");
        assert_eq!(ids(&*candle.test), ids(&*expected.test), "{text}");
    }
}

#[test]
fn objects_may_be_missing_and_other_folders_are_passed_over() {
    let mini = Miniature::of("visa", "visa/");
    mini.remove("visa/candle");
    mini.image("visa/visa_pytorch/1cls/candle/train/good/0000.JPG", 4, 4, 5);
    let opened = (dataset("visa").unwrap().open)(&options(mini.dir.path())).unwrap();
    assert_eq!(opened.categories(), ["pcb1"]);
    assert!(opened.category("pcb1", &SIZE.into()).is_ok());
    let error = opened.category("candle", &SIZE.into()).unwrap_err();
    assert!(error.to_string().contains("1cls.csv, line 3: there is no file"), "{error}");
}

#[test]
fn a_missing_list_is_named() {
    for prefix in ["", "visa/"] {
        for gone in ["split_csv/1cls.csv", "split_csv"] {
            let mini = Miniature::of("visa", prefix);
            mini.remove(&format!("{prefix}{gone}"));
            let error = mini.open("visa", "candle").unwrap_err();
            assert!(matches!(error, DatasetError::MissingSplitList { .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("{prefix}split_csv/1cls.csv")), "{error}");
        }
    }
}

#[test]
fn a_list_that_is_no_text_is_named() {
    let mini = Miniature::of("visa", "");
    mini.write(LIST, b"object,split\xff");
    let error = mini.open("visa", "candle").unwrap_err();
    assert!(matches!(error, DatasetError::Read { .. }), "{error:?}");
    assert!(error.to_string().contains("1cls.csv"), "{error}");
}

#[test]
fn a_list_must_begin_with_its_header() {
    for (text, line, found) in [
        ("", 1, ""),
        ("\n\nobject,split,label,image\n", 3, "object,split,label,image"),
        ("object,set,label,image_path,mask_path\n", 1, "object,set,label,image_path,mask_path"),
    ] {
        let problem = problem_of(text, line, found);
        let RowProblem::Header { found: named, .. } = problem else { panic!("{problem:?}") };
        assert_eq!(named, found);
    }
}

#[test]
fn a_row_must_have_five_fields() {
    let text = edited("candle,train,normal,candle/Data/Images/Normal/0000.JPG,", "candle,train,normal");
    assert_eq!(problem_of(&text, 3, "3 fields"), RowProblem::FieldCount { found: 3, expected: 5 });
    let text = edited("Normal/0000.JPG,", "Normal/0000.JPG,,");
    assert_eq!(problem_of(&text, 3, "6 fields"), RowProblem::FieldCount { found: 6, expected: 5 });
}

#[test]
fn a_misplaced_quote_is_found_on_its_line() {
    for quoted in ["\"candle,train", "\"candle\"s,train"] {
        let text = edited("candle,train", quoted);
        assert_eq!(problem_of(&text, 2, "quoted field"), RowProblem::MisplacedQuote);
    }
}

#[test]
fn empty_fields_are_named() {
    let text = edited("candle,test,normal", ",test,normal");
    assert_eq!(problem_of(&text, 4, "`object`"), RowProblem::EmptyField { field: "object" });
    let text = edited("candle/Data/Images/Normal/0001.JPG,", ",");
    assert_eq!(problem_of(&text, 4, "`image`"), RowProblem::EmptyField { field: "image" });
}

#[test]
fn splits_and_labels_are_known_ones() {
    let problem = problem_of(&edited("candle,test,normal", "candle,val,normal"), 4, "`val`");
    assert_eq!(problem, RowProblem::UnknownSplit { split: "val".into() });
    let problem = problem_of(&edited("candle,test,normal", "candle,test,good"), 4, "`good`");
    assert_eq!(problem, RowProblem::UnknownLabel { label: "good".into(), known: "normal, anomaly" });
}

#[test]
fn no_anomalous_image_is_trained_on() {
    // As in the lists of the two-class protocols.
    let text = edited("candle,test,anomaly", "candle,train,anomaly");
    assert_eq!(problem_of(&text, 5, "one-class"), RowProblem::AnomalyInTraining);
}

#[test]
fn anomalous_images_have_masks_and_normal_ones_have_none() {
    let text = edited("Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png", "Anomaly/001.JPG,");
    let problem = problem_of(&text, 5, "candle/Data/Images/Anomaly/001.JPG");
    assert!(matches!(problem, RowProblem::NoMask { .. }), "{problem:?}");
    let text = edited("Normal/0001.JPG,", "Normal/0001.JPG,candle/Data/Masks/Normal/0001.png");
    let problem = problem_of(&text, 4, "candle/Data/Masks/Normal/0001.png");
    assert!(matches!(problem, RowProblem::MaskOfNormal { .. }), "{problem:?}");
}

#[test]
fn no_path_leads_out_of_the_data_set() {
    for path in ["../x.JPG", "/etc/x.JPG", "candle/../../x.JPG", "candle/../pcb1/Data/Images/Normal/0000.JPG"]
    {
        let expected = RowProblem::OutsideDataset { path: path.into() };
        let text = edited("candle/Data/Images/Normal/0001.JPG", path);
        assert_eq!(problem_of(&text, 4, path), expected);
        let text = edited("candle/Data/Masks/Anomaly/001.png", path);
        assert_eq!(problem_of(&text, 5, path), expected);
    }
    for object in ["..", "/candle", "candle/..", "candle/Data", "candle/", ".", "./candle"] {
        let text = edited("candle,test,normal", &format!("{object},test,normal"));
        let expected = RowProblem::OutsideDataset { path: object.into() };
        assert_eq!(problem_of(&text, 4, &format!("`{object}`")), expected);
    }
}

#[test]
fn no_file_is_named_twice() {
    // A training image among the test images; written in another way, it is the same file.
    for path in ["candle/Data/Images/Normal/0000.JPG", "candle/./Data//Images/Normal/0000.JPG"] {
        let text = edited("candle/Data/Images/Normal/0001.JPG", path);
        let problem = problem_of(&text, 4, "candle/Data/Images/Normal/0000.JPG");
        assert!(matches!(problem, RowProblem::Repeated { first: 3, .. }), "{problem:?}");
    }
    let text = edited("candle/Data/Masks/Anomaly/000.png", "candle/Data/Masks/Anomaly/001.png");
    let problem = problem_of(&text, 6, "candle/Data/Masks/Anomaly/001.png");
    assert!(matches!(problem, RowProblem::Repeated { first: 5, .. }), "{problem:?}");
}

#[test]
fn files_that_are_not_there_are_named_with_their_line() {
    for (gone, line) in [
        ("candle/Data/Images/Normal/0000.JPG", 3),
        ("candle/Data/Images/Anomaly/001.JPG", 5),
        ("candle/Data/Masks/Anomaly/000.png", 6),
    ] {
        let mini = Miniature::of("visa", "");
        mini.remove(gone);
        let error = mini.open("visa", "candle").unwrap_err();
        assert!(error.to_string().contains(&format!("1cls.csv, line {line}:")), "{error}");
        assert!(error.to_string().contains(gone), "{error}");
        let DatasetError::SplitListRow { problem, .. } = error else { panic!("{error:?}") };
        assert!(matches!(problem, RowProblem::MissingFile { .. }), "{problem:?}");
        // A fault of one object does not concern another.
        assert!(mini.open("visa", "pcb1").is_ok());
    }
}

#[test]
fn an_empty_split_is_named() {
    for (gone, words, split) in [
        ("candle,train,", "no training image of `candle`", Split::Train),
        ("candle,test,", "no test image of `candle`", Split::Test),
    ] {
        let list = list();
        let rows = list.lines().filter(|line| !line.starts_with(gone));
        let text: String = rows.map(|line| format!("{line}\n")).collect();
        let error = with_list(&text).open("visa", "candle").unwrap_err();
        assert!(error.to_string().contains(words) && error.to_string().contains("1cls.csv"), "{error}");
        let DatasetError::EmptySplit { split: named, .. } = error else { panic!("{error:?}") };
        assert_eq!(named, split);
    }
}

#[test]
fn a_test_split_of_one_class_opens() {
    for (gone, expected) in
        [("candle,test,normal", Counts::new(2, 0, 2)), ("candle,test,anomaly", Counts::new(2, 1, 0))]
    {
        let list = list();
        let rows = list.lines().filter(|line| !line.starts_with(gone));
        let text: String = rows.map(|line| format!("{line}\n")).collect();
        assert_eq!(Counts::of(&with_list(&text).open("visa", "candle").unwrap()), expected);
    }
}

#[test]
fn two_images_of_one_stem_are_refused() {
    let mini = with_list(&edited("candle/Data/Images/Normal/0002.JPG", "candle/More/0000.JPG"));
    mini.image("candle/More/0000.JPG", 12, 10, 90);
    let error = mini.open("visa", "candle").unwrap_err();
    assert!(matches!(error, DatasetError::SharedName { .. }), "{error:?}");
    assert!(error.to_string().contains("candle/More/0000.JPG"), "{error}");
}

#[test]
fn a_mask_of_another_size_names_both_files() {
    let mini = Miniature::of("visa", "");
    mini.class_mask("candle/Data/Masks/Anomaly/001.png", 10, 12);
    let error = mini.open("visa", "candle").unwrap_err();
    assert!(matches!(error, DatasetError::MaskSize { .. }), "{error:?}");
    assert!(error.to_string().contains("Masks/Anomaly/001.png"), "{error}");
}

#[test]
fn a_list_without_rows_is_named() {
    let error = with_list("object,split,label,image,mask\r\n").open("visa", "candle").unwrap_err();
    assert!(matches!(error, DatasetError::EmptyImageSet { .. }), "{error:?}");
    assert!(error.to_string().contains("1cls.csv"), "{error}");
}

#[test]
fn a_list_without_its_objects_is_no_data_set() {
    let mini = Miniature::of("visa", "");
    mini.remove("candle");
    mini.remove("pcb1");
    let error = mini.open("visa", "candle").unwrap_err();
    assert!(matches!(error, DatasetError::UnrecognizedLayout { .. }), "{error:?}");
    assert!(error.to_string().contains("OBJECT/Data/Images"), "{error}");
}
