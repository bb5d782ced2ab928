//! Synthetic defects in images of the caller.

use std::path::PathBuf;

use fmam::output::synthesis_config;
use fmam::{Error, Seed, textures};
use fmam_synthesis::{Synthesizer, SyntheticAnomaly};
use numpy::{PyArray2, PyArray3, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::pixels::{image_array, mask_array, rgb_image};
use crate::raise::raise;
use crate::values::settings;

/// An image with a defect, the pixels of the defect, and those that were visibly changed.
type Arrays<'py> = (Bound<'py, PyArray3<u8>>, Bound<'py, PyArray2<bool>>, Bound<'py, PyArray2<bool>>);

/// Puts a synthetic defect into `image`, (H, W, 3) uint8.
///
/// # Errors
/// `ValueError` for a setting that is unknown or out of its range.
#[pyfunction]
pub(crate) fn synthesize<'py>(
    py: Python<'py>,
    image: PyReadonlyArray3<'py, u8>,
    seed: u64,
    config: &Bound<'py, PyDict>,
    data_root: Option<PathBuf>,
) -> PyResult<Arrays<'py>> {
    let (image, config) = (rgb_image(&image)?, settings(config)?);
    let synthesize = || -> Result<SyntheticAnomaly, Error> {
        let (config, textures) = (synthesis_config(&config)?, textures(data_root.as_deref(), image.size())?);
        let synthesizer =
            Synthesizer::new(config, textures).map_err(|error| Error::SynthesisSettings(error.into()))?;
        Ok(synthesizer.synthesize(&image, Seed::new(seed))?)
    };
    let SyntheticAnomaly { image, mask, visible } = py.detach(synthesize).map_err(|error| raise(&error))?;
    Ok((image_array(py, image)?, mask_array(py, &mask)?, mask_array(py, &visible)?))
}
