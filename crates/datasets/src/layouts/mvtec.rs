//! MVTec AD (Bergmann et al., CVPR 2019) and any set in its layout.

use super::type_folders::{Folders, TypeFolders};
use crate::source::MaskFormat;
use crate::{Counts, DatasetEntry, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "mvtec",
    summary: "MVTec AD: CATEGORY/train/good, test/TYPE, ground_truth/TYPE/NNN_mask.png",
    layout: Some(FileLayout {
        holders: &["mvtec", "mvtec_ad", "MVTec", "mvtec_anomaly_detection"],
        expected: "CATEGORY/train/good or mvtec/CATEGORY/train/good",
        example: Example {
            files: &[
                ("nut/train/good/000.png", ExampleFile::Image),
                ("nut/train/good/001.png", ExampleFile::Image),
                ("nut/test/good/000.png", ExampleFile::Image),
                ("nut/test/bent/000.png", ExampleFile::Image),
                ("nut/test/cut/000.png", ExampleFile::Image),
                ("nut/test/cut/001.png", ExampleFile::Image),
                ("nut/ground_truth/bent/000_mask.png", ExampleFile::Mask),
                ("nut/ground_truth/cut/000_mask.png", ExampleFile::Mask),
                ("nut/ground_truth/cut/001_mask.png", ExampleFile::Mask),
            ],
            counts: &[("nut", Counts::new(2, 1, 3))],
        },
    }),
    // Table 1 of the paper.
    published: &[
        ("bottle", Counts::new(209, 20, 63)),
        ("cable", Counts::new(224, 58, 92)),
        ("capsule", Counts::new(219, 23, 109)),
        ("carpet", Counts::new(280, 28, 89)),
        ("grid", Counts::new(264, 21, 57)),
        ("hazelnut", Counts::new(391, 40, 70)),
        ("leather", Counts::new(245, 32, 92)),
        ("metal_nut", Counts::new(220, 22, 93)),
        ("pill", Counts::new(267, 26, 141)),
        ("screw", Counts::new(320, 41, 119)),
        ("tile", Counts::new(230, 33, 84)),
        ("toothbrush", Counts::new(60, 12, 30)),
        ("transistor", Counts::new(213, 60, 40)),
        ("wood", Counts::new(247, 19, 60)),
        ("zipper", Counts::new(240, 32, 119)),
    ],
    open: |options| TypeFolders::open(&ENTRY, FOLDERS, MaskFormat::Binary, options),
};

/// The folders of MVTec AD.
pub(super) const FOLDERS: Folders =
    Folders { train: "train/good", test: "test", normal: "good", truth: "ground_truth", unused: &[] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_paper() {
        // 3629 for training and validation and 1725 for testing, the text below Table 1 says.
        assert_eq!(ENTRY.published.len(), 15);
        assert_eq!(Counts::sum(ENTRY.published), Counts::new(3629, 467, 1258));
        assert_eq!(467 + 1258, 1725);
    }
}
