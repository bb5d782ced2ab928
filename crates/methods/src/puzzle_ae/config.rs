use serde::{Deserialize, Serialize};

use crate::settings::{Check, Settings};
use crate::training::TrainingConfig;

/// The registered name.
pub(super) const NAME: &str = "puzzle-ae";

/// Configuration of PuzzleAE. It uses no backbone. Deviations from the original: a narrower
/// network, fewer epochs, and the mean error over the four cyclic exchanges of the quarters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PuzzleAeConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// Channels of the network at full resolution.
    pub width: usize,
    /// Largest change of a pixel value (0 to 1) by the adversary; 0 for none.
    pub epsilon: f64,
    /// Steps of the adversary: 1 is the fast gradient sign method, more are projected gradient
    /// descent.
    pub adversarial_steps: usize,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
}

impl Default for PuzzleAeConfig {
    fn default() -> Self {
        Self {
            training: TrainingConfig::STANDARD,
            width: 16,
            epsilon: 0.03,
            adversarial_steps: 1,
            blur_sigma: 4.0,
        }
    }
}

impl Settings for PuzzleAeConfig {
    fn check(&self, check: &mut Check) {
        self.training.check(check);
        check.blur("blur_sigma", self.blur_sigma);
        check.require("width", (1..=256).contains(&self.width), "from 1 to 256", self.width);
        check.require("epsilon", (0.0..=1.0).contains(&self.epsilon), "from 0 to 1", self.epsilon);
        let steps = self.adversarial_steps;
        check.require("adversarial_steps", (1..=100).contains(&steps), "from 1 to 100", steps);
    }
}
