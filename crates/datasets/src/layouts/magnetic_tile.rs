//! Magnetic Tile Defect (Huang, Qiu and Yuan, *The Visual Computer* 2020) in its own layout.

use std::path::PathBuf;

use fmam_core::{ImageSize, Split};

use super::files::{by_stem, files_with, mask_of, name_of, required_images, sample, subfolders};
use crate::source::MaskFormat;
use crate::{Category, Dataset, DatasetEntry, DatasetError, DatasetOptions};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "magnetic-tile",
    summary: "Magnetic Tile Defect: MT_TYPE/Imgs with NAME.jpg and its mask NAME.png; one category",
    open: |options| Ok(Box::new(MagneticTile::open(options)?)),
};

/// Names under which the data set's folder is found within the data root.
const HOLDERS: [&str; 3] = ["magnetic-tile", "magnetic_tile", "Magnetic-tile-defect-datasets."];
/// Photographs and masks lie side by side and differ in the extension.
const PHOTOGRAPHS: [&str; 2] = ["jpg", "jpeg"];
const MASKS: [&str; 1] = ["png"];
/// The data set comes without a split: of the normal images sorted by name, one in this many is for testing.
const TEST_EVERY: usize = 5;

struct MagneticTile {
    folder: PathBuf,
}

impl MagneticTile {
    fn open(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let root = options.root_for(ENTRY.name)?;
        let candidates = HOLDERS.map(|holder| root.join(holder)).into_iter().chain([root.to_owned()]);
        for folder in candidates.filter(|folder| folder.is_dir()) {
            if subfolders(&folder)?.iter().any(|subfolder| name_of(subfolder).starts_with("MT_")) {
                return Ok(Self { folder });
            }
        }
        Err(DatasetError::UnrecognizedLayout {
            dataset: ENTRY.name,
            root: root.to_owned(),
            expected: "MT_Free/Imgs or magnetic-tile/MT_Free/Imgs",
        })
    }
}

impl Dataset for MagneticTile {
    fn categories(&self) -> Vec<String> {
        vec![ENTRY.name.to_owned()]
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        if name != ENTRY.name {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        let normal =
            required_images(&self.folder.join("MT_Free/Imgs"), "the defect-free images", &PHOTOGRAPHS)?;
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (index, image) in normal.into_iter().enumerate() {
            if index % TEST_EVERY == 0 {
                test.push(sample(Split::Test, "Free", image, None));
            } else {
                train.push(sample(Split::Train, "Free", image, None));
            }
        }
        if train.is_empty() {
            return Err(DatasetError::NoImages { folder: self.folder.join("MT_Free/Imgs") });
        }
        for folder in subfolders(&self.folder)? {
            let folder_name = name_of(&folder);
            let Some(defect_type) = folder_name.strip_prefix("MT_").filter(|name| *name != "Free") else {
                continue;
            };
            let images =
                required_images(&folder.join("Imgs"), "the images of this defect type", &PHOTOGRAPHS)?;
            let masks = files_with(&folder.join("Imgs"), &MASKS)?;
            let masks = by_stem(&masks)?;
            for image in images {
                let Some(mask) = mask_of(&masks, &image) else {
                    let expected = image.with_extension("png");
                    return Err(DatasetError::MissingMask { image, expected });
                };
                let mut sample = sample(Split::Test, defect_type, image, Some(defect_type));
                sample.mask_path = Some(mask.to_owned());
                test.push(sample);
            }
        }
        // Four images of MT_Uneven come with a mask that is all black.
        Category::from_files(name, &self.folder, train, test, size, MaskFormat::BinaryOrBlank)
    }
}
