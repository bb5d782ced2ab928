//! Anomaly detection methods. A [`Method`] is a configuration; fitting it to normal images gives a [`Detector`],
//! which scores images and can be saved and loaded. [`METHODS`] registers every method by name.
//!
//! This crate sees data only as [`fmam_core::SampleSource`]; it knows no data set, no metric and no report.
//!
//! Modules in reading order: `registry` (the traits and the table), `context` (what fitting is given and gives),
//! `nkd` and `rkd` (the methods, each plain and with FMAM), `distillation` (what they share), `feature_mapping` (stage 1 of
//! FMAM), `training` (the loop), `scoring` (maps from feature distances), `model_dir` (saved detectors).

mod context;
mod distillation;
mod error;
mod feature_mapping;
mod model_dir;
mod nkd;
mod registry;
mod rkd;
mod scoring;
mod training;

pub use context::{Fitted, Prediction, RunContext};
pub use distillation::{DistillationConfig, DistillationLoss};
pub use error::MethodError;
pub use feature_mapping::MappingConfig;
pub use registry::{Detector, LoadDetector, METHODS, Method, MethodEntry, load_detector, method};
pub use scoring::{MapCombination, ScoringConfig};
pub use training::{OptimizerKind, Schedule};
