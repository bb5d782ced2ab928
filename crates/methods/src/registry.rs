//! The table of methods. It imports the methods; no method imports it.

use std::path::Path;

use candle_core::Device;

use crate::distillation::{nkd, rkd};
use crate::memory::{padim, patchcore, spade, teacher};
use crate::model_dir::ModelDir;
use crate::{Detector, MethodEntry, MethodError, fcdd, mrkd, puzzle_ae};

/// Every method, in the order of the paper's table, then those that it does not have.
pub static METHODS: &[&MethodEntry] = &[
    &puzzle_ae::ENTRY,
    &fcdd::ENTRY,
    &spade::ENTRY,
    &padim::ENTRY,
    &mrkd::ENTRY,
    &nkd::ENTRY,
    &nkd::WITH_FMAM,
    &rkd::ENTRY,
    &rkd::WITH_FMAM,
    &patchcore::ENTRY,
    &teacher::ENTRY,
];

/// The method called `name`.
///
/// # Errors
/// [`MethodError::UnknownMethod`], which lists the known names.
pub fn method(name: &str) -> Result<&'static MethodEntry, MethodError> {
    METHODS.iter().copied().find(|entry| entry.name == name).ok_or_else(|| MethodError::UnknownMethod {
        name: name.to_owned(),
        known: METHODS.iter().map(|entry| entry.name).collect(),
    })
}

/// Reads the detector that was saved in `dir`, whatever its method.
///
/// # Errors
/// [`MethodError::Read`] naming the file that is missing or damaged, [`MethodError::UnknownMethod`] for a model
/// of a method that this program does not have.
pub fn load_detector(dir: &Path, device: &Device) -> Result<Box<dyn Detector>, MethodError> {
    let entry = method(&ModelDir::read(dir)?.method)?;
    (entry.load)(dir, device)
}
