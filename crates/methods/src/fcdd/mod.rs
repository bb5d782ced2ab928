//! FCDD: a fully convolutional network whose outputs are drawn to 0 on normal images and away from it on made-up anomalies;
//! its output is the anomaly map (Liznerski et al., ICLR 2021, arXiv:2007.01760).

use std::path::Path;

use candle_core::Device;
use fmam_core::{ImageSize, Needs, Plan, SampleSource, StageId};
use fmam_losses::{hypersphere_classifier, pseudo_huber};
use fmam_models::{AnomalyHead, Backbone, FeaturePyramid, LoadedBackbone, Params, to_batch};
use fmam_synthesis::{SynthesisConfig, Synthesizer, confetti};
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::feature_detector::{FeatureDetector, NormalFeatures, SavedDetector};
use crate::model_dir::Tensors;
use crate::scoring::receptive_map;
use crate::settings::{parse_settings, settings_value};
use crate::training::{Loaded, TrainingConfig};
use crate::{Detector, Fitted, Method, MethodError, Prediction, RunContext};

const NAME: &str = "fcdd";

/// The one training.
const HEAD: StageId = StageId::new(NAME);

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a fully convolutional one-class network with outlier exposure",
    paper: "Liznerski et al., ICLR 2021, arXiv:2007.01760",
    is_seeded: true,
    build: |table| Ok(Box::new(Fcdd { config: configure(table)? })),
    load,
};

/// What stands for anomalies in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// The synthetic defects of FMAM.
    Synthesis,
    /// Coloured squares, as in the original.
    Confetti,
}

/// Configuration of FCDD. Deviations from the original: frozen stages of the backbone, whichever it is, instead of those of
/// VGG-11; our synthesis instead of confetti; Adam with a falling step size and 100 epochs instead of SGD and 200; the
/// Gaussians of the map are weighed so that borders are not darker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FcddConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// The backbone's scale that the network stands on, from the finest, 0, on.
    pub scale: usize,
    /// Hidden channels of the trained layers.
    pub width: usize,
    /// What stands for anomalies in training.
    pub exposure: Exposure,
    /// The synthetic defects, under [`Exposure::Synthesis`].
    pub synthesis: SynthesisConfig,
    /// Standard deviation of the Gaussian that an output spreads over, in pixels of a 256-pixel image.
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

fn configure(table: toml::Table) -> Result<FcddConfig, MethodError> {
    let config = parse_settings(NAME, &FcddConfig::default(), &[], table)?;
    config.training.check(NAME)?;
    let bad =
        |key, expected, actual: String| MethodError::ConfigValue { method: NAME, key, expected, actual };
    if !(1..=4096).contains(&config.width) {
        return Err(bad("width", "from 1 to 4096", config.width.to_string()));
    }
    if !(config.receptive_sigma > 0.0 && config.receptive_sigma <= 256.0) {
        return Err(bad("receptive_sigma", "above 0 and at most 256", config.receptive_sigma.to_string()));
    }
    Ok(config)
}

impl FcddConfig {
    /// The network behind `backbone`.
    fn head(&self, backbone: &LoadedBackbone, params: &Params) -> Result<AnomalyHead, MethodError> {
        let Some(&channels) = backbone.channels().get(self.scale) else {
            return Err(MethodError::ConfigValue {
                method: NAME,
                key: "scale",
                expected: "one of the backbone's scales, counted from 0",
                actual: self.scale.to_string(),
            });
        };
        Ok(AnomalyHead::new(channels, self.width, params)?)
    }
}

struct Fcdd {
    config: FcddConfig,
}

impl Method for Fcdd {
    fn plan(&self, _n_images: usize) -> Result<Plan, MethodError> {
        let mut needs = Needs::FEATURES;
        needs.textures = self.config.exposure == Exposure::Synthesis;
        let stages = vec![self.config.training.planned(HEAD)];
        Ok(Plan { settings: settings_value(NAME, &self.config)?, stages, needs })
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let config = self.config;
        let params = Params::trainable(run.seed.derive(NAME), &run.device);
        let head = config.head(&run.backbone, &params)?;
        let synthesizer = Synthesizer::new(config.synthesis.clone(), run.textures.clone())?;
        let prepare = |samples: Vec<Loaded>| {
            let (mut images, mut anomalies) = (Vec::with_capacity(2 * samples.len()), Vec::new());
            for sample in samples {
                anomalies.push(match config.exposure {
                    Exposure::Synthesis => synthesizer.synthesize(&sample.image, sample.seed)?.image,
                    Exposure::Confetti => confetti(&sample.image, sample.seed),
                });
                images.push(sample.image);
            }
            let n = images.len();
            images.append(&mut anomalies);
            let labels: Vec<bool> = (0..2 * n).map(|k| k >= n).collect();
            Ok((to_batch(&images, run.backbone.preprocess(), &run.device)?, labels))
        };
        let curve =
            config.training.stage(HEAD).run(params.vars(), train, run, prepare, |(images, labels)| {
                let features = run.backbone.features(&images)?;
                Ok(hypersphere_classifier(&head.forward(&features.scales[config.scale])?, &labels)?)
            })?;
        let tensors = params.tensors()?;
        let normal = Outputs::new(config.clone(), &run.backbone, tensors, "the fitted network", &run.device)?;
        let detector = FeatureDetector::fitted(NAME, &config, run, None, normal);
        Ok(Fitted { detector, curve })
    }
}

/// The trained network.
struct Outputs {
    config: FcddConfig,
    head: AnomalyHead,
    tensors: Tensors,
}

impl Outputs {
    fn new(
        config: FcddConfig,
        backbone: &LoadedBackbone,
        tensors: Tensors,
        origin: &str,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let params = Params::frozen(tensors.clone(), origin, device);
        let head = config.head(backbone, &params)?;
        params.finish(|_| false)?;
        Ok(Self { config, head, tensors })
    }
}

impl NormalFeatures for Outputs {
    fn predict(&self, features: &FeaturePyramid, size: ImageSize) -> Result<Prediction, MethodError> {
        let norms = pseudo_huber(&self.head.forward(&features.scales[self.config.scale])?)?;
        let (_, height, width) = norms.dims3()?;
        let norms: Vec<f32> = norms.flatten_all()?.to_vec1()?;
        // The anomaly score of the original: the norm of the outputs, here over their number.
        let image_score = norms.iter().sum::<f32>() / norms.len() as f32;
        let grid = ImageSize::new(height, width);
        let anomaly_map = receptive_map(norms, grid, size, self.config.receptive_sigma)?;
        Ok(Prediction { image_score, anomaly_map })
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        Ok(self.tensors.clone())
    }
}

fn load(dir: &Path, device: &Device) -> Result<Box<dyn Detector>, MethodError> {
    let saved = SavedDetector::read(dir, device)?;
    let config = configure(saved.model.config.clone())?;
    let normal = Outputs::new(config, &saved.backbone, saved.normal.clone(), &saved.origin, device)?;
    Ok(saved.detector(NAME, None, normal, device))
}
