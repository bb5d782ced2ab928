//! Experiments: a configuration, the grid of runs that it spans, evaluation on the test split, and one record a run.
//!
//! What this crate must not know: how results are shown (it hands pictures to a [`DrawOverlays`] and records to
//! whoever reads them) and what a method does inside. It is the only library that knows of time and disk.
//!
//! Modules in reading order: [`ExperimentConfig`] and its [`PRESETS`]; `key`, every combination in order; [`Experiment`],
//! the opened data, backbones and methods; [`evaluate`]; [`analyze`] and its `scatter` of features; `exhibits`, which test images are drawn; `store`, run folders
//! that appear whole or not at all; `lock`, one process a folder; [`Grid`], which runs what is not finished yet; [`Revisit`],
//! which adds to what is.

mod analysis;
mod config;
mod error;
mod evaluate;
mod exhibits;
mod experiment;
mod grid;
mod host;
mod key;
mod lock;
mod map_layout;
mod overrides;
mod preset;
mod revisit;
mod scatter;
mod store;

pub use analysis::analyze;
pub use config::{ExperimentConfig, IMAGE_SIZE_STEP, MAX_IMAGE_SIZE};
pub use error::ExperimentError;
pub use evaluate::{Evaluation, evaluate};
pub use exhibits::{Artists, DrawOverlays, Exhibit, WriteBeside, by_type, exhibits};
pub use experiment::{Experiment, RunPlan};
pub use grid::{Grid, GridObserver, GridOutcome};
pub use host::{device_name, peak_rss_bytes};
pub use lock::FolderLock;
pub use map_layout::{MapLayout, WriteMap, write_maps};
pub use preset::{PRESETS, Preset, preset};
pub use revisit::{Revisit, category_of};
pub use store::{NewFolders, check_writable, is_finished};
