//! Settings of FMAM: how features are adapted to the task.

use std::f64::consts::PI;

use fmam_models::FeatureMappingConfig;
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::training::MAX_EPOCHS;
use crate::training::Schedule;

/// What the angular margin loss trains, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adaptation {
    /// A feature mapping behind both the teacher and the student, after the student has learnt the whitened features. The
    /// loss contrasts the teacher with the student: the two must agree where an image is normal and differ on a defect.
    Mapping,
    /// A feature mapping behind the teacher, before the student, which then learns mapped features. The loss contrasts the
    /// defective view of an image with its normal original.
    TargetMapping,
    /// The backbone's own last block, before the student, and no mapping: for ablations. Only the coarsest scale changes.
    LastBlock,
}

/// Configuration of the feature mapping: the table `mapping` of a method with FMAM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// What is trained.
    pub adaptation: Adaptation,
    /// Epochs of this training; where not given, those of the student, but no more than reach
    /// [`MappingConfig::DEFAULT_STEPS`] steps. With 0 nothing is trained: features are whitened only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Pairs of normal and defective view in a step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// How the step size changes.
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
    /// Steps after which the training ends where no number of epochs is given, up to the end of an epoch.
    pub const DEFAULT_STEPS: usize = 600;

    /// Epochs of the training on `n_images`, where the student takes `student_epochs`.
    pub(crate) fn epochs_on(&self, n_images: usize, student_epochs: usize) -> usize {
        let steps_an_epoch = (n_images / self.batch_size).max(1);
        self.epochs.unwrap_or_else(|| student_epochs.min(Self::DEFAULT_STEPS.div_ceil(steps_an_epoch)))
    }

    pub(crate) fn check(&self, method: &'static str) -> Result<(), MethodError> {
        let bad = |key, expected, actual: String| MethodError::ConfigValue { method, key, expected, actual };
        if let Some(epochs) = self.epochs.filter(|&epochs| epochs > MAX_EPOCHS) {
            return Err(bad("mapping.epochs", "from 0 to 1000000", epochs.to_string()));
        }
        if self.batch_size == 0 {
            return Err(bad("mapping.batch_size", "at least 1", "0".into()));
        }
        self.network.check()?;
        // Its constructor checks the synthesis; the textures do not matter to that.
        Synthesizer::new(self.synthesis.clone(), Textures::Generated)?;
        if !(0.0..=PI).contains(&self.margin) {
            return Err(bad("mapping.margin", "in 0..=π", self.margin.to_string()));
        }
        for (key, value) in [("mapping.scale", self.scale), ("mapping.learning_rate", self.learning_rate)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(bad(key, "above 0", value.to_string()));
            }
        }
        if !(self.keep >= 0.0 && self.keep.is_finite()) {
            return Err(bad("mapping.keep", "0 or more", self.keep.to_string()));
        }
        if !(self.negative_share > 0.0 && self.negative_share < 1.0) {
            let actual = self.negative_share.to_string();
            return Err(bad("mapping.negative_share", "above 0 and below 1", actual));
        }
        if !(self.positive_share > 0.0 && self.positive_share <= self.negative_share) {
            let expected = "above 0 and at most mapping.negative_share";
            return Err(bad("mapping.positive_share", expected, self.positive_share.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            config.check("m").is_err()
        };
        assert!(MappingConfig::default().check("m").is_ok());
        assert!(refused(|c| c.margin = 4.0));
        assert!(refused(|c| c.scale = 0.0));
        assert!(refused(|c| c.keep = -1.0));
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
