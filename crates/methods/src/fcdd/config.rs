use fmam_models::{AnomalyHead, Backbone, Params};
use fmam_synthesis::SynthesisConfig;
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::settings::{Check, Settings, out_of_range};
use crate::training::TrainingConfig;

/// The registered name.
pub(super) const NAME: &str = "fcdd";

/// The stand-in for anomalies in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// The synthetic defects of FMAM.
    Synthesis,
    /// Coloured squares, as in the original.
    Confetti,
}

/// Configuration of FCDD. Deviations from the original: frozen stages of the backbone, whichever it
/// is, instead of those of VGG-11; our synthesis instead of confetti; Adam with a falling step size
/// and 100 epochs instead of SGD and 200; the Gaussians of the map are weighed so that borders are
/// not darker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FcddConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// The backbone's scale that the network stands on, from the finest, 0, on.
    pub scale: usize,
    /// Hidden channels of the trained layers.
    pub width: usize,
    /// The stand-in for anomalies in training.
    pub exposure: Exposure,
    /// The synthetic defects, under [`Exposure::Synthesis`].
    pub synthesis: SynthesisConfig,
    /// Standard deviation of the Gaussian that an output spreads over, in pixels of a 256-pixel
    /// image.
    pub receptive_sigma: f64,
}

impl Default for FcddConfig {
    fn default() -> Self {
        Self {
            training: TrainingConfig { weight_decay: 1e-4, ..TrainingConfig::STANDARD },
            scale: 1,
            width: 128,
            exposure: Exposure::Synthesis,
            synthesis: SynthesisConfig::default(),
            receptive_sigma: 12.0,
        }
    }
}

impl Settings for FcddConfig {
    fn check(&self, check: &mut Check) {
        self.training.check(check);
        check.require("width", (1..=4096).contains(&self.width), "from 1 to 4096", self.width);
        let sigma = self.receptive_sigma;
        let is_in_range = sigma > 0.0 && sigma <= 256.0;
        check.require("receptive_sigma", is_in_range, "above 0 and at most 256", sigma);
    }
}

impl FcddConfig {
    /// The network behind `backbone`.
    pub(super) fn head(&self, backbone: &dyn Backbone, params: &Params) -> Result<AnomalyHead, MethodError> {
        let Some(&channels) = backbone.channels().get(self.scale) else {
            let expected = "one of the backbone's scales, counted from 0";
            return Err(out_of_range(NAME, "scale", expected, self.scale));
        };
        Ok(AnomalyHead::new(channels, self.width, params)?)
    }
}
