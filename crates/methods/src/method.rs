//! The nouns of this crate: an unfitted [`Method`], the [`RunContext`] in which it is fitted, and the
//! [`Fitted`] [`Detector`] with its [`Prediction`]s.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use fmam_core::{AnomalyMap, CurvePoint, ImageSize, Plan, Progress, RgbImage, SampleSource, Seed};
use fmam_models::{FeaturePyramid, LoadedBackbone};
use fmam_synthesis::Textures;

use crate::MethodError;

/// An unfitted method: its checked settings.
pub trait Method: Send + Sync {
    /// What [`Method::fit`] will do on `n_images` training images: the resolved settings with their
    /// defaults filled in, the training stages in the order in which they run, under the names that
    /// `fit` announces, and what the method needs of its surroundings.
    ///
    /// # Errors
    /// [`MethodError::Settings`] for settings that cannot be written as JSON.
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError>;

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

    /// Writes the detector to the folder `dir`, which must not exist yet, all or nothing. [`crate::load_detector`] reads
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
    /// Reads and checks the method's configuration; an empty table gives the defaults. A method that trains
    /// takes the length of its main stage as `epochs`.
    pub build: fn(toml::Table) -> Result<Box<dyn Method>, MethodError>,
    /// Reads a detector that [`Detector::save`] wrote.
    pub load: LoadDetector,
}

impl MethodEntry {
    /// Whether the method trains, and so takes a number of `epochs`.
    ///
    /// # Errors
    /// Those of [`MethodEntry::build`] for the defaults, and of [`Method::plan`].
    pub fn trains(&self) -> Result<bool, MethodError> {
        Ok(!(self.build)(toml::Table::new())?.plan(0)?.stages.is_empty())
    }
}

/// The surroundings of a fit: everything that a method is given besides its own settings.
pub struct RunContext<'a> {
    /// Where tensors live.
    pub device: Device,
    /// Origin of all randomness of the run.
    pub seed: Seed,
    /// Size of every image of the run.
    pub image_size: ImageSize,
    /// The frozen teacher.
    pub backbone: Arc<LoadedBackbone>,
    /// Texture images for synthetic anomalies.
    pub textures: Textures,
    /// Threads that decode and synthesise beside the training thread.
    pub loader_threads: usize,
    /// Receiver of the run's progress, and the source of a request to stop.
    pub progress: &'a dyn Progress,
}

/// The outcome of a fit.
pub struct Fitted {
    /// The detector, ready to score.
    pub detector: Box<dyn Detector>,
    /// Mean training loss after each epoch of each stage; empty for methods without a training loop.
    pub curve: Vec<CurvePoint>,
}

/// The features of images that a detector compares with what it has learnt, for analysis.
#[derive(Debug)]
pub struct AdaptedFeatures {
    /// As the backbone gives them.
    pub teacher: FeaturePyramid,
    /// After adaptation to the task, of the same shapes; `None` for a detector that uses them as they are.
    pub adapted: Option<FeaturePyramid>,
    /// What the detector expects in their place, as a student gives it, of the same shapes; `None` where it expects no
    /// feature of its own for each position.
    pub expected: Option<FeaturePyramid>,
}

/// The verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Higher is more anomalous; the scale is the method's own.
    pub image_score: f32,
    /// A score for each pixel of the image as it was given.
    pub anomaly_map: AnomalyMap,
}
