//! The output folder of an experiment: its types, reading and writing, merging, anomaly maps and
//! event files.
//!
//! This crate knows no tensors, no method and no report. Modules in reading order: `layout` (the
//! names within the folder), `key` (the identity of a run and its folder), `record`
//! ([`RunRecord`]), `config` ([`RunConfig`], with `recorded_path` and `legacy`), `metrics`,
//! `decision`, `analysis` and `pixels` (parts of a record), `folder` (reading), `output`
//! ([`OutputFolder`], writing), `same` (comparing runs), `grid` (shards), `merge`, `map_file`,
//! `map_layout`, `events`.
//!
//! ```
//! use fmam_core::{MethodId, Seed};
//! use fmam_metrics::METRICS;
//! use fmam_record::{OutputFolder, RunKey, load_records};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! // Nobody else writes to the folder while it is open.
//! let out = OutputFolder::open(folder.path())?;
//! for record in load_records(out.path())? {
//!     for metric in METRICS {
//!         println!("{} {} {:?}", record.key(), metric.title, record.metrics.get(metric));
//!     }
//! }
//!
//! let key = RunKey {
//!     dataset: "mvtec".to_owned(),
//!     category: "screw".to_owned(),
//!     method: MethodId::from("rkd+fmam"),
//!     backbone: "resnet18".to_owned(),
//!     seed: Seed::new(0),
//! };
//! // The folder of a run holds its record, its pictures and its model.
//! assert!(!out.path().join(key.dir()).exists());
//! # Ok(())
//! # }
//! ```

mod analysis;
mod bounds;
mod config;
mod decision;
mod differences;
mod error;
mod events;
mod findings;
#[cfg(test)]
mod fixture;
mod folder;
mod grid;
mod key;
mod layout;
mod legacy;
mod map_file;
mod map_layout;
mod merge;
mod metrics;
mod output;
mod pixels;
mod record;
mod recorded_path;
mod same;

pub use analysis::{Analysis, DefectAnalysis, FeatureScatter, ScaleAnalysis, ScoreSeparability};
pub use config::{ArtefactConfig, CalibrationRecord, DataConfig, EvaluationConfig, Resolution, RunConfig};
pub use decision::Decision;
pub use differences::differences;
pub use error::{RecordError, RecordTextError};
pub use findings::{Findings, Notice};
pub use folder::{load_records, load_run};
pub use grid::{GridList, Shard};
pub use key::RunKey;
pub use layout::{GRID_FILE, MAPS_DIR, MAPS_FILE, MODEL_DIR, OVERLAYS_DIR, RECORD_FILE, RUNS_DIR};
pub use map_file::{map_at_original, read_maps, resized, small_map, without_padding, write_map, write_maps};
pub use map_layout::{MapExport, MapLayout};
pub use merge::{Merged, merge};
pub use metrics::Metrics;
pub use output::{NewRun, OutputFolder};
pub use pixels::{ClassDistribution, PixelCurves, ScoreDistribution};
pub use record::{Artefacts, ImageRecord, RUN_RECORD_SCHEMA, RunRecord, SOURCES_KEY, device_kind};
pub use recorded_path::RecordedPath;
pub use same::{SettingDifference, setting_differences};
