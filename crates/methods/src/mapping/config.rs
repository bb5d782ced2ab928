//! Settings of FMAM: how features are adapted to the task.

use std::f64::consts::PI;

use fmam_core::StagePlan;
use fmam_models::FeatureMappingConfig;
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};
use serde::{Deserialize, Serialize};

use super::{FEATURE_MAPPING, MAPPING};
use crate::MethodError;
use crate::settings::{Check, Settings, out_of_range};
use crate::training::{MAX_EPOCHS, Schedule};

/// Factors of the exponents of the loss, at most.
const MAX_SCALE: f64 = 1e4;

/// Weights of the term that keeps normal features, at most.
const MAX_KEEP: f64 = 1e6;

/// The network that the angular margin loss trains, and the time of its training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adaptation {
    /// A feature mapping behind both the teacher and the student, after the student has learnt the
    /// whitened features. The loss contrasts the teacher with the student: the two must agree where
    /// an image is normal and differ on a defect.
    Mapping,
    /// A feature mapping behind the teacher, before the student, which then learns mapped features.
    /// The loss contrasts the defective view of an image with its normal original.
    TargetMapping,
    /// The backbone's own last block, before the student, and no mapping: for ablations. Only the
    /// coarsest scale changes.
    LastBlock,
}

/// Configuration of the feature mapping: the table `mapping` of a method with FMAM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// The network that is trained.
    pub adaptation: Adaptation,
    /// Epochs of this training; where not given, those of the student, but no more than reach
    /// [`MappingConfig::DEFAULT_STEPS`] steps. With 0 nothing is trained: features are whitened
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Pairs of normal and defective view in a step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// The course of the step size.
    pub schedule: Schedule,
    /// Inverse temperature s of the angular margin loss.
    pub scale: f64,
    /// Angular margin m in radians.
    pub margin: f64,
    /// Weight λ of the term that keeps normal features in place.
    pub keep: f64,
    /// Share of a position's pixels above which it is a negative.
    pub negative_share: f64,
    /// Share of a position's pixels below which it is a positive.
    pub positive_share: f64,
    /// The mapping network.
    pub network: FeatureMappingConfig,
    /// The synthetic defects.
    pub synthesis: SynthesisConfig,
}

impl Default for MappingConfig {
    fn default() -> Self {
        Self {
            adaptation: Adaptation::Mapping,
            epochs: None,
            batch_size: 8,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            scale: 16.0,
            margin: 0.3,
            keep: 0.3,
            negative_share: 0.5,
            positive_share: 0.01,
            network: FeatureMappingConfig::default(),
            synthesis: SynthesisConfig::default(),
        }
    }
}

impl MappingConfig {
    /// Steps after which the training ends where no number of epochs is given, up to the end of an
    /// epoch.
    pub const DEFAULT_STEPS: usize = 600;

    /// The settings for a host without a student: the mapping stands behind the teacher.
    pub(crate) fn of_views() -> Self {
        Self { adaptation: Adaptation::TargetMapping, ..Self::default() }
    }

    /// The error for a mapping in the settings of the plain `method`.
    pub(crate) fn refused(method: &'static str) -> MethodError {
        let expected = "absent: the plain method has no feature mapping";
        out_of_range(method, MAPPING, expected, "a table")
    }

    /// The training, whose number of epochs is known; `None` where nothing is trained.
    pub(crate) fn planned(&self) -> Option<StagePlan> {
        let epochs = self.epochs.filter(|&epochs| epochs > 0)?;
        Some(StagePlan { id: FEATURE_MAPPING, epochs: epochs as u64 })
    }

    /// Epochs of the training on `n_images`, where the student takes `student_epochs`.
    pub(crate) fn epochs_on(&self, n_images: usize, student_epochs: usize) -> usize {
        let steps_an_epoch = (n_images / self.batch_size).max(1);
        self.epochs.unwrap_or_else(|| student_epochs.min(Self::DEFAULT_STEPS.div_ceil(steps_an_epoch)))
    }
}

