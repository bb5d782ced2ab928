use serde::{Deserialize, Serialize};

use super::category::DemoCategory;
use crate::DatasetError;

/// Settings of the demo set.
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
    /// The categories that are used where none are asked for by name; each of [`DemoCategory::ALL`]
    /// can be.
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
    pub(super) fn check(&self) -> Result<(), DatasetError> {
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
