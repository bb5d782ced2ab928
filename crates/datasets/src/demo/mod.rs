//! The generated data set: woven fabrics in the spirit of ZJU-Leaper, a machined part and a perforated sheet,
//! with defects and exact masks.
//!
//! It needs no files, so a fresh clone can train and evaluate. Every image is a function of seed, category,
//! split, type, index and size alone: asking for more images, or on more threads, does not change those there
//! were.
//!
//! A category is a module that says what is photographed and what can go wrong with it, and a line in
//! `category.rs`; the camera, the light and the masks are the same for all.

mod category;
mod flange;
mod metal;
mod noise;
mod perforated;
mod render;
mod shapes;
mod source;
mod weave;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use fmam_core::{ImageSize, Split};
use serde::{Deserialize, Serialize};

pub use self::category::DemoCategory;
use self::source::DemoSource;
pub use self::write::write_demo;
use crate::{CachedSource, Category, DEFAULT_CACHE_BYTES, Dataset, DatasetEntry, DatasetError};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "demo",
    summary: "generated fabrics, on request a flange and a perforated sheet, with exact masks; needs no files",
    open: |options| Ok(Box::new(Demo::new(&options.demo)?)),
};

/// What the demo set consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// Names the data: another seed is another data set. Not the seed of a run.
    pub seed: u64,
    /// Normal training images of a category.
    pub n_train: usize,
    /// Normal test images of a category.
    pub n_test_normal: usize,
    /// Anomalous test images of each of the six defect types of a category.
    pub n_test_per_defect: usize,
    /// The categories that are used where none are asked for by name; each of [`DemoCategory::ALL`] can be.
    pub categories: Vec<DemoCategory>,
}

impl Default for DemoConfig {
    /// Two categories of 64 training and 56 test images, which train in minutes without a GPU.
    fn default() -> Self {
        Self {
            seed: 0,
            n_train: 64,
            n_test_normal: 20,
            n_test_per_defect: 6,
            categories: vec![DemoCategory::Plain, DemoCategory::Twill],
        }
    }
}

impl DemoConfig {
    fn check(&self) -> Result<(), DatasetError> {
        let counts = [
            ("n_train", self.n_train),
            ("n_test_normal", self.n_test_normal),
            ("n_test_per_defect", self.n_test_per_defect),
            ("categories", self.categories.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => Err(DatasetError::DemoCount { field }),
            None => Ok(()),
        }
    }
}

struct Demo {
    config: DemoConfig,
}

impl Demo {
    fn new(config: &DemoConfig) -> Result<Self, DatasetError> {
        config.check()?;
        Ok(Self { config: config.clone() })
    }
}

impl Dataset for Demo {
    fn categories(&self) -> Vec<String> {
        let mut names = names(&self.config.categories);
        names.sort();
        names.dedup();
        names
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        let Some(&category) = DemoCategory::ALL.iter().find(|category| category.name() == name) else {
            let (name, known) = (name.to_owned(), names(DemoCategory::ALL));
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        };
        let train = DemoSource::new(&self.config, category, Split::Train, size);
        let test = DemoSource::new(&self.config, category, Split::Test, size);
        Ok(Category {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES)),
        })
    }
}

fn names(categories: &[DemoCategory]) -> Vec<String> {
    categories.iter().map(|category| category.name().to_owned()).collect()
}
