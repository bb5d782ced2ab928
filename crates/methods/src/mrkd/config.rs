use serde::{Deserialize, Serialize};

use super::loss::MAX_WEIGHT;
use crate::settings::{Check, Settings};
use crate::training::TrainingConfig;

/// The registered name.
pub(super) const NAME: &str = "mrkd";

/// Configuration of MRKD. Deviations from the original: any backbone as the teacher, its scales as
/// the critical layers, their channels in deviations from their mean on normal images, a cloner
/// that fits it; the plain gradient for the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MrkdConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// True to compare features in deviations from their mean on normal images, channel by
    /// channel; the original compares them as they are.
    pub standardize: bool,
    /// Weight of the directions against the values; absent, as in the original, it makes both equal
    /// at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction_weight: Option<f64>,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
    /// Side in pixels of the square of the morphological opening after the blur, which takes away
    /// smaller spots; 1 for none.
    pub opening: usize,
}

impl Default for MrkdConfig {
    fn default() -> Self {
        Self {
            training: TrainingConfig::STANDARD,
            standardize: true,
            direction_weight: None,
            blur_sigma: 4.0,
            opening: 4,
        }
    }
}

impl Settings for MrkdConfig {
    const OPTIONAL: &'static [&'static str] = &["direction_weight"];

    fn check(&self, check: &mut Check) {
        self.training.check(check);
        check.blur("blur_sigma", self.blur_sigma);
        if let Some(weight) = self.direction_weight {
            let is_in_range = (0.0..=MAX_WEIGHT).contains(&weight);
            check.require("direction_weight", is_in_range, "from 0 to 1000000", weight);
        }
        check.require("opening", (1..=64).contains(&self.opening), "from 1 to 64", self.opening);
    }
}
