use std::sync::OnceLock;

use fmam_core::{Needs, Plan, SampleSource, StageId};
use fmam_models::{FeatureMoments, Params};

use super::config::{MrkdConfig, NAME};
use super::loss::{balancing_weight, loss};
use super::scorer::{ClonerScorer, load};
use super::standardizer::Standardizer;
use crate::checkpoint::Checkpoint;
use crate::sample_features::spread_features;
use crate::settings::{Settings, checked, settings_value};
use crate::teacher_cache::TeacherCache;
use crate::training::IndexedBatch;
use crate::{Detector, Fitted, Method, MethodEntry, MethodError, RunContext};

/// The one training.
const CLONER: StageId = StageId::new("cloner");

/// Training images from which mean and deviation of the teacher's features are measured.
const MEASURED_IMAGES: usize = 32;

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a small cloner of the teacher, and the gradient of their difference",
    paper: "Salehi et al., CVPR 2021, arXiv:2011.11108",
    in_table1: true,
    is_yardstick: false,
    min_images: 1,
    is_seeded: true,
    trial: "",
    build: |table| mrkd(MrkdConfig::read(NAME, table)?),
    load,
};
/// MRKD with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn mrkd(config: MrkdConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(NAME, &config)?;
    Ok(Box::new(Mrkd { config }))
}

struct Mrkd {
    config: MrkdConfig,
}

impl Method for Mrkd {
    fn plan(&self, _n_images: usize) -> Result<Plan, MethodError> {
        let mut needs = Needs::FEATURES;
        needs.student = true;
        let stages = vec![self.config.training.planned(CLONER)];
        Ok(Plan { settings: settings_value(NAME, &self.config)?, stages, needs })
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        if train.is_empty() {
            return Err(MethodError::NoTrainingImages);
        }
        let mut config = self.config;
        let teacher = run.backbone.as_ref();
        let standardizer = if config.standardize {
            let mut moments = FeatureMoments::default();
            spread_features(&run.backbone, train, MEASURED_IMAGES, run, |features| {
                Ok(moments.add(&features)?)
            })?;
            Standardizer::new(&moments, teacher.channels(), &run.device)?
        } else {
            Standardizer::identity(teacher.channels(), &run.device)?
        };
        let params = Params::trainable(run.seed.derive(NAME), &run.device);
        let cloner = teacher.cloner(&params)?;
        let prepare = |samples| IndexedBatch::new(samples, run);
        let mut targets = TeacherCache::for_run(&run.backbone, train.len(), run);
        let weight = config.direction_weight.map_or_else(OnceLock::new, OnceLock::from);
        let stage = config.training.stage(CLONER).finding(&weight);
        let curve = stage.run(&params, train, run, prepare, |batch| {
            let IndexedBatch { indices, images, inside } = batch;
            let inside = inside.as_ref();
            let target = standardizer.apply(&targets.pyramid(&indices, &images)?)?;
            let output = cloner.forward(&images)?;
            let weight = match weight.get() {
                Some(weight) => *weight,
                // The first step: the values' error over that of the directions, which are the
                // weight's coefficient.
                None => {
                    let balancing = balancing_weight(&target, &output.detach(), inside)?;
                    *weight.get_or_init(|| balancing)
                }
            };
            loss(&target, &output, weight, inside)
        })?;
        config.direction_weight = weight.get().copied();
        let mut tensors = params.tensors()?;
        tensors.extend(standardizer.tensors());
        let cloner = Checkpoint::new(tensors, "the fitted cloner");
        let scorer = ClonerScorer::new(config.clone(), run.backbone.clone(), cloner, &run.device)?;
        Ok(Fitted { detector: Detector::fitted(NAME, &config, run, scorer)?, curve })
    }
}
