//! The tables of methods, backbones and data sets that a session looks names up in: those that are
//! built in.

use std::path::Path;

use candle_core::Device;
use fmam_datasets::DatasetEntry;
use fmam_experiment::{Experiment, ExperimentConfig};
use fmam_methods::{Detector, MethodEntry};
use fmam_models::{BACKBONES, BackboneSpec, LoadedBackbone};

use crate::Error;

/// The tables of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tables;

impl Tables {
    /// The method called `name`.
    pub(crate) fn method(self, name: &str) -> Result<&'static MethodEntry, Error> {
        Ok(fmam_methods::method(name).map_err(configuration)?)
    }

    /// The data set called `name`.
    pub(crate) fn dataset(self, name: &str) -> Result<&'static DatasetEntry, Error> {
        Ok(fmam_datasets::dataset(name)?)
    }

    /// Every backbone.
    pub(crate) fn backbones(self) -> &'static [&'static BackboneSpec] {
        BACKBONES
    }

    /// The backbone called `name` with its weights.
    pub(crate) fn load_backbone(
        self,
        name: &str,
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<LoadedBackbone, Error> {
        Ok(fmam_models::load_backbone(name, weights, device)?)
    }

    /// The detector that was saved in `dir`.
    pub(crate) fn load_detector(self, dir: &Path, device: &Device) -> Result<Detector, Error> {
        Ok(fmam_methods::load_detector(dir, device)?)
    }

    /// The experiment of `config`.
    pub(crate) fn experiment(self, config: ExperimentConfig, device: Device) -> Result<Experiment, Error> {
        Ok(Experiment::open(config, device)?)
    }
}

/// The error of a method whose name or settings are wrong.
pub(crate) fn configuration(error: fmam_methods::MethodError) -> fmam_experiment::ExperimentError {
    fmam_experiment::ExperimentError::Configuration(Box::new(error))
}
