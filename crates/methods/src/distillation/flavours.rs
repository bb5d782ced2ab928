//! The distillation methods: NKD (Wang et al. 2021), whose student sees the image, and RKD (Deng
//! and Li, CVPR 2022), whose student sees the teacher's features through a one-class bottleneck;
//! each plain and with FMAM.

use fmam_models::{AnyStudent, Backbone, Params};

use super::config::{DistillationConfig, DistillationLoss, Flavour, ScoringConfig};
use super::evidence::EvidenceConfig;
use super::fit::Distillation;
use super::scorer::load;
use crate::mapping::MappingConfig;
use crate::settings::checked;
use crate::training::TrainingConfig;
use crate::{Method, MethodEntry, MethodError};

/// The paper of FMAM.
const POSTER: &str = "Zhang, Du and Wang, Adapting Generic Features to a Specific Task (poster)";

/// A new distillation method is a line here, and an entry below.
static FLAVOURS: [Flavour; 4] = [
    Flavour {
        name: "nkd",
        summary: "symmetric knowledge distillation: a student of the teacher's architecture",
        paper: "Wang et al. 2021, arXiv:2103.04257",
        student: symmetric,
        defaults: plain,
    },
    Flavour {
        name: "nkd+fmam",
        summary: "nkd on whitened features, with a mapping trained by the angular margin loss",
        paper: POSTER,
        student: symmetric,
        defaults: with_fmam,
    },
    Flavour {
        name: "rkd",
        summary: "reverse distillation: a decoder behind a one-class embedding",
        paper: "Deng and Li, CVPR 2022, arXiv:2201.10703",
        student: reverse,
        defaults: plain,
    },
    Flavour {
        name: "rkd+fmam",
        summary: "rkd on whitened features, with a mapping trained by the angular margin loss",
        paper: POSTER,
        student: reverse,
        defaults: with_fmam,
    },
];

pub(crate) static NKD: MethodEntry = entry::<0>();
pub(crate) static NKD_FMAM: MethodEntry = entry::<1>();
pub(crate) static RKD: MethodEntry = entry::<2>();
pub(crate) static RKD_FMAM: MethodEntry = entry::<3>();

/// The table entry of flavour `K`.
const fn entry<const K: usize>() -> MethodEntry {
    MethodEntry {
        name: FLAVOURS[K].name,
        summary: FLAVOURS[K].summary,
        paper: FLAVOURS[K].paper,
        in_table1: true,
        is_yardstick: false,
        min_images: 1,
        is_seeded: true,
        trial: "",
        build: |table| Ok(Box::new(Distillation::new(&FLAVOURS[K], table)?)),
        load: |saved| load(&FLAVOURS[K], saved),
    }
}

/// NKD with the settings `config`: `nkd+fmam` where these have a mapping. The student sees the
/// image.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn nkd(config: DistillationConfig) -> Result<Box<dyn Method>, MethodError> {
    typed(config, [0, 1])
}

/// RKD with the settings `config`: `rkd+fmam` where these have a mapping. The student sees the
/// teacher's features.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn rkd(config: DistillationConfig) -> Result<Box<dyn Method>, MethodError> {
    typed(config, [2, 3])
}

/// The plain or the second flavour, by whether `config` has a mapping.
fn typed(config: DistillationConfig, flavours: [usize; 2]) -> Result<Box<dyn Method>, MethodError> {
    let flavour = &FLAVOURS[flavours[usize::from(config.mapping.is_some())]];
    checked(flavour.name, &config)?;
    Ok(Box::new(Distillation { flavour, config }))
}

impl DistillationConfig {
    /// The defaults of `nkd` and `rkd`.
    pub fn plain() -> Self {
        plain()
    }

    /// The defaults of `nkd+fmam` and `rkd+fmam`.
    pub fn with_fmam() -> Self {
        with_fmam()
    }
}

fn symmetric(backbone: &dyn Backbone, params: &Params) -> Result<AnyStudent, MethodError> {
    Ok(AnyStudent::Symmetric(backbone.symmetric_student(params)?))
}

fn reverse(backbone: &dyn Backbone, params: &Params) -> Result<AnyStudent, MethodError> {
    Ok(AnyStudent::Reverse(backbone.reverse_student(params)?))
}

/// The defaults of both students.
///
/// Deviations of NKD from the original: Adam instead of SGD with rate 0.4, batches of 8 instead of
/// 32, and the sum instead of the product of the scales' maps. Deviations of RKD: 100 epochs
/// instead of 200, batches of 8 instead of 16, a falling instead of a constant step size, and the
/// loss of each position by itself instead of the flattened one (`loss = "flattened"`).
fn plain() -> DistillationConfig {
    DistillationConfig {
        training: TrainingConfig { learning_rate: 5e-3, ..TrainingConfig::STANDARD },
        loss: DistillationLoss::PerPosition,
        scoring: ScoringConfig::default(),
        mapping: None,
        evidence: None,
    }
}

fn with_fmam() -> DistillationConfig {
    DistillationConfig {
        mapping: Some(MappingConfig::default()),
        evidence: Some(EvidenceConfig::default()),
        ..plain()
    }
}
