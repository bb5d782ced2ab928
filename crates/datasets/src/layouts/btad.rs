//! BTAD, beanTech anomaly detection (Mishra, Verk, Fornasier, Piciarelli and Foresti, VT-ADL, ISIE
//! 2021, arXiv:2104.10036): three products in their own layout.

use super::type_folders::{Folders, TypeFolders};
use crate::source::MaskFormat;
use crate::{Counts, DatasetEntry, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "btad",
    summary: "BTAD: PRODUCT/train/ok, test/ok, test/ko, ground_truth/ko with masks of the images' stems",
    layout: Some(FileLayout {
        holders: &["btad", "BTAD", "BTech_Dataset_transformed"],
        expected: "01/train/ok or btad/01/train/ok",
        // Product 01 has BMP files with PNG masks, product 02 PNG files.
        example: Example {
            files: &[
                ("01/train/ok/0000.bmp", ExampleFile::Image),
                ("01/train/ok/0001.bmp", ExampleFile::Image),
                ("01/test/ok/0000.bmp", ExampleFile::Image),
                ("01/test/ko/0000.bmp", ExampleFile::Image),
                ("01/test/ko/0001.bmp", ExampleFile::Image),
                ("01/ground_truth/ko/0000.png", ExampleFile::Mask),
                ("01/ground_truth/ko/0001.png", ExampleFile::Mask),
                ("02/train/ok/0000.png", ExampleFile::Image),
                ("02/test/ok/0000.png", ExampleFile::Image),
                ("02/test/ko/0000.png", ExampleFile::Image),
                ("02/ground_truth/ko/0000.png", ExampleFile::Mask),
            ],
            counts: &[("01", Counts::new(2, 1, 2)), ("02", Counts::new(1, 1, 1))],
        },
    }),
    published: &[],
    open: |options| TypeFolders::open(&ENTRY, FOLDERS, MaskFormat::Binary, options),
};

const FOLDERS: Folders =
    Folders { train: "train/ok", test: "test", normal: "ok", truth: "ground_truth", unused: &[] };

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::{DatasetError, DatasetOptions};

    #[test]
    fn masks_are_joined_by_stem_whatever_the_format() {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let opened = (ENTRY.open)(&DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap()).unwrap();
        let test = opened.category("01", &ImageSize::square(8).into()).unwrap().test;
        let sample = test.sample(2);
        assert_eq!((sample.id.as_str(), sample.defect_type.as_deref()), ("test/ko/0001", Some("ko")));
        assert!(sample.image_path.ends_with("01/test/ko/0001.bmp"));
        assert!(sample.mask_paths[0].ends_with("01/ground_truth/ko/0001.png"));
    }

    #[test]
    fn a_missing_and_a_surplus_mask_are_told() {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let options = DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap();
        let opened = (ENTRY.open)(&options).unwrap();
        let error = || opened.category("01", &ImageSize::square(8).into()).unwrap_err();
        std::fs::remove_file(dir.path().join("01/test/ko/0001.bmp")).unwrap();
        assert!(matches!(error(), DatasetError::UnusedMask { mask, .. } if mask.ends_with("ko/0001.png")));
        std::fs::remove_file(dir.path().join("01/ground_truth/ko/0001.png")).unwrap();
        std::fs::remove_file(dir.path().join("01/ground_truth/ko/0000.png")).unwrap();
        assert!(matches!(error(), DatasetError::MissingMask { image, .. } if image.ends_with("ko/0000.bmp")));
    }
}
