//! The table of methods. It imports the methods; no method imports it.

use std::path::Path;

use candle_core::Device;
use fmam_models::{BACKBONES, BackboneSpec};

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
    &spade::WITH_FMAM,
    &padim::WITH_FMAM,
    &patchcore::WITH_FMAM,
    &teacher::ENTRY,
];

/// The method called `name`.
///
/// # Errors
/// [`MethodError::UnknownMethod`], which lists the known names.
pub fn method(name: &str) -> Result<&'static MethodEntry, MethodError> {
    find_method(METHODS, name)
}

/// The entry of `methods` that is called `name`.
///
/// # Errors
/// [`MethodError::UnknownMethod`], which lists the known names.
pub fn find_method(
    methods: &[&'static MethodEntry],
    name: &str,
) -> Result<&'static MethodEntry, MethodError> {
    methods.iter().copied().find(|entry| entry.name == name).ok_or_else(|| MethodError::UnknownMethod {
        name: name.to_owned(),
        known: methods.iter().map(|entry| entry.name).collect(),
    })
}

/// Reads the detector that was saved in `dir`, of a built-in method on a built-in backbone. As
/// [`load_detector_of`].
///
/// # Errors
/// As [`load_detector_of`].
pub fn load_detector(dir: &Path, device: &Device) -> Result<Detector, MethodError> {
    load_detector_of(METHODS, BACKBONES, dir, device)
}

/// Reads the detector that was saved in `dir`, of any of `methods` on any of `backbones`.
///
/// # Errors
/// [`MethodError::Read`] naming the file that is missing or damaged, [`MethodError::UnknownMethod`]
/// and [`ModelError::UnknownBackbone`](fmam_models::ModelError) for a model of a method or on a
/// backbone that is not among them.
pub fn load_detector_of(
    methods: &[&'static MethodEntry],
    backbones: &[&'static BackboneSpec],
    dir: &Path,
    device: &Device,
) -> Result<Detector, MethodError> {
    let saved = SavedModel::open(dir, device, backbones)?;
    let scorer = (find_method(methods, &saved.card.method.to_string())?.load)(&saved)?;
    Ok(Detector::new(saved.card, scorer))
}
