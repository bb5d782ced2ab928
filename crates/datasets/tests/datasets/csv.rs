//! Lists of the layout `csv`: which columns may be missing, and what is then refused.

use fmam_core::{ImageSize, Split};
use fmam_datasets::{Counts, Dataset, DatasetError, DatasetOptions, RowProblem, dataset};
use serde_json::{Value, json};

use crate::miniature::{Miniature, SIZE};

/// The images of the example under a list of its own.
fn with_list(text: &str) -> Miniature {
    let mini = Miniature::of("csv", "");
    mini.write("list.csv", text.as_bytes());
    mini
}

fn opened(mini: &Miniature, settings: Value) -> Result<Box<dyn Dataset>, DatasetError> {
    (dataset("csv")?.open)(&DatasetOptions::new(Some(mini.dir.path().to_owned()), settings)?)
}

fn counts(text: &str) -> Counts {
    Counts::of(&with_list(text).open("csv", "list").unwrap())
}

#[test]
fn columns_come_in_any_order_and_case_and_others_are_passed_over() {
    let text = " Label ,camera,PATH,Split,mask\nok,1,a/0.png,train,\nGood,1,a/1.png,Test,\nbad,2,./a/3.png,test,a/3_mask.png\n";
    assert_eq!(counts(text), Counts::new(1, 1, 1));
    let list = with_list(text).open("csv", "list").unwrap();
    let ids: Vec<_> = (0..2).map(|index| list.test.sample(index).id.clone()).collect();
    assert_eq!((list.train.sample(0).id.as_str(), ids[0].as_str()), ("train/normal/a/0", "test/normal/a/1"));
    assert_eq!(ids[1], "test/anomalous/a/3");
    assert!(list.test.sample(1).mask_paths[0].ends_with("a/3_mask.png"));
}

#[test]
fn paths_alone_can_be_trained_on_and_not_tested_on() {
    let mini = with_list("path\na/0.png\na/1.png\n");
    let list = opened(&mini, Value::Null).unwrap();
    assert_eq!(list.categories(), ["list"]);
    assert_eq!(list.train("list", &SIZE.into()).unwrap().len(), 2);
    let error = list.category("list", &SIZE.into()).unwrap_err();
    assert!(matches!(error, DatasetError::EmptySplit { split: Split::Test, .. }), "{error:?}");
}

#[test]
fn an_image_with_a_mask_and_no_label_is_anomalous() {
    assert_eq!(counts("path,mask\na/0.png,\na/3.png,a/3_mask.png\n"), Counts::new(1, 0, 1));
}

#[test]
fn test_images_without_labels_are_refused() {
    let mini = with_list("path,split\na/0.png,train\na/1.png,test\n");
    let list = opened(&mini, Value::Null).unwrap();
    assert_eq!(list.train("list", &SIZE.into()).unwrap().len(), 1);
    let error = list.category("list", &SIZE.into()).unwrap_err();
    assert!(matches!(error, DatasetError::UnlabelledTest { .. }), "{error:?}");
    assert!(error.to_string().contains("list.csv"), "{error}");
}

#[test]
fn without_splits_no_image_is_both_trained_and_tested_on() {
    let text = "path,label\na/0.png,normal\na/1.png,normal\na/3.png,anomalous\n";
    assert_eq!(counts(text), Counts::new(2, 0, 1));
    let error = with_list("path,label\na/3.png,anomalous\n").open("csv", "list").unwrap_err();
    assert!(matches!(error, DatasetError::EmptySplit { split: Split::Train, .. }), "{error:?}");
}

#[test]
fn anomalous_training_images_are_left_out() {
    let text =
        "path,label,split\na/0.png,normal,train\na/3.png,defect,train\na/1.png,0,test\na/2.png,1,test\n";
    assert_eq!(counts(text), Counts::new(1, 1, 1));
}

#[test]
fn some_masks_are_not_enough() {
    let text = "path,label,split,mask\na/0.png,0,train,\na/1.png,0,test,\na/2.png,1,test,\na/3.png,1,test,a/3_mask.png\n";
    let error = with_list(text).open("csv", "list").unwrap_err();
    assert!(matches!(error, DatasetError::SomeMasksMissing { without: 1, of: 2, .. }), "{error:?}");
    // Without any mask there are no pixel figures.
    let list = with_list(&text.replace("a/3_mask.png", "")).open("csv", "list").unwrap();
    assert!(list.test.mask(1).unwrap().is_none());
}

