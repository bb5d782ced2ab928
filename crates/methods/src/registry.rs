//! The table of methods. It imports the methods; no method imports it.

use std::path::Path;

use candle_core::Device;

use crate::distillation::{NKD, NKD_FMAM, RKD, RKD_FMAM};
use crate::memory::{padim, patchcore, spade, teacher};
use crate::{Detector, MethodEntry, MethodError, SavedModel, fcdd, mrkd, puzzle_ae};

/// Every method, in the order of the paper's table, then those that it does not have.
pub static METHODS: &[&MethodEntry] = &[
    &puzzle_ae::ENTRY,
    &fcdd::ENTRY,
    &spade::ENTRY,
    &padim::ENTRY,
    &mrkd::ENTRY,
    &NKD,
    &NKD_FMAM,
    &RKD,
    &RKD_FMAM,
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
/// [`MethodError::Read`] naming the file that is missing or damaged, [`MethodError::UnknownMethod`]
/// for a model of a method that this program does not have.
pub fn load_detector(dir: &Path, device: &Device) -> Result<Detector, MethodError> {
    let saved = SavedModel::open(dir, device)?;
    let scorer = (method(&saved.card.method.to_string())?.load)(&saved)?;
    Ok(Detector::new(saved.card, scorer))
}
