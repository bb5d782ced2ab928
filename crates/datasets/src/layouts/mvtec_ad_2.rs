//! MVTec AD 2 (Heckler-Kram, Neudeck, Scheler, König and Steger, arXiv:2503.21622, 2025) in its own
//! layout. The labels of its private test images are not published, so that the public ones are
//! the test split.

use super::type_folders::{Folders, TypeFolders};
use crate::source::MaskFormat;
use crate::{Counts, DatasetEntry, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "mvtec-ad-2",
    summary: "MVTec AD 2: CATEGORY/train/good, test_public/good, test_public/bad, test_public/ground_truth/bad",
    layout: Some(FileLayout {
        holders: &["mvtec-ad-2", "mvtec_ad_2", "MVTec_AD_2"],
        expected: "can/train/good or mvtec_ad_2/can/train/good",
        example: Example {
            files: &[
                ("can/train/good/000_regular.png", ExampleFile::Image),
                ("can/train/good/001_regular.png", ExampleFile::Image),
                ("can/test_public/good/000_overexposed.png", ExampleFile::Image),
                ("can/test_public/bad/000_regular.png", ExampleFile::Image),
                ("can/test_public/bad/001_regular.png", ExampleFile::Image),
                ("can/test_public/ground_truth/bad/000_regular_mask.png", ExampleFile::Mask),
                ("can/test_public/ground_truth/bad/001_regular_mask.png", ExampleFile::Mask),
            ],
            counts: &[("can", Counts::new(2, 1, 2))],
        },
    }),
    published: &[],
    open: |options| TypeFolders::open(&ENTRY, FOLDERS, MaskFormat::Binary, options),
};

const FOLDERS: Folders = Folders {
    train: "train/good",
    test: "test_public",
    normal: "good",
    truth: "test_public/ground_truth",
    unused: &[
        ("validation/good", "images for validation, which the published protocol does not train on"),
        ("test_private", "images without published labels"),
        ("test_private_mixed", "images without published labels"),
    ],
};

#[cfg(test)]
mod tests {
    use std::fs;

    use fmam_core::{ImageSize, Label};

    use super::*;
    use crate::{DatasetError, DatasetOptions};

    #[test]
    fn what_has_no_label_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let can = dir.path().join("can");
        for folder in ["validation/good", "test_private", "test_private_mixed"] {
            fs::create_dir_all(can.join(folder)).unwrap();
            fs::copy(can.join("train/good/000_regular.png"), can.join(folder).join("000_mixed.png")).unwrap();
        }
        let opened = (ENTRY.open)(&DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap()).unwrap();
        let category = opened.category("can", &ImageSize::square(8).into()).unwrap();
        assert_eq!(Counts::of(&category), Counts::new(2, 1, 2));
        let sample = category.test.sample(1);
        assert_eq!((sample.id.as_str(), sample.label), ("test/bad/000_regular", Label::Anomalous));
        assert!(sample.mask_paths[0].ends_with("test_public/ground_truth/bad/000_regular_mask.png"));
    }

    #[test]
    fn a_missing_and_a_surplus_mask_are_told() {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let opened = (ENTRY.open)(&DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap()).unwrap();
        let error = || opened.category("can", &ImageSize::square(8).into()).unwrap_err();
        let test = dir.path().join("can/test_public");
        fs::remove_file(test.join("bad/001_regular.png")).unwrap();
        assert!(
            matches!(error(), DatasetError::UnusedMask { expected, .. } if expected.ends_with("bad/001_regular.png"))
        );
        fs::remove_dir_all(test.join("ground_truth")).unwrap();
        assert!(matches!(
            error(),
            DatasetError::MissingMask { expected, .. } if expected.ends_with("ground_truth/bad/000_regular_mask.png")
        ));
        fs::remove_dir_all(test).unwrap();
        assert!(
            matches!(error(), DatasetError::MissingSplit { folder, .. } if folder.ends_with("test_public"))
        );
    }
}