impl Settings for MappingConfig {
    const OPTIONAL: &'static [&'static str] = &["epochs"];

    fn check(&self, check: &mut Check) {
        let epochs = self.epochs.unwrap_or(0);
        check.require("mapping.epochs", epochs <= MAX_EPOCHS, "from 0 to 1000000", epochs);
        check.at_least_one("mapping.batch_size", self.batch_size);
        check.part(self.network.check());
        // The constructor of the synthesizer checks the synthesis; the textures do not matter to
        // that.
        check.part(Synthesizer::new(self.synthesis.clone(), Textures::Generated).map(drop));
        check.require("mapping.margin", (0.0..=PI).contains(&self.margin), "in 0..=π", self.margin);
        // Beyond it the loss could no longer tell an exponent from a masked one.
        let is_scale = self.scale > 0.0 && self.scale <= MAX_SCALE;
        check.require("mapping.scale", is_scale, "above 0 and at most 10000", self.scale);
        check.learning_rate("mapping.learning_rate", self.learning_rate);
        let is_keep = (0.0..=MAX_KEEP).contains(&self.keep);
        check.require("mapping.keep", is_keep, "from 0 to 1000000", self.keep);
        let (positive, negative) = (self.positive_share, self.negative_share);
        let is_share = negative > 0.0 && negative < 1.0;
        check.require("mapping.negative_share", is_share, "above 0 and below 1", negative);
        let is_less = positive > 0.0 && positive <= negative;
        let expected = "above 0 and at most mapping.negative_share";
        check.require("mapping.positive_share", is_less, expected, positive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::checked;

    #[test]
    fn epochs_not_given_are_the_students_up_to_the_default_number_of_steps() {
        let config = MappingConfig::default();
        assert_eq!(config.epochs_on(320, 100), 15);
        assert_eq!(config.epochs_on(330, 100), 15);
        assert_eq!(config.epochs_on(320, 7), 7);
        assert_eq!(config.epochs_on(64, 20), 20);
        assert_eq!(config.epochs_on(100_000, 20), 1);
        // Fewer images than a batch still make a step.
        assert_eq!(config.epochs_on(3, 1000), 600);
        assert_eq!(MappingConfig { epochs: Some(0), ..config.clone() }.epochs_on(64, 20), 0);
        assert_eq!(MappingConfig { epochs: Some(30), ..config }.epochs_on(64, 20), 30);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let refused = |change: fn(&mut MappingConfig)| {
            let mut config = MappingConfig::default();
            change(&mut config);
            checked("m", &config).is_err()
        };
        assert!(checked("m", &MappingConfig::default()).is_ok());
        assert!(refused(|c| c.margin = 4.0));
        for scale in [0.0, -1.0, 10_000.1, 1e9, f64::INFINITY, f64::NAN] {
            let config = MappingConfig { scale, ..MappingConfig::default() };
            assert!(checked("m", &config).is_err(), "{scale}");
        }
        assert!(!refused(|c| c.scale = 10_000.0));
        assert!(refused(|c| c.keep = -1.0) && refused(|c| c.keep = 1e7) && refused(|c| c.keep = f64::NAN));
        assert!(!refused(|c| c.keep = 0.0) && !refused(|c| c.keep = 1e6));
        assert!(refused(|c| c.learning_rate = 1001.0) && !refused(|c| c.learning_rate = 1000.0));
        assert!(refused(|c| c.epochs = Some(2_000_000)));
        assert!(refused(|c| c.negative_share = 1.0));
        assert!(refused(|c| c.positive_share = 0.0));
        assert!(refused(|c| c.positive_share = 0.6));
        assert!(refused(|c| c.network.width = 0));
        assert!(refused(|c| c.network.kernel = 2));
        assert!(refused(|c| c.network.shrinkage = 0.0));
        assert!(refused(|c| c.network.offset = -1.0));
        assert!(refused(|c| c.synthesis.threshold = 2.0));
        assert!(refused(|c| c.learning_rate = f64::NAN));
    }
}
