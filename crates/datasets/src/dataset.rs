use std::path::{Path, PathBuf};

use fmam_core::ImageSize;

use crate::demo::DemoConfig;
use crate::{Category, DatasetError};

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
