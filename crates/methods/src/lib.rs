//! Anomaly detection methods. A [`Method`] is a set of checked settings; its fit to normal images
//! gives a [`Detector`], which scores images and can be saved and loaded. [`METHODS`] registers
//! every method by name.
//!
//! This crate sees data only as [`fmam_core::SampleSource`]; it knows no data set, no metric and no
//! report.
//!
//! Folders, one for each kind of method:
//!
//! - `distillation`: NKD and RKD, each plain and with FMAM
//! - `mrkd`: distillation by the gradient at the image
//! - `memory`: PaDiM, SPADE, PatchCore and the teacher alone keep or model the features of normal
//!   images
//! - `fcdd`: a trained network behind frozen features
//! - `puzzle_ae`: restoration of images
//!
//! The files beside the folders, in reading order: `method` and `context` (the trait and the
//! surroundings of a fit), `registry` (the table), `place` (tile and region of interest of an
//! image), `scorer` (from images to verdicts), `scan` (large images by tiles), `detector` (the
//! fitted method), `card`, `seal` and `network_files` (its saved form), `checkpoint` (tensors with
//! their origin), `settings`, `training_image` and `batch_inside` (regions of interest in
//! training), `per_tile` (statistics of fixed positions), `training` (the loop), `kept_training`
//! and `stage_state` (what an interrupted one goes on from), `sample_features` and `teacher_cache`
//! (features of training images), `feature_scorer` (verdicts by frozen features), `scoring`
//! (anomaly maps), `trace` and `untraceable` (a detector as a graph).
//!
//! ```
//! use std::sync::Arc;
//!
//! use candle_core::Device;
//! use fmam_core::{ImageSize, Seed, Silent};
//! use fmam_methods::{RunContext, load_detector, method};
//! use fmam_models::load_backbone;
//! use fmam_synthesis::Textures;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image_size = ImageSize::square(64);
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! # let normal = fmam_testkit::striped_train(4, image_size, Seed::new(0));
//! # let (image, _mask) = fmam_testkit::striped_scene_with_square(image_size, Seed::new(1));
//! // `normal` is a `SampleSource` of normal images.
//! let padim = (method("padim")?.build)(toml::toml! { channels = 8 })?;
//! let run = RunContext {
//!     device: Device::Cpu,
//!     seed: Seed::new(0),
//!     preparation: image_size.into(),
//!     backbone: Arc::new(load_backbone("tiny", None, &Device::Cpu)?),
//!     textures: Textures::Generated,
//!     loader_threads: 1,
//!     progress: &Silent,
//!     kept: None,
//! };
//! let detector = padim.fit(&normal, &run)?.detector;
//! detector.save(&folder.join("model"))?;
//!
//! let detector = load_detector(&folder.join("model"), &Device::Cpu)?;
//! let predictions = detector.score(&[image])?;
//! assert_eq!(predictions[0].anomaly_map.size(), image_size);
//! # Ok(())
//! # }
//! ```

mod batch_inside;
mod card;
mod checkpoint;
mod context;
mod detector;
mod distillation;
mod error;
mod fcdd;
mod feature_scorer;
mod kept_training;
mod mapping;
mod memory;
mod method;
mod mrkd;
mod network_files;
#[cfg(test)]
mod peers;
mod per_tile;
mod place;
mod puzzle_ae;
mod registry;
mod sample_features;
mod scan;
mod scorer;
mod scoring;
mod seal;
mod settings;
mod stage_state;
mod teacher_cache;
mod tile_progress;
mod trace;
mod training;
mod training_image;
mod untraceable;

pub use card::{ModelCard, SavedModel};
pub use checkpoint::{Checkpoint, Tensors};
pub use context::RunContext;
pub use detector::Detector;
pub use distillation::{
    DistanceReference, DistillationConfig, DistillationLoss, EvidenceConfig, ScoringConfig, nkd, rkd,
};
pub use error::MethodError;
pub use fcdd::{Exposure, FcddConfig, fcdd};
pub use feature_scorer::{FeatureExtractor, FeatureScorer, NORMAL, NormalFeatures};
pub use kept_training::{KeptTraining, TrainingIdentity};
pub use mapping::{Adaptation, MappingConfig};
pub use memory::{
    Alignment, PadimConfig, PatchCoreConfig, PatchDistance, PatchEmbedding, SpadeConfig, TeacherConfig,
    each_training_image, neighbourhood_mean, padim, patchcore, spade, teacher,
};
pub use method::{Fitted, Method, MethodEntry};
pub use mrkd::{MrkdConfig, mrkd};
pub use place::Place;
pub use puzzle_ae::{PuzzleAeConfig, puzzle_ae};
pub use registry::{METHODS, find_method, load_detector, load_detector_of, method};
pub use scan::{Scan, ScannedRows};
pub use scorer::{AdaptedFeatures, Prediction, Scorer, TracedPrediction};
pub use scoring::{FeatureDistance, MapCombination, distances, grid_map, predictions};
pub use settings::{Check, Settings, checked, overlay_settings, settings_value};
pub use tile_progress::TileProgress;
pub use trace::TracedDetector;
pub use training::{OptimizerKind, Schedule, TrainingConfig};
pub use untraceable::Untraceable;
