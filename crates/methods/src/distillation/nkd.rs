//! NKD: a student of the teacher's own architecture learns the teacher's features of normal images from the image
//! (Wang et al. 2021, student-teacher feature pyramid matching). Optionally with FMAM.

use fmam_models::AnyStudent;

use crate::MethodEntry;
use crate::distillation::distilled;
use crate::distillation::mapping_config::MappingConfig;
use crate::distillation::{self, DistillationConfig, DistillationLoss, Flavour};
use crate::scoring::ScoringConfig;
use crate::training::TrainingConfig;

static PLAIN: Flavour = Flavour {
    name: "nkd",
    defaults,
    student: |backbone, params| Ok(AnyStudent::Symmetric(backbone.symmetric_student(params)?)),
};

static FMAM: Flavour = Flavour {
    name: "nkd+fmam",
    defaults: || DistillationConfig { mapping: Some(MappingConfig::default()), ..defaults() },
    student: PLAIN.student,
};

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: "nkd",
    summary: "symmetric knowledge distillation: a student of the teacher's architecture",
    paper: "Wang et al. 2021, arXiv:2103.04257",
    is_seeded: true,
    build: |table| distillation::build(&PLAIN, table),
    load: |dir, device| distilled::load(&PLAIN, dir, device),
};

pub(crate) static WITH_FMAM: MethodEntry = MethodEntry {
    name: "nkd+fmam",
    summary: "nkd on whitened features, with a mapping trained by the angular margin loss",
    paper: "Zhang, Du and Wang, Adapting Generic Features to a Specific Task (poster)",
    is_seeded: true,
    build: |table| distillation::build(&FMAM, table),
    load: |dir, device| distilled::load(&FMAM, dir, device),
};

/// Deviations from the original: Adam instead of SGD with rate 0.4, batches of 8 instead of 32, and the sum instead of
/// the product of the scales' maps.
fn defaults() -> DistillationConfig {
    DistillationConfig {
        training: TrainingConfig { learning_rate: 5e-3, ..TrainingConfig::STANDARD },
        loss: DistillationLoss::PerPosition,
        scoring: ScoringConfig::default(),
        mapping: None,
    }
}
