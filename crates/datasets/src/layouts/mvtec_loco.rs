//! MVTec LOCO AD (Bergmann, Batzner, Fauser, Sattlegger and Steger, *IJCV* 2022) in its own layout.
//! An image has a folder of masks, one for each defect; their union is its ground truth. The value
//! of a mask is that of its defect in `defects_config.json`: a pixel that is not 0 is anomalous.

use super::type_folders::{Folders, TypeFolders};
use crate::source::MaskFormat;
use crate::{Counts, DatasetEntry, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "mvtec-loco",
    summary: "MVTec LOCO AD: CATEGORY/train/good, test/TYPE, ground_truth/TYPE/NNN/MMM.png",
    layout: Some(FileLayout {
        holders: &["mvtec-loco", "mvtec_loco", "mvtec_loco_anomaly_detection"],
        expected: "screw_bag/train/good or mvtec-loco/screw_bag/train/good",
        example: Example {
            files: &[
                ("screw_bag/train/good/000.png", ExampleFile::Image),
                ("screw_bag/train/good/001.png", ExampleFile::Image),
                ("screw_bag/test/good/000.png", ExampleFile::Image),
                ("screw_bag/test/logical_anomalies/000.png", ExampleFile::Image),
                ("screw_bag/test/structural_anomalies/000.png", ExampleFile::Image),
                ("screw_bag/ground_truth/logical_anomalies/000/000.png", ExampleFile::Mask),
                ("screw_bag/ground_truth/logical_anomalies/000/001.png", ExampleFile::ClassMask),
                ("screw_bag/ground_truth/structural_anomalies/000/000.png", ExampleFile::ClassMask),
            ],
            counts: &[("screw_bag", Counts::new(2, 1, 2))],
        },
    }),
    // The table of the data set; logical and structural anomalies together.
    published: &[
        ("breakfast_box", Counts::new(351, 102, 173)),
        ("juice_bottle", Counts::new(335, 94, 236)),
        ("pushpins", Counts::new(372, 138, 172)),
        ("screw_bag", Counts::new(360, 122, 219)),
        ("splicing_connectors", Counts::new(360, 119, 193)),
    ],
    open: |options| TypeFolders::open(&ENTRY, FOLDERS, MaskFormat::ClassIndices, options),
};

const FOLDERS: Folders = Folders {
    train: "train/good",
    test: "test",
    normal: "good",
    truth: "ground_truth",
    unused: &[("validation/good", "images for validation, which the published protocol does not train on")],
};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use fmam_core::ImageSize;
    use image::{GrayImage, Luma};

    use super::*;
    use crate::{Dataset, DatasetError, DatasetOptions};

    const TYPE: &str = "screw_bag/ground_truth/logical_anomalies";

    fn example() -> (tempfile::TempDir, Box<dyn Dataset>) {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let opened = (ENTRY.open)(&DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap()).unwrap();
        (dir, opened)
    }

    /// A mask of the example's size with one column of `value`.
    fn column(path: &Path, column: u32, value: u8) {
        GrayImage::from_fn(12, 10, |x, _| Luma([if x == column { value } else { 0 }])).save(path).unwrap();
    }

    #[test]
    fn the_sums_are_those_of_the_data_set() {
        // 1568 test images, 993 of them anomalous.
        assert_eq!(Counts::sum(ENTRY.published), Counts::new(1778, 575, 993));
        assert_eq!(575 + 993, 1568);
    }

    #[test]
    fn the_masks_of_an_image_are_united() {
        let (dir, opened) = example();
        column(&dir.path().join(TYPE).join("000/000.png"), 2, 250);
        column(&dir.path().join(TYPE).join("000/001.png"), 9, 3);
        let test = opened.category("screw_bag", &ImageSize::new(10, 12).into()).unwrap().test;
        assert_eq!(
            (test.sample(1).id.as_str(), test.sample(1).mask_paths.len()),
            ("test/logical_anomalies/000", 2)
        );
        let mask = test.mask(1).unwrap().unwrap();
        assert!(mask.at(0, 2) && mask.at(9, 9));
        assert_eq!(mask.area(), 20);
    }

    #[test]
    fn every_mask_of_an_image_has_its_size_and_an_image() {
        let (dir, opened) = example();
        let error = || opened.category("screw_bag", &ImageSize::square(8).into()).unwrap_err();
        GrayImage::new(10, 12).save(dir.path().join(TYPE).join("000/001.png")).unwrap();
        assert!(matches!(error(), DatasetError::MaskSize { mask, .. } if mask.ends_with("000/001.png")));
        fs::rename(dir.path().join(TYPE).join("000"), dir.path().join(TYPE).join("001")).unwrap();
        let DatasetError::MisnamedMask { mask, image, .. } = error() else { panic!("{:?}", error()) };
        assert!(mask.ends_with("001/000.png") && image.ends_with("logical_anomalies/000.png"));
        fs::remove_dir_all(dir.path().join(TYPE)).unwrap();
        assert!(matches!(error(), DatasetError::MissingMask { image, .. } if image.ends_with("000.png")));
    }

    #[test]
    fn an_image_without_its_folder_of_masks_is_expected() {
        let (dir, opened) = example();
        let other = dir.path().join(TYPE).join("007");
        fs::create_dir(&other).unwrap();
        column(&other.join("000.png"), 1, 1);
        let error = opened.category("screw_bag", &ImageSize::square(8).into()).unwrap_err();
        assert!(
            matches!(
                &error,
                DatasetError::UnusedMask { expected, .. } if expected.ends_with("test/logical_anomalies/007.png")
            ),
            "{error:?}"
        );
    }
}
