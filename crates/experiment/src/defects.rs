//! The synthetic defects of trainings and of measurements: their textures, and their synthesizer.

use std::path::Path;

use fmam_core::ImageSize;
use fmam_datasets::DatasetError;
use fmam_methods::MethodError;
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};

use crate::ExperimentError;

/// The synthesizer of the defects that a detector is measured with, without settings, so that all
/// detectors are measured alike.
///
/// # Errors
/// [`ExperimentError::Method`] for a texture source without images.
pub(crate) fn synthesizer_of(textures: Textures) -> Result<Synthesizer, ExperimentError> {
    Ok(Synthesizer::new(SynthesisConfig::default(), textures).map_err(MethodError::from)?)
}

/// The texture source under `root`, and its name for the record.
pub(crate) fn textures(root: Option<&Path>, size: ImageSize) -> Result<(Textures, String), DatasetError> {
    let found = root.map(|root| fmam_datasets::textures(root, size)).transpose()?.flatten();
    Ok(match found {
        Some(source) => {
            let name = format!("DTD, {} images", source.len());
            (Textures::Images(source), name)
        }
        None => (Textures::Generated, "generated".to_owned()),
    })
}
