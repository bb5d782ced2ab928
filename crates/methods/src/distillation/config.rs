//! Settings of a distillation method, and the [`Flavour`] that tells one method from another.

use fmam_core::{Needs, StageId, StagePlan};
use fmam_models::{AnyStudent, Backbone, Params};
use serde::{Deserialize, Serialize};

use super::evidence::EvidenceConfig;
use crate::MethodError;
use crate::mapping::{Adaptation, FEATURE_MAPPING, MAPPING, MappingConfig};
use crate::scoring::{FeatureDistance, MapCombination};
use crate::settings::{Check, Settings, out_of_range, overlaid};
use crate::training::TrainingConfig;

/// The training of the plain method's student, whose discrepancy FMAM weighs as well.
pub(super) const BASE_STUDENT: StageId = StageId::new("base-student");

/// The training of the student.
pub(super) const STUDENT: StageId = StageId::new("student");

/// The loss that the student minimises, the mean over positions and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationLoss {
    /// The cosine distance of each position by itself.
    PerPosition,
    /// The cosine distance of the whole map of a scale as one vector, as Deng and Li's code has it.
    Flattened,
    /// The squared difference.
    Squared,
    /// The smooth L1 difference: squared below 1, linear beyond.
    SmoothL1,
}

impl DistillationLoss {
    /// The distance that the loss is a mean of, which scores images unless the settings say
    /// otherwise.
    pub fn distance(self) -> FeatureDistance {
        match self {
            Self::PerPosition | Self::Flattened => FeatureDistance::Cosine,
            Self::Squared => FeatureDistance::Squared,
            Self::SmoothL1 => FeatureDistance::SmoothL1,
        }
    }
}

/// The reference of a distance, taken before the scales are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistanceReference {
    /// Nothing: the plain distance, as the cited works have it.
    None,
    /// Mean and deviation of the distance at the same position of training images: with tiles, of
    /// the same tile, so that all images must have one size.
    Position,
}

/// Settings of the scoring of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// The combination of the maps of the scales.
    pub combination: MapCombination,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image; it grows with the
    /// image.
    pub blur_sigma: f64,
    /// The reference of a distance. Maps in deviations may be negative, so only their sum has a
    /// meaning.
    pub reference: DistanceReference,
    /// The distance of teacher and student at a position. By default that of the loss, so that what
    /// is trained is what is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<FeatureDistance>,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self {
            combination: MapCombination::Sum,
            blur_sigma: 4.0,
            reference: DistanceReference::None,
            distance: None,
        }
    }
}

/// Configuration of a distillation method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistillationConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// The loss of the student.
    pub loss: DistillationLoss,
    /// The scoring of images.
    pub scoring: ScoringConfig,
    /// The feature mapping of FMAM; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
    /// The evidence that FMAM weighs; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceConfig>,
}

impl Settings for DistillationConfig {
    fn check(&self, check: &mut Check) {
        self.training.check(check);
        check.blur("scoring.blur_sigma", self.scoring.blur_sigma);
        let is_plain = self.scoring.reference == DistanceReference::None;
        let expected = "none where maps are multiplied: in deviations they may be negative";
        let is_sum = self.scoring.combination == MapCombination::Sum;
        check.require("scoring.reference", is_plain || is_sum, expected, "position");
        if let Some(mapping) = &self.mapping {
            mapping.check(check);
        }
        if let Some(evidence) = &self.evidence {
            evidence.check(check);
            let expected = "sum where evidence is weighed: its maps are added";
            check.require("scoring.combination", is_sum || !evidence.is_weighed(), expected, "product");
        }
    }
}

impl DistillationConfig {
    /// These settings as `n_images` training images allow them. The mapping gets its number of
    /// epochs; a single image gets no evidence.
    pub(super) fn resolved(mut self, n_images: usize) -> Self {
        self.evidence = self.evidence.map(|evidence| evidence.resolved(n_images));
        let n_learnt = self.weighed().map_or(n_images, |evidence| evidence.n_learnt(n_images));
        if let Some(mapping) = &mut self.mapping {
            mapping.epochs = Some(mapping.epochs_on(n_learnt, self.training.epochs));
        }
        self
    }

