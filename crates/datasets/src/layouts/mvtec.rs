//! MVTec AD (Bergmann et al., CVPR 2019) and any set in its layout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, Split};

use super::files::{
    EXTENSIONS, by_stem, category_folders, find_category, image_files, mask_of, name_of, normal_samples,
    required_images, sample, stem_of, subfolders,
};
use crate::source::MaskFormat;
use crate::{Category, Dataset, DatasetEntry, DatasetError, DatasetOptions};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "mvtec",
    summary: "MVTec AD: CATEGORY/train/good, test/TYPE, ground_truth/TYPE/NNN_mask.png",
    open: |options| Ok(Box::new(Mvtec::open(options)?)),
};

/// Names under which the data set's folder is found within the data root.
const HOLDERS: [&str; 4] = ["mvtec", "mvtec_ad", "MVTec", "mvtec_anomaly_detection"];

struct Mvtec {
    categories: Vec<PathBuf>,
}

impl Mvtec {
    fn open(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let root = options.root_for(ENTRY.name)?;
        let holders = HOLDERS.map(|holder| root.join(holder));
        for folder in holders.iter().map(PathBuf::as_path).chain([root]) {
            if !folder.is_dir() {
                continue;
            }
            let categories = category_folders(folder)?;
            if !categories.is_empty() {
                return Ok(Self { categories });
            }
        }
        Err(DatasetError::UnrecognizedLayout {
            dataset: ENTRY.name,
            root: root.to_owned(),
            expected: "CATEGORY/train/good or mvtec/CATEGORY/train/good",
        })
    }
}

impl Dataset for Mvtec {
    fn categories(&self) -> Vec<String> {
        self.categories.iter().map(|folder| name_of(folder)).collect()
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        let folder = find_category(ENTRY.name, &self.categories, name)?;
        let train = normal_samples(&folder.join("train/good"), Split::Train, "the normal training images")?;
        let mut test = normal_samples(&folder.join("test/good"), Split::Test, "the normal test images")?;
        for type_folder in subfolders(&folder.join("test"))? {
            let defect_type = name_of(&type_folder);
            if defect_type == "good" {
                continue;
            }
            let mask_folder = folder.join("ground_truth").join(&defect_type);
            let masks = image_files(&mask_folder)?;
            let mut unused: BTreeSet<&Path> = masks.iter().map(PathBuf::as_path).collect();
            let masks = by_stem(&masks)?;
            for image in required_images(&type_folder, "the test images of this defect type", &EXTENSIONS)? {
                let Some(mask) = mask_of(&masks, &image) else {
                    let expected = mask_folder.join(format!("{}_mask.png", stem_of(&image)));
                    return Err(DatasetError::MissingMask { image, expected });
                };
                let mut sample = sample(Split::Test, &defect_type, image, Some(&defect_type));
                sample.mask_path = Some(mask.to_owned());
                test.push(sample);
                unused.remove(mask);
            }
            if let Some(mask) = unused.first() {
                let stem = stem_of(mask);
                let image = format!("{}.png", stem.strip_suffix("_mask").unwrap_or(&stem));
                let (mask, expected) = (mask.to_path_buf(), type_folder.join(image));
                return Err(DatasetError::UnusedMask { mask, expected });
            }
        }
        refuse_masks_of_no_type(folder)?;
        Category::from_files(name, folder, train, test, size, MaskFormat::Binary)
    }
}

/// A folder of masks without its folder of images: the images were lost, or the folder is misspelt.
fn refuse_masks_of_no_type(category: &Path) -> Result<(), DatasetError> {
    let truth = category.join("ground_truth");
    // A set without masks is told by its first image.
    let mask_folders = if truth.is_dir() { subfolders(&truth)? } else { Vec::new() };
    for mask in mask_folders {
        let expected = category.join("test").join(name_of(&mask));
        if !expected.is_dir() {
            return Err(DatasetError::UnusedMask { mask, expected });
        }
    }
    Ok(())
}
