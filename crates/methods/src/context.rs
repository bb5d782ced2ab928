use std::sync::Arc;

use candle_core::Device;
use fmam_core::{AnomalyMap, CurvePoint, ImageSize, Progress, Seed};
use fmam_models::{FeaturePyramid, LoadedBackbone};
use fmam_synthesis::Textures;

use crate::Detector;

/// What a method is given besides its own configuration.
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
    /// Where the run tells how far it has come, and learns that it should stop.
    pub progress: &'a dyn Progress,
}

/// What fitting gives.
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
