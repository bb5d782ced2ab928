//! Any images in plain folders: the way to bring one's own data.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, Sample, Split};

use super::files::{
    EXTENSIONS, by_stem, category_folders, find_category, image_files, mask_of, name_of, normal_samples,
    required_images, sample, subfolders,
};
use crate::source::MaskFormat;
use crate::{Category, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile, FileLayout};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "folder",
    summary: "your images: [CATEGORY/]train/normal, test/normal, test/anomalous[/TYPE], masks[/TYPE]/STEM.png",
    layout: Some(FileLayout {
        holders: &[],
        expected: "train/normal or CATEGORY/train/normal",
        example: Example {
            files: &[
                ("bolt/train/normal/x.bmp", ExampleFile::Image),
                ("bolt/test/normal/y.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/p.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/q.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/hole/p.bmp", ExampleFile::Image),
                ("bolt/masks/p.png", ExampleFile::Mask),
                ("bolt/masks/q_mask.png", ExampleFile::Mask),
                ("bolt/masks/hole/p.png", ExampleFile::Mask),
            ],
            counts: &[("bolt", Counts::new(1, 1, 3))],
        },
    }),
    published: &[],
    open: |options| Ok(Box::new(Folder { categories: options.find(&ENTRY, found_in)? })),
};

struct Folder {
    categories: Vec<PathBuf>,
}

/// The categories in `root`, or `root` itself where it is a category.
fn found_in(root: &Path) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    if !root.join("train").is_dir() && !root.join("test").is_dir() {
        return category_folders(root);
    }
    // The category is called as its folder, which `.` or `..` would not tell.
    let root =
        root.canonicalize().map_err(|source| DatasetError::ListFolder { folder: root.to_owned(), source })?;
    Ok(Some(vec![root]))
}

impl Dataset for Folder {
    fn categories(&self) -> Vec<String> {
        self.categories.iter().map(|folder| name_of(folder)).collect()
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        let folder = find_category(ENTRY.name, &self.categories, name)?;
        let train = normal_samples(&folder.join("train/normal"), Split::Train, "the normal training images")?;
        let mut test = normal_samples(&folder.join("test/normal"), Split::Test, "the normal test images")?;
        let anomalous = folder.join("test/anomalous");
        if !anomalous.is_dir() {
            let contents = "the test images with defects";
            return Err(DatasetError::MissingSplit { folder: anomalous, contents });
        }
        test.extend(anomalous_samples(&anomalous, &folder.join("masks"))?);
        Category::from_files(name, folder, train, test, size, MaskFormat::Binary)
    }
}

/// The samples in `folder` and, by defect type, in its sub-folders. A mask lies in the same
/// sub-folder of `masks` or in `masks` itself; either every image has one or none has.
fn anomalous_samples(folder: &Path, masks: &Path) -> Result<Vec<Sample>, DatasetError> {
    let flat_masks = image_files(masks)?;
    let flat_masks = by_stem(&flat_masks)?;
    let mut samples: Vec<Sample> = image_files(folder)?
        .into_iter()
        .map(|image| sample(Split::Test, "anomalous", image, Some("anomalous")))
        .collect();
    for sample in &mut samples {
        sample.mask_path = mask_of(&flat_masks, &sample.image_path).map(Path::to_owned);
    }
    for type_folder in subfolders(folder)? {
        let defect_type = name_of(&type_folder);
        let type_masks = image_files(&masks.join(type_folder.file_name().unwrap_or_default()))?;
        let type_masks = by_stem(&type_masks)?;
        for image in required_images(&type_folder, "the test images of this defect type", &EXTENSIONS)? {
            let mask =
                mask_of(&type_masks, &image).or_else(|| mask_of(&flat_masks, &image)).map(Path::to_owned);
            let group = format!("anomalous/{defect_type}");
            let sample = sample(Split::Test, &group, image, Some(&defect_type));
            samples.push(Sample { mask_path: mask, ..sample });
        }
    }
    refuse_shared_masks(&samples)?;
    refuse_some_without_mask(&samples)?;
    Ok(samples)
}

/// `masks/001.png` fits both `hole/001.png` and `stain/001.png`: it would be wrong for one of them.
fn refuse_shared_masks(samples: &[Sample]) -> Result<(), DatasetError> {
    let mut users: HashMap<&Path, &Path> = HashMap::new();
    for sample in samples {
        let Some(mask) = &sample.mask_path else { continue };
        if let Some(first) = users.insert(mask, &sample.image_path) {
            let (first, second) = (first.to_owned(), sample.image_path.clone());
            return Err(DatasetError::SharedMask { mask: mask.clone(), first, second });
        }
    }
    Ok(())
}

/// Pixel figures need the masks of all anomalous images: a forgotten one would silently take them
/// away.
fn refuse_some_without_mask(samples: &[Sample]) -> Result<(), DatasetError> {
    let mut without = samples.iter().filter(|sample| sample.mask_path.is_none());
    let Some(first) = without.next() else { return Ok(()) };
    let (without, of) = (1 + without.count(), samples.len());
    if without == of {
        return Ok(());
    }
    Err(DatasetError::SomeMasksMissing { image: first.image_path.clone(), without, of })
}
