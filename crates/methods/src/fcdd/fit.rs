use fmam_core::{Needs, Plan, SampleSource, StageId};
use fmam_losses::{hypersphere_classifier, hypersphere_classifier_within};
use fmam_models::{Params, to_batch};
use fmam_synthesis::{Synthesizer, confetti, confetti_within};

use super::config::{Exposure, FcddConfig, NAME};
use super::scorer::{Outputs, load};
use crate::batch_inside::BatchInside;
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
            let mut masks = Vec::with_capacity(samples.len());
            for sample in samples {
                let inside = sample.inside.as_ref();
                anomalies.push(match config.exposure {
                    Exposure::Synthesis => {
                        synthesizer.synthesize_within(&sample.image, inside, sample.seed)?.image
                    }
                    Exposure::Confetti => match inside {
                        None => confetti(&sample.image, sample.seed),
                        Some(inside) => confetti_within(&sample.image, inside, sample.seed)?,
                    },
                });
                images.push(sample.image);
                masks.push(sample.inside);
            }
            let n = images.len();
            images.append(&mut anomalies);
            let labels: Vec<bool> = (0..2 * n).map(|k| k >= n).collect();
            let inside = BatchInside::new(masks).map(|inside| inside.twice());
            Ok((to_batch(&images, run.backbone.preprocess(), &run.device)?, labels, inside))
        };
        let curve =
            config.training.stage(HEAD).run(&params, train, run, prepare, |(images, labels, inside)| {
                let features = run.backbone.features(&images)?;
                let scale = &features.scales[config.scale];
                let outputs = head.forward(scale)?;
                Ok(match inside {
                    None => hypersphere_classifier(&outputs, &labels)?,
                    Some(inside) => {
                        hypersphere_classifier_within(&outputs, &labels, &inside.weights(scale)?)?
                    }
                })
            })?;
        let network = Checkpoint::new(params.tensors()?, "the fitted network");
        let normal = Outputs::new(config.clone(), run.backbone.as_ref(), network, &run.device)?;
        let scorer = FeatureScorer { extractor: FeatureExtractor::of_run(run), normal };
        Ok(Fitted { detector: Detector::fitted(NAME, &config, run, scorer)?, curve })
    }
}
