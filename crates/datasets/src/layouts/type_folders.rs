//! The tree of MVTec AD, which several data sets share: normal images for training, the test images
//! in a folder for each type, the masks in folders of the same names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};

use super::files::{
    EXTENSIONS, Tree, category_folders, files_in, find_category, name_of, normal_samples, subfolders,
};
use super::masks::{mask_tree, masked_samples};
use crate::source::MaskFormat;
use crate::told::tell;
use crate::{Category, CategoryFiles, Choice, Dataset, DatasetEntry, DatasetError, DatasetOptions};

/// An opened data set in such a tree.
pub(crate) struct TypeFolders {
    /// Registered name of the data set.
    dataset: &'static str,
    /// The folders of the categories.
    categories: Vec<PathBuf>,
    folders: Folders,
    masks: MaskFormat,
}

/// The folders of a category, relative to its own.
pub(crate) struct Folders {
    /// Normal images to train on.
    pub(crate) train: &'static str,
    /// The folders of test images by type, and perhaps that of the masks.
    pub(crate) test: &'static str,
    /// The folder of normal images in `test`.
    pub(crate) normal: &'static str,
    /// Masks by type.
    pub(crate) truth: &'static str,
    /// Folders of images that are neither trained nor tested on, each with the reason.
    pub(crate) unused: &'static [(&'static str, &'static str)],
}

impl TypeFolders {
    /// Finds the categories of the data set of `entry`, which has no settings: the folders that
    /// hold the top folder of `folders.train` or `folders.test`, complete or not.
    ///
    /// # Errors
    /// The errors of [`DatasetOptions::find`], and [`DatasetError::SharedName`].
    pub(crate) fn open(
        entry: &'static DatasetEntry,
        folders: Folders,
        masks: MaskFormat,
        options: &DatasetOptions,
    ) -> Result<Box<dyn Dataset>, DatasetError> {
        let parts = [folders.train, folders.test].map(|path| path.split('/').next().unwrap_or(path));
        let categories = options.find(entry, |root| category_folders(root, &parts))?;
        Ok(Box::new(Self { dataset: entry.name, categories, folders, masks }))
    }

    fn train_samples(&self, category: &Path) -> Result<Vec<Sample>, DatasetError> {
        let folder = category.join(self.folders.train);
        normal_samples(&folder, Split::Train, self.folders.normal, "the normal training images")
    }

    /// The normal test samples, then those of each type of defect.
    fn test_samples(&self, category: &Path) -> Result<Vec<Sample>, DatasetError> {
        let (test, truth) = (category.join(self.folders.test), category.join(self.folders.truth));
        if !test.is_dir() {
            return Err(DatasetError::MissingSplit { folder: test, contents: "the test images" });
        }
        let normal = test.join(self.folders.normal);
        let mut types = subfolders(&test)?;
        types.retain(|folder| *folder != normal && *folder != truth);
        // Defects alone have scores and maps, too.
        let mut samples = Vec::new();
        if normal.is_dir() || types.is_empty() {
            samples = normal_samples(&normal, Split::Test, self.folders.normal, "the normal test images")?;
        }
        for type_folder in types {
            let defect_type = name_of(&type_folder);
            let masks = mask_tree(&truth.join(type_folder.file_name().unwrap_or_default()))?;
            let images = Tree::required(&type_folder, "the test images of this defect type", &EXTENSIONS)?;
            samples.extend(masked_samples(&images, &masks, "_mask", &defect_type)?);
        }
        refuse_masks_of_no_type(&test, &truth)?;
        tell_masks_of_normal(&truth.join(self.folders.normal))?;
        Ok(samples)
    }
}

impl Dataset for TypeFolders {
    fn categories(&self) -> Vec<String> {
        self.categories.iter().map(|folder| name_of(folder)).collect()
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let folder = find_category(self.dataset, &self.categories, name)?;
        let (train, test) = (self.train_samples(folder)?, self.test_samples(folder)?);
        for (unused, reason) in self.folders.unused {
            let unused = folder.join(unused);
            if unused.is_dir() {
                tell(Choice::UnusedFolder, &unused, 1, Some((*reason).to_owned()));
            }
        }
        Ok(CategoryFiles { folder: folder.to_owned(), train, test, masks: self.masks })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        let folder = find_category(self.dataset, &self.categories, name)?;
        Category::train_from_files(self.train_samples(folder)?, size)
    }
}

/// Masks in the folder `folder` of the normal images are joined to no image.
fn tell_masks_of_normal(folder: &Path) -> Result<(), DatasetError> {
    let masks = mask_tree(folder)?.files;
    if let Some(first) = masks.first() {
        tell(Choice::MasksOfNormal, first, masks.len(), None);
    }
    Ok(())
}

/// A folder of masks without its folder of images: the images were lost, or the folder is misspelt.
/// Masks outside of such folders belong to no image either.
fn refuse_masks_of_no_type(test: &Path, truth: &Path) -> Result<(), DatasetError> {
    // A set without masks is told by its first image.
    if !truth.is_dir() {
        return Ok(());
    }
    for mask in subfolders(truth)? {
        let expected = test.join(mask.file_name().unwrap_or_default());
        if !expected.is_dir() {
            return Err(DatasetError::UnusedMask { mask, expected });
        }
    }
    match files_in(truth, &EXTENSIONS)?.into_iter().next() {
        None => Ok(()),
        Some(mask) => {
            let expected = test.join("TYPE").join(mask.file_name().unwrap_or_default());
            Err(DatasetError::UnusedMask { mask, expected })
        }
    }
}
