//! Options that name a category of a data set.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use fmam_core::ImageSize;
use fmam_datasets::{Category, Dataset, DatasetOptions};
use fmam_experiment::ExperimentError;
use fmam_synthesis::Textures;

use crate::exit::usage;

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
    pub(crate) fn open(&self) -> Result<Box<dyn Dataset>> {
        open(&self.dataset, self.data_root.clone())
    }

    /// The category's name: what was asked for, or the only one that there is.
    pub(crate) fn category_name(&self, dataset: &dyn Dataset) -> Result<String> {
        category_name(dataset, self.category.as_deref())
    }

    /// Indexes the category for images of `size`.
    pub(crate) fn category(&self, size: ImageSize) -> Result<Category> {
        let dataset = self.open()?;
        let name = self.category_name(dataset.as_ref())?;
        Ok(dataset.category(&name, size).map_err(ExperimentError::from)?)
    }
}

/// Opens the data set called `name`.
pub(crate) fn open(name: &str, root: Option<PathBuf>) -> Result<Box<dyn Dataset>> {
    let entry = fmam_datasets::dataset(name).map_err(ExperimentError::from)?;
    let options = DatasetOptions { root, ..DatasetOptions::default() };
    Ok((entry.open)(&options).map_err(ExperimentError::from)?)
}

/// The textures of synthetic defects: DTD's where `root` has them, generated ones otherwise.
pub(crate) fn textures(root: Option<&Path>, size: ImageSize) -> Result<Textures> {
    let found =
        root.map(|root| fmam_datasets::textures(root, size)).transpose().map_err(ExperimentError::from)?;
    Ok(found.flatten().map_or(Textures::Generated, Textures::Images))
}

/// `asked`, or the only category of `dataset`.
pub(crate) fn category_name(dataset: &dyn Dataset, asked: Option<&str>) -> Result<String> {
    match (asked, &dataset.categories()[..]) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, known) => {
            let known = known.join(", ");
            Err(usage(anyhow!("there are several categories, choose one with --category; known are {known}")))
        }
    }
}
