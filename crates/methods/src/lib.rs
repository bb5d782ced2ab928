//! Anomaly detection methods. A [`Method`] is a configuration; fitting it to normal images gives a [`Detector`],
//! which scores images and can be saved and loaded. [`METHODS`] registers every method by name.
//!
//! This crate sees data only as [`fmam_core::SampleSource`]; it knows no data set, no metric and no report.
//!
//! Modules in reading order: `registry` (the traits and the table), `context` (what fitting is given and gives),
//! `nkd` and `rkd` (the methods, each plain and with FMAM), `distillation` (what they share), `distilled` (the
//! detector), `feature_mapping` and `mapping_training` (FMAM), `training` (the loop), `teacher_cache` and
//! `sample_features` (features of training images), `scoring` (maps from feature distances), `map_reference` (what is
//! usual at a position), `settings` (tables of settings), `model_dir` (saved detectors).

mod context;
mod distillation;
mod distilled;
mod error;
mod feature_mapping;
mod map_reference;
mod mapping_training;
mod model_dir;
mod nkd;
mod registry;
mod rkd;
mod sample_features;
mod scoring;
mod settings;
mod teacher_cache;
mod training;

pub use context::{AdaptedFeatures, Fitted, Prediction, RunContext};
pub use distillation::{DistillationConfig, DistillationLoss};
pub use error::MethodError;
pub use feature_mapping::{Adaptation, MappingConfig};
pub use registry::{Detector, LoadDetector, METHODS, Method, MethodEntry, load_detector, method};
pub use scoring::{DistanceReference, MapCombination, ScoringConfig};
pub use settings::overlay_settings;
pub use training::{OptimizerKind, Schedule};
