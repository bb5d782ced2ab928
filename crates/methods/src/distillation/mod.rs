//! Distillation: a student imitates the teacher's features of normal images, and an image is scored
//! by their difference. A method is a choice of student; FMAM whitens the student's targets and
//! trains a feature mapping behind teacher and student.

mod config;
mod evidence;
mod fit;
mod flavours;
mod gate;
mod grid_gaussians;
mod networks;
mod patch_memory;
mod position_scale;
mod scorer;

pub use config::{DistanceReference, DistillationConfig, DistillationLoss, ScoringConfig};
pub use evidence::EvidenceConfig;
pub(crate) use flavours::{NKD, NKD_FMAM, RKD, RKD_FMAM};
pub use flavours::{nkd, rkd};
