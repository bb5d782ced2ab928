//! Anomaly detection methods. A [`Method`] is a configuration; fitting it to normal images gives a [`Detector`],
//! which scores images and can be saved and loaded. [`METHODS`] registers every method by name.
//!
//! This crate sees data only as [`fmam_core::SampleSource`]; it knows no data set, no metric and no report.
//!
//! Modules in reading order: `method` (the traits), `registry` (the table), then the
//! methods by their kinds and what each kind shares:
//!
//! - distillation: the folder `distillation` (NKD and RKD, each plain and with FMAM); and `mrkd` on `standard` features
//! - features of normal images, kept or modelled: the folder `memory`, with `feature_detector` (the detector); and `fcdd`, a
//!   trained network behind such features
//! - restoration: `puzzle_ae`
//!
//! All share `training` (the loop), `teacher_cache` and `sample_features` (features of training images), `scoring` (maps),
//! `settings` (tables of settings) and `model_dir` (saved detectors).

mod distillation;
mod error;
mod fcdd;
mod feature_detector;
mod memory;
mod method;
mod model_dir;
mod mrkd;
mod puzzle_ae;
mod registry;
mod sample_features;
mod scoring;
mod settings;
mod teacher_cache;
mod training;

pub use distillation::{Adaptation, DistillationConfig, DistillationLoss, MappingConfig};
pub use error::MethodError;
pub use fcdd::{Exposure, FcddConfig};
pub use memory::{PadimConfig, PatchCoreConfig, SpadeConfig, TeacherConfig};
pub use method::{
    AdaptedFeatures, Detector, Fitted, LoadDetector, Method, MethodEntry, Prediction, RunContext,
};
pub use mrkd::MrkdConfig;
pub use puzzle_ae::PuzzleAeConfig;
pub use registry::{METHODS, load_detector, method};
pub use scoring::{DistanceReference, MapCombination, ScoringConfig};
pub use settings::overlay_settings;
pub use training::{OptimizerKind, Schedule, TrainingConfig};
