//! The methods, backbones, data sets and metrics that a program has.

use std::path::Path;

use candle_core::Device;
use fmam_datasets::{DATASETS, DatasetEntry, DatasetError};
use fmam_methods::{Detector, METHODS, MethodEntry, MethodError, find_method, load_detector_of};
use fmam_metrics::{METRICS, MetricEntry};
use fmam_models::{BACKBONES, BackboneSpec, ModelError};

/// The methods, backbones, data sets and metrics of a program: the built-in ones, and those that it
/// adds of its own.
///
/// ```
/// use fmam_experiment::Registry;
/// use fmam_metrics::{Level, MetricEntry};
///
/// static MEAN_SCORE: MetricEntry = MetricEntry {
///     key: "mean_score",
///     title: "Mean score",
///     summary: "Mean image score of the test split",
///     level: Level::Image,
///     higher_is_better: false,
///     is_oracle: false,
///     is_headline: false,
///     needs_threshold: false,
///     compute: |_| Ok(0.5),
///     interval: None,
/// };
///
/// let registry = Registry::builtin().with_metric(&MEAN_SCORE);
/// assert!(registry.metrics().iter().any(|metric| metric.key == "mean_score"));
/// ```
#[derive(Clone)]
pub struct Registry {
    methods: Vec<&'static MethodEntry>,
    backbones: Vec<&'static BackboneSpec>,
    datasets: Vec<&'static DatasetEntry>,
    metrics: Vec<&'static MetricEntry>,
}

impl Registry {
    /// Everything that comes with fmam.
    pub fn builtin() -> Self {
        Self {
            methods: METHODS.to_vec(),
            backbones: BACKBONES.to_vec(),
            datasets: DATASETS.to_vec(),
            metrics: METRICS.to_vec(),
        }
    }

    /// These and `method`, which takes the place of one of the same name.
    #[must_use]
    pub fn with_method(mut self, method: &'static MethodEntry) -> Self {
        put(&mut self.methods, method, |entry| entry.name);
        self
    }

    /// These and `backbone`, which takes the place of one of the same name.
    #[must_use]
    pub fn with_backbone(mut self, backbone: &'static BackboneSpec) -> Self {
        put(&mut self.backbones, backbone, |entry| entry.name);
        self
    }

    /// These and `dataset`, which takes the place of one of the same name.
    #[must_use]
    pub fn with_dataset(mut self, dataset: &'static DatasetEntry) -> Self {
        put(&mut self.datasets, dataset, |entry| entry.name);
        self
    }

    /// These and `metric`, which takes the place of one of the same key.
    #[must_use]
    pub fn with_metric(mut self, metric: &'static MetricEntry) -> Self {
        put(&mut self.metrics, metric, |entry| entry.key);
        self
    }

    /// Every method, the built-in ones first.
    pub fn methods(&self) -> &[&'static MethodEntry] {
        &self.methods
    }

    /// Every backbone, the built-in ones first.
    pub fn backbones(&self) -> &[&'static BackboneSpec] {
        &self.backbones
    }

    /// Every data set, the built-in ones first.
    pub fn datasets(&self) -> &[&'static DatasetEntry] {
        &self.datasets
    }

    /// Every metric, the built-in ones first.
    pub fn metrics(&self) -> &[&'static MetricEntry] {
        &self.metrics
    }

    /// The method called `name`.
    ///
    /// # Errors
    /// [`MethodError::UnknownMethod`], which lists the known names.
    pub fn method(&self, name: &str) -> Result<&'static MethodEntry, MethodError> {
        find_method(&self.methods, name)
    }

    /// The backbone called `name`.
    ///
    /// # Errors
    /// [`ModelError::UnknownBackbone`], which lists the known names.
    pub fn backbone(&self, name: &str) -> Result<&'static BackboneSpec, ModelError> {
        self.backbones.iter().copied().find(|spec| spec.name == name).ok_or_else(|| {
            let known = self.backbones.iter().map(|spec| spec.name).collect();
            ModelError::UnknownBackbone { name: name.to_owned(), known }
        })
    }

    /// The data set called `name`.
    ///
    /// # Errors
    /// [`DatasetError::UnknownDataset`], which lists the known names.
    pub fn dataset(&self, name: &str) -> Result<&'static DatasetEntry, DatasetError> {
        self.datasets.iter().copied().find(|entry| entry.name == name).ok_or_else(|| {
            let known = self.datasets.iter().map(|entry| entry.name).collect();
            DatasetError::UnknownDataset { name: name.to_owned(), known }
        })
    }

    /// The detector that was saved in `dir`, of a method and on a backbone of this registry.
    ///
    /// # Errors
    /// As [`load_detector_of`].
    pub fn load_detector(&self, dir: &Path, device: &Device) -> Result<Detector, MethodError> {
        load_detector_of(&self.methods, &self.backbones, dir, device)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("methods", &self.methods.iter().map(|entry| entry.name).collect::<Vec<_>>())
            .field("backbones", &self.backbones.iter().map(|entry| entry.name).collect::<Vec<_>>())
            .field("datasets", &self.datasets.iter().map(|entry| entry.name).collect::<Vec<_>>())
            .field("metrics", &self.metrics.iter().map(|entry| entry.key).collect::<Vec<_>>())
            .finish()
    }
}

/// Puts `entry` in the place of the one with the same name, or behind all.
fn put<T>(entries: &mut Vec<&'static T>, entry: &'static T, name: fn(&T) -> &'static str) {
    match entries.iter_mut().find(|known| name(known) == name(entry)) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_known_name_replaces_it_and_a_new_one_comes_last() {
        static TINY: BackboneSpec = BackboneSpec { summary: "mine", ..*BACKBONES[BACKBONES.len() - 1] };
        let builtin = Registry::builtin();
        let registry = builtin.clone().with_backbone(&TINY);
        assert_eq!(registry.backbones().len(), builtin.backbones().len());
        assert_eq!(registry.backbone(TINY.name).unwrap().summary, "mine");
        static OTHER: BackboneSpec = BackboneSpec { name: "other", ..*BACKBONES[BACKBONES.len() - 1] };
        let registry = builtin.with_backbone(&OTHER);
        assert_eq!(registry.backbones().last().unwrap().name, "other");
    }

    #[test]
    fn what_is_unknown_is_told_with_what_is_known() {
        let registry = Registry::builtin();
        assert!(registry.method("none").err().unwrap().to_string().contains("rkd+fmam"));
        assert!(registry.backbone("none").err().unwrap().to_string().contains("tiny"));
        assert!(registry.dataset("none").err().unwrap().to_string().contains("mvtec"));
    }
}
