//! Experiments: a configuration, the grid of runs that it spans, evaluation on the test split, and
//! one record a run.
//!
//! This crate must not know how results are shown (it hands pictures to an [`Artist`] and
//! records to whoever reads them), what a method does inside, or the layout of an output folder.
//!
//! Modules in reading order: [`Registry`], what a program has; [`ExperimentConfig`] with its
//! `overrides` and [`PRESETS`]; `key`, every combination in order; [`Experiment`], the opened data,
//! backbones and methods, with the digests of `content`; [`Evaluator`]; [`analyze`] and
//! its `scatter` of features; `exhibits`, which test images are drawn; `finished`,
//! whether a run is there already, which asks `program` who did it; [`Grid`], which runs what is
//! not finished yet; [`Revisit`], which adds to what is.
//!
//! ```
//! use std::path::Path;
//!
//! use candle_core::Device;
//! use fmam_experiment::{Experiment, ExperimentConfig, ExperimentError, Registry};
//!
//! # fn main() -> Result<(), ExperimentError> {
//! let text = r#"
//!     methods = ["teacher", "padim"]
//!     backbones = ["tiny"]
//!     seeds = [0, 1]
//!     image_size = 64
//!     dataset.demo = { n_train = 4, n_test_normal = 2, n_test_per_defect = 1 }
//! "#;
//! let config = ExperimentConfig::from_toml(text, Path::new("example.toml"))?;
//! // Everything that can be wrong with data, weights and settings is told here, before a run.
//! let experiment = Experiment::open(&Registry::builtin(), config, Device::Cpu)?;
//! for plan in experiment.plans() {
//!     println!("{}: {} training images", plan.key, plan.n_train);
//! }
//! # assert!(experiment.plans().len() >= 2);
//! # Ok(())
//! # }
//! ```

mod analysis;
mod asked_categories;
mod calibration;
mod config;
mod content;
mod dataset_choice;
mod defects;
mod error;
mod evaluation;
mod exhibits;
mod experiment;
mod findings;
mod finished;
mod grid;
mod host;
mod input_config;
mod key;
mod map_export;
mod overrides;
mod preset;
mod program;
mod registry;
mod revisit;
mod scatter;
mod selection;
mod unwatched;

pub use analysis::analyze;
pub use calibration::{
    CalibratedFit, CalibrationConfig, CalibrationMode, DefectTrial, GoodScored, KeepTraining, ModeError,
    fit_calibrated, image_digest, images_needed, score_good,
};
pub use config::{ExperimentConfig, MAX_IMAGE_SIZE, MIN_IMAGE_SIZE, check_sides};
pub use dataset_choice::DatasetChoice;
pub use error::ExperimentError;
pub use evaluation::{Evaluation, Evaluator};
pub use exhibits::{Artist, Exhibit, by_type, exhibited, exhibits};
pub use experiment::{Experiment, RunPlan, check_image_size};
pub use findings::{findings, tell_duplicates};
pub use finished::{Doubt, DoubtfulRun, FinishedRuns};
pub use grid::{Grid, GridObserver, GridOutcome};
pub use host::{cuda_name, device_name, peak_rss_bytes, versions};
pub use input_config::InputConfig;
pub use map_export::export_map;
pub use preset::{PRESETS, Preset, preset};
pub use registry::Registry;
pub use revisit::{Revisit, category_of, preparation_of};
pub use selection::{Candidate, MethodTrial, SELECTION_IMAGES, rank_methods};
