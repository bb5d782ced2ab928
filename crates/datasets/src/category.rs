use std::path::Path;
use std::sync::Arc;

use fmam_core::{Label, Preparation, Sample, SampleSource};

use crate::names::refuse_shared_names;
use crate::source::{FileSource, MaskFormat};
use crate::{CachedSource, DEFAULT_CACHE_BYTES, DatasetError};

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
    /// and masks are decoded on request and prepared as `preparation` says.
    ///
    /// # Errors
    /// [`DatasetError::OneClassTest`] for a test split without normal or without anomalous images,
    /// [`DatasetError::SharedName`] for two samples of one id, [`DatasetError::MaskSize`] for a
    /// mask of another size than its image, and what is wrong with the files' headers.
    pub fn from_files(
        name: &str,
        folder: &Path,
        train: Vec<Sample>,
        test: Vec<Sample>,
        preparation: &Preparation,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for missing in [Label::Normal, Label::Anomalous] {
            if !test.iter().any(|sample| sample.label == missing) {
                return Err(DatasetError::OneClassTest { folder: folder.to_owned(), missing });
            }
        }
        let samples = train.iter().chain(&test);
        refuse_shared_names(samples.map(|sample| (sample.id.clone(), sample.image_path.as_path())))?;
        let train = FileSource::new(train, preparation, masks)?;
        let test = FileSource::new(test, preparation, masks)?;
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

    /// A category over `train` and `test`, each behind a cache of [`DEFAULT_CACHE_BYTES`].
    pub fn cached(name: &str, train: impl SampleSource + 'static, test: impl SampleSource + 'static) -> Self {
        Self {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES)),
        }
    }
}
