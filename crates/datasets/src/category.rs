use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Label, Preparation, Sample, SampleSource};

use crate::names::refuse_shared_names;
use crate::source::{FileSource, MaskFormat};
use crate::told::tell;
use crate::{CachedSource, Choice, DEFAULT_CACHE_BYTES, DatasetError, Told};

/// One category: a product of which normal images are learnt and defects are to be found.
#[derive(Clone)]
#[non_exhaustive]
pub struct Category {
    /// Its name in the data set.
    pub name: String,
    /// Normal images to fit on.
    pub train: Arc<dyn SampleSource>,
    /// Normal and anomalous images, with masks where the data set has them.
    pub test: Arc<dyn SampleSource>,
    /// The choices that were made in listing the files.
    pub told: Vec<Told>,
}

/// The image files of one category, before any of them is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoryFiles {
    /// The folder of the category, or of the data set where categories share one.
    pub folder: PathBuf,
    /// Normal images to fit on.
    pub train: Vec<Sample>,
    /// Normal and anomalous images, with the paths of their masks.
    pub test: Vec<Sample>,
    /// Format of the masks.
    pub masks: MaskFormat,
}

impl std::fmt::Debug for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Category")
            .field("name", &self.name)
            .field("n_train", &self.train.len())
            .field("n_test", &self.test.len())
            .finish()
    }
}

impl Category {
    /// A category of image files under `folder`, after the checks that all layouts share. Images
    /// and masks are decoded on request and prepared as `preparation` says. 16-bit files of both
    /// splits are scaled by the depth of the training images.
    ///
    /// # Errors
    /// [`DatasetError::EmptyTest`], [`DatasetError::SharedName`] for two samples of one id,
    /// [`DatasetError::MaskSize`] for a mask of another size than its image, and what is wrong with
    /// the files' headers. A test split of one class has a warning.
    pub fn from_files(
        name: &str,
        folder: &Path,
        train: Vec<Sample>,
        test: Vec<Sample>,
        preparation: &Preparation,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        if test.is_empty() {
            return Err(DatasetError::EmptyTest { folder: folder.to_owned() });
        }
        tell_one_class(folder, &test);
        let samples = train.iter().chain(&test);
        refuse_shared_names(samples.map(|sample| (sample.id.clone(), sample.image_path.as_path())))?;
        let train = FileSource::new(train, preparation, masks)?;
        let test = FileSource::new(test, preparation, masks)?.with_depth_of(&train);
        Ok(Self::cached(name, train, test))
    }

    /// The training images of a category of image files, as [`Category::from_files`] has them.
    ///
    /// # Errors
    /// [`DatasetError::SharedName`] for two samples of one id.
    pub fn train_from_files(
        train: Vec<Sample>,
        preparation: &Preparation,
    ) -> Result<Arc<dyn SampleSource>, DatasetError> {
        refuse_shared_names(train.iter().map(|sample| (sample.id.clone(), sample.image_path.as_path())))?;
        let train = FileSource::new(train, preparation, MaskFormat::Binary)?;
        Ok(Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)))
    }

    /// A category over `train` and `test`, behind caches of [`DEFAULT_CACHE_BYTES`] and of a
    /// quarter of it: test images are looked at once for each run, training images in each epoch.
    pub fn cached(name: &str, train: impl SampleSource + 'static, test: impl SampleSource + 'static) -> Self {
        Self {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES / 4)),
            told: Vec::new(),
        }
    }
}

/// Tells which figures a test split of one class cannot have.
fn tell_one_class(folder: &Path, test: &[Sample]) {
    let has = |label| test.iter().any(|sample| sample.label == label);
    if !has(Label::Normal) {
        tell(Choice::NoNormalTest, folder, test.len(), None);
    } else if !has(Label::Anomalous) {
        tell(Choice::NoAnomalousTest, folder, test.len(), None);
    }
}
