//! The output folder of an experiment: its types, reading and writing, merging, anomaly maps and event
//! files.
//!
//! This crate knows no tensors, no method and no report. Modules in reading order: `key` (the
//! identity of a run and its folder), `record` ([`RunRecord`]), `metrics`, `analysis` and `pixels`
//! (parts of a record), `folder` (reading all records), `grid` (shards), `merge`, `map_file`,
//! `events`.

mod analysis;
mod differences;
mod error;
mod events;
#[cfg(test)]
mod fixture;
mod folder;
mod grid;
mod key;
mod map_file;
mod merge;
mod metrics;
mod pixels;
mod record;

pub use analysis::{Analysis, DefectAnalysis, FeatureScatter, ScaleAnalysis, ScoreSeparability};
pub use differences::differences;
pub use error::{RecordError, RecordTextError};
pub use events::{event_file_name, training_events};
pub use folder::load_records;
pub use grid::{GRID_FILE, GridList, Shard};
pub use key::{RECORD_FILE, RUNS_DIR, RunKey};
pub use map_file::{read_maps, resized, write_map, write_maps};
pub use merge::{Merged, merge, write_grid};
pub use metrics::Metrics;
pub use pixels::{ClassDistribution, PixelCurves, ScoreDistribution};
pub use record::{Artefacts, OverlayRecord, RUN_RECORD_SCHEMA, RunRecord, device_kind};
