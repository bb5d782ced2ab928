//! The nouns that every other crate of fmam speaks: sizes, images, masks, samples, anomaly maps,
//! seeds, names of methods, plans and progress.
//!
//! This crate knows no tensors and touches no files, so that data sets, synthesis, metrics and
//! reports can be built and tested without a machine-learning framework. Modules in reading order:
//! [`ImageSize`], [`RgbImage`], [`Mask`], [`AnomalyMap`], [`SampleSource`],
//! [`MemorySource`], [`Seed`], [`MethodId`],
//! [`Plan`], [`StageId`], [`Progress`], [`CurvePoint`], [`ordered_map`], [`ErrorKind`].

mod curve;
mod error;
mod error_kind;
mod image;
mod map;
mod memory;
mod method_id;
mod ordered;
mod plan;
mod progress;
mod sample;
mod seed;
mod size;
mod stage;

pub use curve::CurvePoint;
pub use error::{CoreError, SourceError};
pub use error_kind::ErrorKind;
pub use image::{Mask, RgbImage};
pub use map::AnomalyMap;
pub use memory::MemorySource;
pub use method_id::MethodId;
pub use ordered::ordered_map;
pub use plan::{Needs, Plan, StagePlan};
pub use progress::{Progress, Silent};
pub use sample::{Label, Sample, SampleSource, Split};
pub use seed::Seed;
pub use size::ImageSize;
pub use stage::StageId;
