use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{ImageSize, Label, Sample, SampleSource};

use crate::decode::MaskFormat;
use crate::demo::DemoConfig;
use crate::files::FileSource;
use crate::{
    CachedSource, DEFAULT_CACHE_BYTES, DatasetError, demo, folder, magnetic_tile, mvtec, visa, zju_leaper,
};

/// Every data set that the program knows, in the order in which it lists them. A new one is a file and a line
/// here.
pub static DATASETS: &[&DatasetEntry] =
    &[&demo::ENTRY, &folder::ENTRY, &magnetic_tile::ENTRY, &mvtec::ENTRY, &visa::ENTRY, &zju_leaper::ENTRY];

/// A registered data set.
pub struct DatasetEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for a person: what it is and the layout it is read from.
    pub summary: &'static str,
    /// Finds its categories.
    pub open: fn(&DatasetOptions) -> Result<Box<dyn Dataset>, DatasetError>,
}

impl std::fmt::Debug for DatasetEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The data set registered as `name`.
///
/// # Errors
/// [`DatasetError::UnknownDataset`], which lists the known.
pub fn dataset(name: &str) -> Result<&'static DatasetEntry, DatasetError> {
    DATASETS.iter().copied().find(|entry| entry.name == name).ok_or_else(|| DatasetError::UnknownDataset {
        name: name.to_owned(),
        known: DATASETS.iter().map(|entry| entry.name).collect(),
    })
}

/// What a data set is opened with; each takes the part that concerns it.
#[derive(Debug, Clone, Default)]
pub struct DatasetOptions {
    /// The data set's own folder or the folder that holds it. The demo set needs none.
    pub root: Option<PathBuf>,
    /// Seed and counts of the generated demo set.
    pub demo: DemoConfig,
}

impl DatasetOptions {
    /// The root, which must be a folder.
    pub(crate) fn root_for(&self, dataset: &'static str) -> Result<&Path, DatasetError> {
        let root = self.root.as_deref().ok_or(DatasetError::RootNotGiven { dataset })?;
        if root.is_dir() { Ok(root) } else { Err(DatasetError::MissingRoot { root: root.to_owned() }) }
    }
}

/// An opened data set.
pub trait Dataset: Send + Sync {
    /// Names of the categories that are used where none are asked for, sorted.
    fn categories(&self) -> Vec<String>;

    /// Indexes category `name` and checks its layout: both splits, both test classes, the masks and their
    /// sizes. The samples' pixels are decoded later, on request, and resized to `size` (the aspect ratio is
    /// not kept).
    ///
    /// # Errors
    /// [`DatasetError::UnknownCategory`], or what is wrong with the files.
    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError>;
}

/// One category: a product of which normal images are learnt and defects are to be found.
#[derive(Clone)]
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
    /// A category of image files under `folder`, after the checks that all layouts share.
    pub(crate) fn from_files(
        name: &str,
        folder: &Path,
        train: Vec<Sample>,
        test: Vec<Sample>,
        size: ImageSize,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for missing in [Label::Normal, Label::Anomalous] {
            if !test.iter().any(|sample| sample.label == missing) {
                return Err(DatasetError::OneClassTest { folder: folder.to_owned(), missing });
            }
        }
        let train = FileSource::new(train, size, masks)?;
        let test = FileSource::new(test, size, masks)?;
        Ok(Self {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES)),
        })
    }
}
