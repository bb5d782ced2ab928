//! MPDD, metal parts defect detection (Jezek, Jonak, Burget, Dvorak and Skotak, ICUMT 2021): six
//! categories in the layout of MVTec AD.

use super::mvtec::FOLDERS;
use super::type_folders::TypeFolders;
use crate::source::MaskFormat;
use crate::{Counts, DatasetEntry, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "mpdd",
    summary: "MPDD, metal parts: CATEGORY/train/good, test/TYPE, ground_truth/TYPE/NNN_mask.png",
    layout: Some(FileLayout {
        holders: &["mpdd", "MPDD"],
        expected: "tubes/train/good or mpdd/tubes/train/good",
        example: Example {
            files: &[
                ("tubes/train/good/000.png", ExampleFile::Image),
                ("tubes/train/good/001.png", ExampleFile::Image),
                ("tubes/test/good/000.png", ExampleFile::Image),
                ("tubes/test/anomalous/000.png", ExampleFile::Image),
                ("tubes/ground_truth/anomalous/000_mask.png", ExampleFile::Mask),
            ],
            counts: &[("tubes", Counts::new(2, 1, 1))],
        },
    }),
    // Table I of the paper.
    published: &[
        ("bracket_black", Counts::new(289, 32, 47)),
        ("bracket_brown", Counts::new(185, 26, 51)),
        ("bracket_white", Counts::new(110, 30, 30)),
        ("connector", Counts::new(128, 30, 14)),
        ("metal_plate", Counts::new(54, 26, 71)),
        ("tubes", Counts::new(122, 32, 69)),
    ],
    open: |options| TypeFolders::open(&ENTRY, FOLDERS, MaskFormat::Binary, options),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_paper() {
        // 888 for training, 176 normal and 282 anomalous for testing.
        assert_eq!(ENTRY.published.len(), 6);
        assert_eq!(Counts::sum(ENTRY.published), Counts::new(888, 176, 282));
    }
}
