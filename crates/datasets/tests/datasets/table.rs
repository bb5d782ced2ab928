//! Checks of every data set of the table: each asks for what the data set's own entry says.

use std::collections::BTreeSet;

use fmam_core::{ImageSize, Label, SourceError};
use fmam_datasets::{
    Category, Counts, DATASETS, DatasetEntry, DatasetError, DatasetOptions, ExampleFile, FileLayout, dataset,
};

use crate::miniature::{Miniature, SIZE, options};

/// Every entry with a layout on disk.
fn layouts() -> impl Iterator<Item = (&'static DatasetEntry, &'static FileLayout)> {
    DATASETS.iter().filter_map(|entry| Some((*entry, entry.layout.as_ref()?)))
}

/// Every category of an example.
fn categories(mini: &Miniature, entry: &DatasetEntry) -> Result<Vec<Category>, DatasetError> {
    let opened = (entry.open)(&options(mini.dir.path()))?;
    opened.categories().iter().map(|name| opened.category(name, &SIZE.into())).collect()
}

/// Decodes all images and masks.
fn decode(category: &Category) -> Result<(), SourceError> {
    for source in [&category.train, &category.test] {
        for index in 0..source.len() {
            source.image(index)?;
            source.mask(index)?;
        }
    }
    Ok(())
}

#[test]
fn names_are_sorted_unique_and_found() {
    let names: Vec<_> = DATASETS.iter().map(|entry| entry.name).collect();
    assert!(
        names.is_sorted_by(|a, b| a < b),
        "sort the lines of DATASETS in crates/datasets/src/layouts/mod.rs by name: {names:?}"
    );
    for entry in DATASETS {
        let (name, summary) = (entry.name, entry.summary);
        assert_eq!(dataset(name).unwrap().name, name);
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_plain), "name `{name}` with lower-case letters, digits and `-` only");
        assert!(
            !summary.is_empty() && !summary.contains('\n') && summary.len() <= 120,
            "give `{name}` a summary of one line and at most 120 bytes"
        );
    }
    let error = dataset("mvtek").unwrap_err();
    assert!(matches!(error, DatasetError::UnknownDataset { .. }));
    let message = format!("unknown data set `mvtek`; known are {}", names.join(", "));
    assert_eq!(error.to_string(), message);
}

#[test]
fn published_categories_are_sorted_and_not_empty() {
    for entry in DATASETS {
        let name = entry.name;
        assert!(
            entry.published.is_sorted_by(|a, b| a.0 < b.0),
            "sort the categories of `published` of `{name}`, each once"
        );
        for (category, Counts { train, test_normal, test_anomalous }) in entry.published {
            let is_whole = [train, test_normal, test_anomalous].iter().all(|n| **n > 0);
            assert!(is_whole, "`{name}` publishes no images of one kind for `{category}`");
        }
    }
}

#[test]
fn an_example_is_read_as_its_entry_says_in_every_holder() {
    for (entry, layout) in layouts() {
        let name = entry.name;
        for holder in layout.holders.iter().copied().chain([""]) {
            let mini = Miniature::of(name, holder);
            let found = categories(&mini, entry).unwrap_or_else(|error| {
                panic!("the example of `{name}` in {holder:?} does not open: {error}")
            });
            let counts: Vec<_> =
                found.iter().map(|category| (category.name.as_str(), Counts::of(category))).collect();
            assert_eq!(
                counts, layout.example.counts,
                "left is what `{name}` reads of its example in {holder:?}, right what `example.counts` says; \
                 correct one of them"
            );
            for category in &found {
                decode(category).unwrap();
                check_samples(name, category);
            }
        }
    }
}

/// Checks what a method and an evaluation rely on.
fn check_samples(dataset: &str, category: &Category) {
    let mut ids = BTreeSet::new();
    for (source, split) in [(&category.train, "train/"), (&category.test, "test/")] {
        for sample in (0..source.len()).map(|index| source.sample(index)) {
            let id = &sample.id;
            assert!(ids.insert(id.clone()), "`{dataset}` gives the id {id} twice");
            assert!(id.starts_with(split), "the id {id} of `{dataset}` must begin with {split}");
            assert_eq!(
                sample.label == Label::Anomalous,
                sample.defect_type.is_some(),
                "{id} of `{dataset}`: anomalous samples, and no others, have a defect type"
            );
            assert!(
                split == "test/" || sample.label == Label::Normal,
                "`{dataset}` trains on the anomalous {id}"
            );
        }
    }
    for index in 0..category.test.len() {
        let is_anomalous = category.test.sample(index).label == Label::Anomalous;
        let mask = category.test.mask(index).unwrap();
        let is_right = mask.map(|mask| mask.area()) == Some(if is_anomalous { SIZE.pixels() / 2 } else { 0 });
        let id = &category.test.sample(index).id;
        assert!(is_right, "the mask of {id} of `{dataset}` is not the left half, or none of a normal image");
    }
}

#[test]
fn an_unknown_category_lists_the_known() {
    for entry in DATASETS {
        let mini = match entry.layout {
            Some(_) => Miniature::of(entry.name, ""),
            None => Miniature::new(),
        };
        let opened = (entry.open)(&options(mini.dir.path())).unwrap();
        let error = opened.category("no such", &SIZE.into()).unwrap_err();
        let DatasetError::UnknownCategory { dataset, name, known } = &error else { panic!("{error:?}") };
        assert_eq!((*dataset, name.as_str()), (entry.name, "no such"));
        assert!(opened.categories().iter().all(|name| known.contains(name)), "{error}");
    }
}

