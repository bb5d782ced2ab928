//! MVTec AD (Bergmann et al., CVPR 2019) and any set in its layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};

use super::files::{category_folders, find_category, masked_samples, name_of, normal_samples, subfolders};
use crate::source::MaskFormat;
use crate::{Category, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile, FileLayout};

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
    open: |options| Ok(Box::new(Mvtec { categories: options.find(&ENTRY, category_folders)? })),
};

struct Mvtec {
    categories: Vec<PathBuf>,
}

impl Dataset for Mvtec {
    fn categories(&self) -> Vec<String> {
        self.categories.iter().map(|folder| name_of(folder)).collect()
    }

    fn category(&self, name: &str, size: &Preparation) -> Result<Category, DatasetError> {
        let folder = find_category(ENTRY.name, &self.categories, name)?;
        let train = train_samples(folder)?;
        let mut test = normal_samples(&folder.join("test/good"), Split::Test, "the normal test images")?;
        for type_folder in subfolders(&folder.join("test"))? {
            let Some(defect_type) = type_folder.file_name().filter(|name| *name != "good") else { continue };
            let masks = folder.join("ground_truth").join(defect_type);
            test.extend(masked_samples(&type_folder, &masks, "the test images of this defect type")?);
        }
        refuse_masks_of_no_type(folder)?;
        Category::from_files(name, folder, train, test, size, MaskFormat::Binary)
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(train_samples(find_category(ENTRY.name, &self.categories, name)?)?, size)
    }
}

fn train_samples(category: &Path) -> Result<Vec<Sample>, DatasetError> {
    normal_samples(&category.join("train/good"), Split::Train, "the normal training images")
}

/// A folder of masks without its folder of images: the images were lost, or the folder is misspelt.
fn refuse_masks_of_no_type(category: &Path) -> Result<(), DatasetError> {
    let truth = category.join("ground_truth");
    // A set without masks is told by its first image.
    let mask_folders = if truth.is_dir() { subfolders(&truth)? } else { Vec::new() };
    for mask in mask_folders {
        let expected = category.join("test").join(mask.file_name().unwrap_or_default());
        if !expected.is_dir() {
            return Err(DatasetError::UnusedMask { mask, expected });
        }
    }
    Ok(())
}

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
