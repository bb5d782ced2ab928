use fmam_core::{Needs, Plan, SampleSource, StageId};
use fmam_losses::hypersphere_classifier;
use fmam_models::{Params, to_batch};
use fmam_synthesis::{Synthesizer, confetti};

use super::config::{Exposure, FcddConfig, NAME};
use super::scorer::{Outputs, load};
use crate::checkpoint::Checkpoint;
use crate::feature_scorer::{FeatureExtractor, FeatureScorer};
use crate::settings::{Settings, checked, settings_value};
use crate::training::Loaded;
use crate::{Detector, Fitted, Method, MethodEntry, MethodError, RunContext};

/// The one training.
const HEAD: StageId = StageId::new(NAME);

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a fully convolutional one-class network with outlier exposure",
    paper: "Liznerski et al., ICLR 2021, arXiv:2007.01760",
    in_table1: true,
    is_yardstick: false,
    min_images: 1,
    is_seeded: true,
    trial: "width = 16",
    build: |table| fcdd(FcddConfig::read(NAME, table)?),
    load,
};
/// FCDD with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn fcdd(config: FcddConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(NAME, &config)?;
    Ok(Box::new(Fcdd { config }))
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
        let head = config.head(run.backbone.as_ref(), &params)?;
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
        let network = Checkpoint::new(params.tensors()?, "the fitted network");
        let normal = Outputs::new(config.clone(), run.backbone.as_ref(), network, &run.device)?;
        let scorer = FeatureScorer { extractor: FeatureExtractor::of_run(run), normal };
        Ok(Fitted { detector: Detector::fitted(NAME, &config, run, scorer)?, curve })
    }
}