    /// The settings of the evidence, where some is weighed beside the mapped discrepancy. That
    /// needs a mapping behind teacher and student: the others are parts of ablations.
    pub(super) fn weighed(&self) -> Option<&EvidenceConfig> {
        let is_shared = self.adaptation() == Some(Adaptation::Mapping);
        self.evidence.as_ref().filter(|evidence| is_shared && evidence.is_weighed())
    }

    /// The settings of the plain method.
    pub(super) fn base(&self) -> Self {
        Self { mapping: None, evidence: None, ..self.clone() }
    }

    /// The trainings in the order in which they run. [`DistillationConfig::resolved`] has given the
    /// mapping its number of epochs; with 0 it is not trained.
    pub(super) fn stages(&self) -> Vec<StagePlan> {
        let student = self.training.planned(STUDENT);
        let mapping =
            self.mapping.as_ref().and_then(|mapping| Some((mapping.adaptation, mapping.planned()?)));
        let base = self.weighed().filter(|evidence| evidence.base);
        let base = base.map(|_| self.training.planned(BASE_STUDENT));
        let mut stages = match mapping {
            None => vec![student],
            Some((Adaptation::Mapping, mapping)) => vec![student, mapping],
            Some((Adaptation::TargetMapping | Adaptation::LastBlock, mapping)) => vec![mapping, student],
        };
        stages.extend(base);
        stages
    }

    /// A student always; textures where a mapping is trained or evidence is weighed, which makes
    /// defects.
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::FEATURES;
        needs.student = true;
        needs.last_block = self.adaptation() == Some(Adaptation::LastBlock);
        needs.fixed_positions = self.scoring.reference == DistanceReference::Position;
        needs.textures =
            self.weighed().is_some() || self.stages().iter().any(|stage| stage.id == FEATURE_MAPPING);
        needs
    }

    /// The distance of teacher and student that scores images.
    pub(super) fn distance(&self) -> FeatureDistance {
        self.scoring.distance.unwrap_or(self.loss.distance())
    }

    /// The part that FMAM trains; `None` in the plain method.
    pub(super) fn adaptation(&self) -> Option<Adaptation> {
        self.mapping.as_ref().map(|mapping| mapping.adaptation)
    }

    /// True if there is a feature mapping, trained or not.
    pub(super) fn has_mapping(&self) -> bool {
        matches!(self.adaptation(), Some(Adaptation::Mapping | Adaptation::TargetMapping))
    }

    /// True if the targets of the student may be negative although the backbone's features are not.
    pub(super) fn has_signed_targets(&self) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| match mapping.adaptation {
            Adaptation::Mapping => mapping.network.whiten,
            Adaptation::TargetMapping => true,
            Adaptation::LastBlock => false,
        })
    }
}

/// The network that imitates the teacher.
type MakeStudent = fn(&dyn Backbone, &Params) -> Result<AnyStudent, MethodError>;

/// A distillation method: a student, its default settings, and the words of its table entry.
pub(super) struct Flavour {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) paper: &'static str,
    pub(super) student: MakeStudent,
    pub(super) defaults: fn() -> DistillationConfig,
}

impl Flavour {
    /// The checked settings: the flavour's defaults, overlaid with `table`.
    pub(super) fn configure(&self, table: toml::Table) -> Result<DistillationConfig, MethodError> {
        let (method, defaults) = (self.name, (self.defaults)());
        if defaults.mapping.is_none() && table.contains_key(MAPPING) {
            return Err(MappingConfig::refused(method));
        }
        if defaults.evidence.is_none() && table.contains_key("evidence") {
            let expected = "absent: the plain method has one piece of evidence";
            return Err(out_of_range(method, "evidence", expected, "a table"));
        }
        overlaid(method, &defaults, table)
    }
}
