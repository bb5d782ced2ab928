//! The generated set through the public interface, and written to files and read again.

use fmam_core::ImageSize;
use fmam_datasets::{DatasetError, DatasetOptions, DemoCategory, DemoConfig, dataset, write_demo};
use serde_json::Value;

use crate::miniature::{Miniature, open};

fn small() -> DemoConfig {
    DemoConfig { n_train: 2, n_test_normal: 1, n_test_per_defect: 1, ..DemoConfig::default() }
}

fn settings(config: &DemoConfig) -> DatasetOptions {
    DatasetOptions::new(None, config).unwrap()
}

#[test]
fn it_opens_without_files_and_has_both_classes() {
    let opened = (dataset("demo").unwrap().open)(&DatasetOptions::default()).unwrap();
    assert_eq!(opened.categories(), ["plain", "twill"]);
    let plain = opened.category("plain", &ImageSize::new(48, 64).into()).unwrap();
    assert_eq!((plain.train.len(), plain.test.len()), (64, 20 + 36));
    assert_eq!(plain.train.image(0).unwrap().size(), ImageSize::new(48, 64));
    assert!(plain.test.mask(0).unwrap().unwrap().is_empty());
    assert!(!plain.test.mask(55).unwrap().unwrap().is_empty());
}

#[test]
fn a_category_that_is_not_configured_opens_by_name() {
    let opened = (dataset("demo").unwrap().open)(&settings(&small())).unwrap();
    assert_eq!(opened.categories(), ["plain", "twill"]);
    for category in DemoCategory::ALL {
        let opened = opened.category(category.name(), &ImageSize::square(32).into()).unwrap();
        assert_eq!((opened.train.len(), opened.test.len()), (2, 1 + 6));
    }
}

#[test]
fn written_as_mvtec_it_reads_back_the_same() {
    let (mini, size) = (Miniature::new(), ImageSize::new(48, 64));
    let demo = DemoConfig { categories: DemoCategory::ALL.to_vec(), ..small() };
    write_demo(&mini.path("mvtec"), &demo, size).unwrap();
    let generated = (dataset("demo").unwrap().open)(&settings(&demo)).unwrap();
    for category in DemoCategory::ALL {
        let name = category.name();
        let (read, made) = (
            open(mini.dir.path(), "mvtec", name, size).unwrap(),
            generated.category(name, &size.into()).unwrap(),
        );
        for (read, made) in [(&read.train, &made.train), (&read.test, &made.test)] {
            assert_eq!(read.len(), made.len());
            for index in 0..read.len() {
                assert_eq!(read.image(index).unwrap(), made.image(index).unwrap());
                assert_eq!(read.mask(index).unwrap(), made.mask(index).unwrap());
                assert_eq!(read.sample(index).defect_type, made.sample(index).defect_type);
            }
        }
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_unfinished_left() {
    let mini = Miniature::new();
    mini.write("out/plain", b"mine");
    let result = write_demo(&mini.path("out"), &small(), ImageSize::square(16));
    assert!(matches!(result, Err(DatasetError::AlreadyExists { .. })));
    assert_eq!(std::fs::read(mini.path("out/plain")).unwrap(), b"mine");

    mini.write("file", b"x");
    let result = write_demo(&mini.path("file"), &small(), ImageSize::square(16));
    assert!(matches!(result, Err(DatasetError::Write { .. })), "{result:?}");

    // No encoder takes an image without pixels.
    let result = write_demo(&mini.path("zero"), &small(), ImageSize::square(0));
    assert!(matches!(result, Err(DatasetError::Encode { .. })), "{result:?}");
    assert_eq!(std::fs::read_dir(mini.path("zero")).unwrap().count(), 0);
}

#[test]
fn a_count_of_zero_is_refused_by_name() {
    let zeros = [
        ("n_train", DemoConfig { n_train: 0, ..small() }),
        ("n_test_normal", DemoConfig { n_test_normal: 0, ..small() }),
        ("n_test_per_defect", DemoConfig { n_test_per_defect: 0, ..small() }),
        ("categories", DemoConfig { categories: Vec::new(), ..small() }),
    ];
    for (name, demo) in zeros {
        let result = (dataset("demo").unwrap().open)(&settings(&demo));
        assert!(matches!(result.err(), Some(DatasetError::DemoCount { field }) if field == name));
    }
}

#[test]
fn the_settings_are_read_strictly_with_defaults() {
    let read = |text| {
        let value: Value = serde_json::from_str(text).unwrap();
        (dataset("demo").unwrap().open)(&DatasetOptions::new(None, value).unwrap())
    };
    let categories = vec![DemoCategory::Twill, DemoCategory::Flange];
    let expected = DemoConfig { n_train: 3, categories, ..DemoConfig::default() };
    let opened = read(r#"{"n_train": 3, "categories": ["twill", "flange"]}"#).unwrap();
    assert_eq!(opened.identity(), serde_json::to_value(expected).unwrap());
    assert_eq!(opened.categories(), ["flange", "twill"]);
    for (text, wrong) in [
        (r#"{"n_trian": 3, "seed": 1}"#, "n_trian"),
        (r#"{"n_train": 2, "categories": ["satin"]}"#, "categories"),
    ] {
        let error = read(text).err().unwrap();
        assert!(error.to_string().contains(wrong), "{error}");
        assert!(matches!(error, DatasetError::Setting { .. }));
    }
}

/// Runs are known again by what their records say of the data.
#[test]
fn the_identity_is_what_records_have_and_opens_the_same_data() {
    let recorded =
        r#"{"categories":["plain","twill"],"n_test_normal":20,"n_test_per_defect":6,"n_train":64,"seed":0}"#;
    let opened = (dataset("demo").unwrap().open)(&DatasetOptions::default()).unwrap();
    assert_eq!(opened.identity().to_string(), recorded);
    let options = DatasetOptions::new(None, opened.identity()).unwrap();
    let again = (dataset("demo").unwrap().open)(&options).unwrap();
    assert_eq!(again.identity(), opened.identity());
}
