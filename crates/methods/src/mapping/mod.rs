//! Feature mapping, the part that FMAM adds to a host: features are whitened by the statistics of
//! normal images, and a residual mapping is trained on synthetic defects by the angular margin
//! loss. A student's host has the mapping behind teacher and student; a host that keeps or models
//! features ([`host`]) has it behind the teacher.

mod config;
mod frozen;
pub(crate) mod host;
mod training;

use fmam_core::StageId;

pub use config::{Adaptation, MappingConfig};
pub(crate) use frozen::FrozenMapping;
pub(crate) use training::{MappingTraining, Trained};

/// The training of the features.
pub(crate) const FEATURE_MAPPING: StageId = StageId::new("feature-mapping");

/// The file of the mapping, without its ending.
pub(crate) const MAPPING: &str = "mapping";
