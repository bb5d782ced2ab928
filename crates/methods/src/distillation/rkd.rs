//! RKD: the student receives the teacher's features through a one-class bottleneck and restores them scale by scale
//! (Deng and Li, CVPR 2022, reverse distillation). Optionally with FMAM.

use fmam_models::AnyStudent;

use crate::MethodEntry;
use crate::distillation::distilled;
use crate::distillation::mapping_config::MappingConfig;
use crate::distillation::{self, DistillationConfig, DistillationLoss, Flavour};
use crate::scoring::ScoringConfig;
use crate::training::TrainingConfig;

static PLAIN: Flavour = Flavour {
    name: "rkd",
    defaults,
    student: |backbone, params| Ok(AnyStudent::Reverse(backbone.reverse_student(params)?)),
};

static FMAM: Flavour = Flavour {
    name: "rkd+fmam",
    defaults: || DistillationConfig { mapping: Some(MappingConfig::default()), ..defaults() },
    student: PLAIN.student,
};

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: "rkd",
    summary: "reverse distillation: a decoder behind a one-class embedding",
    paper: "Deng and Li, CVPR 2022, arXiv:2201.10703",
    is_seeded: true,
    build: |table| distillation::build(&PLAIN, table),
    load: |dir, device| distilled::load(&PLAIN, dir, device),
};

pub(crate) static WITH_FMAM: MethodEntry = MethodEntry {
    name: "rkd+fmam",
    summary: "rkd on whitened features, with a mapping trained by the angular margin loss",
    paper: "Zhang, Du and Wang, Adapting Generic Features to a Specific Task (poster)",
    is_seeded: true,
    build: |table| distillation::build(&FMAM, table),
    load: |dir, device| distilled::load(&FMAM, dir, device),
};

/// Deviations from the original: 100 epochs instead of 200, batches of 8 instead of 16, a falling instead of a constant
/// step size, and the loss of each position by itself instead of the flattened one (`loss = "flattened"`).
fn defaults() -> DistillationConfig {
    DistillationConfig {
        training: TrainingConfig { learning_rate: 5e-3, ..TrainingConfig::STANDARD },
        loss: DistillationLoss::PerPosition,
        scoring: ScoringConfig::default(),
        mapping: None,
    }
}
