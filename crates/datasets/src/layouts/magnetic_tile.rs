//! Magnetic Tile Defect (Huang, Qiu and Yuan, *The Visual Computer* 2020) in its own layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};

use super::files::{Tree, name_of, sample, subfolders};
use super::masks::masked_samples;
use crate::source::MaskFormat;
use crate::{
    Category, CategoryFiles, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile, FileLayout,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "magnetic-tile",
    summary: "Magnetic Tile Defect: MT_TYPE/Imgs with NAME.jpg and its mask NAME.png; one category",
    layout: Some(FileLayout {
        holders: &["magnetic-tile", "magnetic_tile", "Magnetic-tile-defect-datasets."],
        expected: "MT_Free/Imgs or magnetic-tile/MT_Free/Imgs",
        example: Example {
            files: &[
                ("MT_Free/Imgs/a.jpg", ExampleFile::Image),
                ("MT_Free/Imgs/b.jpg", ExampleFile::Image),
                ("MT_Free/Imgs/c.jpg", ExampleFile::Image),
                ("MT_Free/Imgs/d.jpg", ExampleFile::Image),
                ("MT_Free/Imgs/e.jpg", ExampleFile::Image),
                ("MT_Free/Imgs/f.jpg", ExampleFile::Image),
                ("MT_Crack/Imgs/a.jpg", ExampleFile::Image),
                ("MT_Crack/Imgs/a.png", ExampleFile::Mask),
            ],
            counts: &[("magnetic-tile", Counts::new(4, 2, 1))],
        },
    }),
    // 952 normal and 392 anomalous images; the normal ones split as below.
    published: &[("magnetic-tile", Counts::new(761, 191, 392))],
    open: |options| Ok(Box::new(MagneticTile { folder: options.find(&ENTRY, found_in)? })),
};

/// Photographs and masks lie side by side and differ in the extension.
const PHOTOGRAPHS: [&str; 2] = ["jpg", "jpeg"];
const MASKS: [&str; 1] = ["png"];
/// The data set comes without a split: of the normal images sorted by name, one in this many is for
/// testing.
const TEST_EVERY: usize = 5;

struct MagneticTile {
    folder: PathBuf,
}

/// `folder`, where it holds folders of tiles.
fn found_in(folder: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let holds_tiles = subfolders(folder)?.iter().any(|subfolder| name_of(subfolder).starts_with("MT_"));
    Ok(holds_tiles.then(|| folder.to_owned()))
}

impl Dataset for MagneticTile {
    fn categories(&self) -> Vec<String> {
        vec![ENTRY.name.to_owned()]
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let (train, mut test) = self.normal_samples(name)?;
        for folder in subfolders(&self.folder)? {
            let folder_name = name_of(&folder);
            let Some(defect_type) = folder_name.strip_prefix("MT_").filter(|name| *name != "Free") else {
                continue;
            };
            let folder = folder.join("Imgs");
            let images = Tree::required(&folder, "the images of this defect type", &PHOTOGRAPHS)?;
            let masks = Tree::below(&folder, &MASKS)?;
            test.extend(masked_samples(&images, &masks, "", defect_type)?);
        }
        // Four images of MT_Uneven come with a mask that is all black.
        Ok(CategoryFiles { folder: self.folder.clone(), train, test, masks: MaskFormat::SoftOrBlank })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(self.normal_samples(name)?.0, size)
    }
}

impl MagneticTile {
    /// The defect-free images for training and for testing.
    fn normal_samples(&self, name: &str) -> Result<(Vec<Sample>, Vec<Sample>), DatasetError> {
        if name != ENTRY.name {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        let folder = self.folder.join("MT_Free/Imgs");
        let normal = Tree::required(&folder, "the defect-free images", &PHOTOGRAPHS)?;
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (index, image) in normal.files.iter().enumerate() {
            let of_split = |split| sample(split, "Free", &normal.name(image), image.clone(), None);
            if index % TEST_EVERY == 0 {
                test.push(of_split(Split::Test));
            } else {
                train.push(of_split(Split::Train));
            }
        }
        if train.is_empty() { Err(DatasetError::NoImages { folder }) } else { Ok((train, test)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_paper() {
        // 952 defect-free images, and 115 blowholes, 85 breaks, 57 cracks, 32 frays, 103 uneven
        // tiles.
        let Counts { train, test_normal, test_anomalous } = Counts::sum(ENTRY.published);
        assert_eq!((train + test_normal, test_anomalous), (952, 115 + 85 + 57 + 32 + 103));
        assert_eq!(test_normal, 952_usize.div_ceil(TEST_EVERY));
    }
}