#[test]
fn a_root_must_be_given_exist_and_hold_the_data_set() {
    for entry in DATASETS {
        let error = |options: &DatasetOptions| (entry.open)(options).err();
        if entry.is_generated() {
            assert!(error(&DatasetOptions::default()).is_none(), "{} needs no root", entry.name);
            continue;
        }
        let error = |options: &DatasetOptions| error(options).expect(entry.name);
        assert!(matches!(error(&DatasetOptions::default()), DatasetError::RootNotGiven { .. }));
        let empty = Miniature::new();
        let missing = error(&options(&empty.path("absent")));
        assert!(matches!(missing, DatasetError::MissingRoot { .. }));
        assert!(missing.to_string().contains("absent"));
        assert!(matches!(error(&options(empty.dir.path())), DatasetError::UnrecognizedLayout { .. }));
    }
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    for entry in DATASETS {
        let mini = Miniature::new();
        if let Some(layout) = &entry.layout {
            layout.example.write(mini.dir.path()).unwrap();
        }
        let settings = serde_json::json!({ "no such": 1 });
        let options = DatasetOptions::new(Some(mini.dir.path().to_owned()), settings).unwrap();
        match (entry.open)(&options).err() {
            Some(DatasetError::Setting { dataset, key, .. }) => {
                assert_eq!((dataset, key.as_str()), (entry.name, "no such"));
            }
            other => panic!("`{}` does not check the names of its settings: {other:?}", entry.name),
        }
    }
}

#[test]
fn the_identity_opens_the_same_data() {
    for entry in DATASETS {
        let mini = Miniature::new();
        if let Some(layout) = &entry.layout {
            layout.example.write(mini.dir.path()).unwrap();
        }
        let opened = (entry.open)(&options(mini.dir.path())).unwrap();
        let again = DatasetOptions::new(Some(mini.dir.path().to_owned()), opened.identity()).unwrap();
        let again = (entry.open)(&again).unwrap();
        assert_eq!(again.identity(), opened.identity(), "{}", entry.name);
        assert_eq!(again.categories(), opened.categories(), "{}", entry.name);
    }
}

/// An error about a file that is gone or damaged names a path below the data root.
#[test]
fn what_is_wrong_with_a_file_is_told_with_its_path() {
    for (entry, layout) in layouts() {
        for (path, content) in layout.example.files {
            for damage in [None, Some("no image")] {
                let mini = Miniature::of(entry.name, "");
                match damage {
                    None => mini.remove(path),
                    Some(text) => mini.write(path, text.as_bytes()),
                }
                let result = categories(&mini, entry).map_err(SourceError::from);
                let result = result.and_then(|found| found.iter().try_for_each(decode));
                if let Err(error) = &result {
                    let (root, message) = (mini.dir.path().display().to_string(), error.to_string());
                    assert!(message.contains(&root), "`{}`, {path}: no path in `{message}`", entry.name);
                }
                let is_text = matches!(content, ExampleFile::Text(_));
                assert!(
                    result.is_err() || damage.is_none() || is_text,
                    "`{}` does not notice that {path} of its example is damaged; leave out of the example \
                     what is not read",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn images_have_the_size_asked_for() {
    for (entry, layout) in layouts() {
        let mini = Miniature::of(entry.name, "");
        let opened = (entry.open)(&options(mini.dir.path())).unwrap();
        let (category, _) = layout.example.counts[0];
        let size = ImageSize::new(5, 9);
        let opened = opened.category(category, &size.into()).unwrap();
        assert_eq!(opened.train.image(0).unwrap().size(), size);
        assert_eq!(opened.test.mask(0).unwrap().unwrap().size(), size);
    }
}

#[test]
fn a_fit_reads_nothing_of_the_test_split() {
    for (entry, _) in layouts() {
        let name = entry.name;
        let mini = Miniature::of(name, "");
        let whole = categories(&mini, entry).unwrap();
        for category in &whole {
            for sample in (0..category.test.len()).map(|index| category.test.sample(index)) {
                for file in std::iter::once(&sample.image_path).chain(&sample.mask_paths) {
                    std::fs::write(file, "no image").unwrap();
                }
            }
        }
        let opened = (entry.open)(&options(mini.dir.path())).unwrap();
        for category in whole {
            let train = opened.train(&category.name, &SIZE.into()).unwrap_or_else(|error| {
                panic!("override `Dataset::train` of `{name}`, which reads the test split: {error}")
            });
            assert_eq!(train.len(), category.train.len(), "{name}");
            for index in 0..train.len() {
                assert_eq!(train.sample(index), category.train.sample(index), "{name}");
                train.image(index).unwrap();
            }
        }
    }
}

#[test]
fn a_fit_needs_no_folder_of_test_images() {
    for (name, category) in [("mvtec", "nut"), ("btad", "01"), ("folder", "bolt")] {
        let mini = Miniature::of(name, "");
        std::fs::remove_dir_all(mini.path(category).join("test")).unwrap();
        let opened = (dataset(name).unwrap().open)(&options(mini.dir.path())).unwrap();
        assert!(!opened.train(category, &SIZE.into()).unwrap().is_empty(), "{name}");
        assert!(opened.category(category, &SIZE.into()).is_err(), "{name}");
    }
}
