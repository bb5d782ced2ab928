//! The nouns that every other crate of fmam speaks: sizes, images, masks, samples, anomaly maps, seeds,
//! progress, and the record of a run.
//!
//! This crate knows no tensors and touches no files, so that data sets, synthesis, metrics and reports can be
//! built and tested without a machine-learning framework. Modules in reading order: [`ImageSize`],
//! [`RgbImage`], [`Mask`], [`AnomalyMap`], [`SampleSource`], [`Seed`], [`Progress`], [`ordered_map`],
//! [`RunKey`], [`RunRecord`].

mod analysis;
mod differences;
mod error;
mod grid;
mod image;
mod key;
mod map;
mod ordered;
mod pixels;
mod progress;
mod record;
mod sample;
mod seed;
mod size;

pub use analysis::{Analysis, DefectAnalysis, FeatureScatter, ScaleAnalysis, ScoreSeparability};
pub use differences::differences;
pub use error::{CoreError, RecordError, SourceError};
pub use grid::{GRID_FILE, GridList, Shard};
pub use image::{Mask, RgbImage};
pub use key::{RECORD_FILE, RUNS_DIR, RunKey};
pub use map::AnomalyMap;
pub use ordered::ordered_map;
pub use pixels::{ClassDistribution, PixelCurves, ScoreDistribution};
pub use progress::{Progress, Silent};
pub use record::{Artefacts, CurvePoint, Metrics, OverlayRecord, RUN_RECORD_SCHEMA, RunRecord, device_kind};
pub use sample::{Label, Sample, SampleSource, Split};
pub use seed::Seed;
pub use size::ImageSize;
