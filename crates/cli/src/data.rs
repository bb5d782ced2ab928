//! Options that name a category of a data set.

use std::path::PathBuf;

use anyhow::Result;
use fmam::{Category, Dataset, Preparation, Session};

#[derive(clap::Args)]
pub(crate) struct DataArgs {
    /// Folder that holds the data set; `demo` needs none
    #[arg(long, value_name = "DIR")]
    pub(crate) data_root: Option<PathBuf>,
    /// Data set; `fmam list datasets` names them
    #[arg(long, value_name = "NAME")]
    pub(crate) dataset: String,
    /// Category of the data set; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
}

impl DataArgs {
    /// Opens the data set.
    pub(crate) fn open(&self, session: &Session) -> Result<Box<dyn Dataset>> {
        Ok(session.dataset(&self.dataset, self.data_root.clone())?)
    }

    /// Indexes the category, or the only one, with images as `preparation` makes them.
    pub(crate) fn category(&self, session: &Session, preparation: &Preparation) -> Result<Category> {
        let dataset = self.open(session)?;
        Ok(session.category(dataset.as_ref(), self.category.as_deref(), preparation)?)
    }
}
