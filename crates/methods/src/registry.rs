use std::path::Path;

use candle_core::Device;
use fmam_core::{ImageSize, RgbImage, SampleSource};

use crate::distillation::{nkd, rkd};
use crate::memory::{padim, patchcore, spade, teacher};
use crate::model_dir::ModelDir;
use crate::{
    AdaptedFeatures, Fitted, MethodError, Prediction, RunContext, fcdd, mrkd, puzzle_ae,
};

/// An unfitted method: its checked configuration.
pub trait Method: Send + Sync {
    /// The resolved configuration for training on `n_images`, defaults filled in, for the run record. The number of passes
    /// over the images in each training stage stands under a key that ends in `epochs`.
    fn config(&self, n_images: usize) -> serde_json::Value;

    /// Fits a detector to normal images.
    ///
    /// # Errors
    /// [`MethodError::NoTrainingImages`] for an empty source, [`MethodError::Cancelled`] when the user stops the
    /// run, and the errors of the source, the networks and the device.
    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError>;
}

/// A fitted method.
pub trait Detector: Send + Sync {
    /// Size that images must have.
    fn image_size(&self) -> ImageSize;

    /// Scores images in the order given. On a CPU one image gives the same bits in every batch.
    ///
    /// # Errors
    /// [`MethodError::ImageSize`] for an image of another size than [`Detector::image_size`].
    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError>;

    /// The features of images that the detector compares with what it has learnt; `None` where it compares none.
    ///
    /// # Errors
    /// As [`Detector::score`].
    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let _ = images;
        Ok(None)
    }

    /// Writes the detector to the folder `dir`, which must not exist yet, all or nothing. [`load_detector`] reads
    /// it back and the copy scores bit-identically.
    ///
    /// # Errors
    /// [`MethodError::Write`] naming the path.
    fn save(&self, dir: &Path) -> Result<(), MethodError>;
}

/// Reads a saved detector onto a device.
pub type LoadDetector = fn(&Path, &Device) -> Result<Box<dyn Detector>, MethodError>;

/// A line of the method table.
pub struct MethodEntry {
    /// The name users type.
    pub name: &'static str,
    /// One line for `fmam list`.
    pub summary: &'static str,
    /// Where the method comes from.
    pub paper: &'static str,
    /// Whether the seed of a run makes a difference: a method that draws nothing gives one result for all.
    pub is_seeded: bool,
    /// Reads and checks the method's configuration; an empty table gives the defaults.
    pub build: fn(toml::Table) -> Result<Box<dyn Method>, MethodError>,
    /// Reads a detector that [`Detector::save`] wrote.
    pub load: LoadDetector,
}

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