#[test]
fn a_broken_row_is_named_with_its_line() {
    for (text, line, problem) in [
        ("file,label\na/0.png,0\n", 1, RowProblem::NoPathColumn { found: "file,label".into() }),
        ("", 1, RowProblem::NoPathColumn { found: String::new() }),
        ("path;label\na/0.png;0\n", 1, RowProblem::NoPathColumn { found: "path;label".into() }),
        ("path,label,Label\n", 1, RowProblem::RepeatedColumn { column: "label" }),
        ("path,label\na/0.png\n", 2, RowProblem::FieldCount { found: 1, expected: 2 }),
        ("path,label\n\"a/0.png,0\n", 2, RowProblem::MisplacedQuote),
        ("path,label\n,0\n", 2, RowProblem::EmptyField { field: "path" }),
        ("path,label\na/0.png,0\na/1.png, \n", 3, RowProblem::EmptyField { field: "label" }),
        ("path,split\na/0.png,\n", 2, RowProblem::EmptyField { field: "split" }),
        ("path,category\na/0.png,\n", 2, RowProblem::EmptyField { field: "category" }),
        ("path,category\na/0.png,../nut\n", 2, RowProblem::OutsideDataset { path: "../nut".into() }),
        ("path\n../a/0.png\n", 2, RowProblem::OutsideDataset { path: "../a/0.png".into() }),
        ("path\n/a/0.png\n", 2, RowProblem::OutsideDataset { path: "/a/0.png".into() }),
        ("path,split\na/0.png,val\n", 2, RowProblem::UnknownSplit { split: "val".into() }),
        (
            "path,label,mask\na/0.png,0,a/3_mask.png\n",
            2,
            RowProblem::MaskOfNormal { mask: "a/3_mask.png".into() },
        ),
        ("path\na/0.png\n./a/0.png\n", 3, RowProblem::Repeated { path: "a/0.png".into(), first: 2 }),
    ] {
        let error = opened(&with_list(text), Value::Null).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("list.csv"), "{error}");
        let DatasetError::SplitListRow { line: at, problem: found, .. } = error else {
            panic!("{text}: {error:?}")
        };
        assert_eq!((at, found), (line, problem), "{text}");
    }
    let error = opened(&with_list("path,label\na/0.png,fine\n"), Value::Null).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("unknown label `fine`; known are normal, good, ok, 0"), "{error}");
    let error = opened(&with_list("path\n"), Value::Null).map(|_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::EmptyImageSet { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_line() {
    let mini = with_list("path,label,split\na/0.png,0,train\na/9.png,0,test\n");
    let error = mini.open("csv", "list").unwrap_err();
    let DatasetError::SplitListRow { line: 3, problem: RowProblem::MissingFile { path }, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*path, mini.path("a/9.png"));
}

#[test]
fn the_setting_names_one_of_several_lists() {
    let mini = Miniature::of("csv", "");
    mini.write("other.csv", b"path\na/0.png\n");
    let error = opened(&mini, Value::Null).map(|_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::SeveralLists { .. }), "{error:?}");
    assert!(error.to_string().contains("list.csv") && error.to_string().contains("other.csv"), "{error}");
    let other = opened(&mini, json!({ "file": "other.csv" })).unwrap();
    assert_eq!(
        (other.categories(), other.identity()),
        (vec!["other".to_owned()], json!({ "file": "other.csv" }))
    );
    assert!(opened(&mini, other.identity()).is_ok());
    for absent in ["absent.csv", "../list.csv", "a/../list.csv"] {
        let error = opened(&mini, json!({ "file": absent })).map(|_| ()).unwrap_err();
        assert!(matches!(error, DatasetError::UnrecognizedLayout { .. }), "{error:?}");
        assert!(error.to_string().contains(absent), "{error}");
    }
    let list = opened(&mini, json!({ "file": "list.csv" })).unwrap();
    assert_eq!(
        Counts::of(&list.category("bolt", &ImageSize::square(4).into()).unwrap()),
        Counts::new(2, 1, 1)
    );
}
