//! MRKD: a small cloner learns the values and the directions of a teacher's features on normal images; an image is scored by
//! their difference, and what in it makes the difference by its gradient (Salehi et al., CVPR 2021, arXiv:2011.11108).

mod standard;

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use fmam_core::{AnomalyMap, ImageSize, Needs, Plan, RgbImage, SampleSource, Seed, StageId};
use fmam_losses::{flattened_cosine_distillation, multiresolution_distillation};
use fmam_models::{Backbone, FeatureMoments, FeaturePyramid, LoadedBackbone, Params, Student, to_batch};
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::model_dir::{ModelDir, TEACHER, Tensors, read_network};
use crate::mrkd::standard::Standard;
use crate::sample_features::spread_features;
use crate::scoring::{blurred, check_blur, check_size, opened, score_each};
use crate::settings::{parse_settings, settings_table, settings_value};
use crate::teacher_cache::TeacherCache;
use crate::training::{TrainingConfig, indexed_batch, sum_of_scales};
use crate::{AdaptedFeatures, Detector, Fitted, Method, MethodError, Prediction, RunContext};

const NAME: &str = "mrkd";

/// The one training.
const CLONER: StageId = StageId::new("cloner");

/// Training images from which mean and deviation of the teacher's features are measured.
const MEASURED_IMAGES: usize = 32;

/// The largest weight of the directions.
const MAX_WEIGHT: f64 = 1e6;

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a small cloner of the teacher, and the gradient of their difference",
    paper: "Salehi et al., CVPR 2021, arXiv:2011.11108",
    is_seeded: true,
    build: |table| Ok(Box::new(Mrkd { config: configure(table)? })),
    load,
};

/// Configuration of MRKD. Deviations from the original: any backbone as the teacher, its scales as the critical layers,
/// their channels in deviations from their mean on normal images, a cloner that fits it; the plain gradient for the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MrkdConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// Whether features are compared in deviations from their mean on normal images, channel by channel; the original compares
    /// them as they are.
    pub standardize: bool,
    /// Weight of the directions against the values; absent, as in the original, it makes both equal at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction_weight: Option<f64>,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
    /// Side in pixels of the square of the morphological opening after the blur, which takes away smaller spots; 1 for none.
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

fn configure(table: toml::Table) -> Result<MrkdConfig, MethodError> {
    let config = parse_settings(NAME, &MrkdConfig::default(), &["direction_weight"], table)?;
    config.training.check(NAME)?;
    check_blur(NAME, "blur_sigma", config.blur_sigma)?;
    let bad =
        |key, expected, actual: String| MethodError::ConfigValue { method: NAME, key, expected, actual };
    if let Some(weight) = config.direction_weight.filter(|weight| !(0.0..=MAX_WEIGHT).contains(weight)) {
        return Err(bad("direction_weight", "from 0 to 1000000", weight.to_string()));
    }
    if !(1..=64).contains(&config.opening) {
        return Err(bad("opening", "from 1 to 64", config.opening.to_string()));
    }
    Ok(config)
}

/// The loss of all scales.
fn loss(
    teacher: &FeaturePyramid,
    cloner: &FeaturePyramid,
    direction_weight: f64,
) -> Result<Tensor, MethodError> {
    let scales = teacher.scales.iter().zip(&cloner.scales);
    sum_of_scales(scales.map(|(t, c)| Ok(multiresolution_distillation(t, c, direction_weight)?)))
}

/// The weight with which the directions' error is as large as the values'.
fn balancing_weight(teacher: &FeaturePyramid, cloner: &FeaturePyramid) -> Result<f64, MethodError> {
    let values = loss(teacher, cloner, 0.0)?.to_scalar::<f32>()?;
    let scales = teacher.scales.iter().zip(&cloner.scales);
    let directions = sum_of_scales(scales.map(|(t, c)| Ok(flattened_cosine_distillation(t, c)?)))?;
    let ratio = f64::from(values) / f64::from(directions.to_scalar::<f32>()?);
    Ok(if ratio.is_finite() { ratio.min(MAX_WEIGHT) } else { 1.0 })
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
        let standard = if config.standardize {
            let mut moments = FeatureMoments::default();
            spread_features(teacher, train, MEASURED_IMAGES, run, |features| Ok(moments.add(&features)?))?;
            Standard::new(&moments, teacher.channels(), &run.device)?
        } else {
            Standard::identity(teacher.channels(), &run.device)?
        };
        let params = Params::trainable(run.seed.derive(NAME), &run.device);
        let cloner = teacher.cloner(&params)?;
        let prepare = |samples| indexed_batch(samples, run);
        let mut targets = TeacherCache::for_run(teacher, train.len(), run);
        let mut weight = config.direction_weight;
        let curve =
            config.training.stage(CLONER).run(params.vars(), train, run, prepare, |(indices, images)| {
                let target = standard.apply(&targets.pyramid(&indices, &images)?)?;
                let output = cloner.forward(&images)?;
                let weight = match weight {
                    Some(weight) => weight,
                    // The first step: the values' error over that of the directions, which are the weight's coefficient.
                    None => *weight.insert(balancing_weight(&target, &output.detach())?),
                };
                loss(&target, &output, weight)
            })?;
        config.direction_weight = weight;
        let mut tensors = params.tensors()?;
        tensors.extend(standard.tensors());
        let origin = "the fitted cloner";
        let (backbone, size) = (run.backbone.clone(), run.image_size);
        let detector = CloneDetector::new(config, backbone, tensors, origin, (size, run.seed), &run.device)?;
        Ok(Fitted { detector: Box::new(detector), curve })
    }
}

/// Teacher and cloner, both open to gradients.
struct CloneDetector {
    config: MrkdConfig,
    backbone: Arc<LoadedBackbone>,
    teacher: Box<dyn Student>,
    cloner: Box<dyn Student>,
    standard: Standard,
    tensors: Tensors,
    image_size: ImageSize,
    seed: Seed,
    device: Device,
}

impl CloneDetector {
    fn new(
        config: MrkdConfig,
        backbone: Arc<LoadedBackbone>,
        tensors: Tensors,
        origin: &str,
        (image_size, seed): (ImageSize, Seed),
        device: &Device,
    ) -> Result<Self, MethodError> {
        let mut network = tensors.clone();
        let standard = Standard::from_tensors(&mut network, backbone.channels(), origin, device)?;
        let params = Params::frozen(network, origin, device).passing_gradients();
        let cloner = backbone.cloner(&params)?;
        params.finish(|_| false)?;
        let teacher = backbone.passing_gradients(device)?;
        Ok(Self {
            config,
            backbone,
            teacher,
            cloner,
            standard,
            tensors,
            image_size,
            seed,
            device: device.clone(),
        })
    }

    fn score_image(&self, image: &RgbImage) -> Result<Prediction, MethodError> {
        let images = std::slice::from_ref(image);
        let image = Var::from_tensor(&to_batch(images, self.backbone.preprocess(), &self.device)?)?;
        let weight = self.config.direction_weight.unwrap_or(1.0);
        let target = self.standard.apply(&self.teacher.forward(&image)?)?;
        let loss = loss(&target, &self.cloner.forward(&image)?, weight)?;
        let gradients = loss.backward()?;
        let gradient = match gradients.get(&image) {
            Some(gradient) => gradient.abs()?.sum(1)?,
            None => image.zeros_like()?.sum(1)?,
        };
        let map = blurred(&gradient.to_device(&Device::Cpu)?, self.config.blur_sigma, self.image_size)?;
        let map = opened(&map.flatten_all()?.to_vec1()?, self.image_size, self.config.opening);
        let anomaly_map = AnomalyMap::new(self.image_size, map)?;
        Ok(Prediction { image_score: loss.to_scalar::<f32>()?, anomaly_map })
    }
}

impl Detector for CloneDetector {
    fn image_size(&self) -> ImageSize {
        self.image_size
    }

    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        check_size(images, self.image_size)?;
        score_each(images, |images| images.iter().map(|image| self.score_image(image)).collect())
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        check_size(images, self.image_size)?;
        if images.is_empty() {
            return Ok(None);
        }
        let batch = to_batch(images, self.backbone.preprocess(), &self.device)?;
        let teacher = self.backbone.features(&batch)?;
        let expected = self.standard.invert(&self.cloner.forward(&batch)?)?;
        Ok(Some(AdaptedFeatures { teacher, adapted: None, expected: Some(expected) }))
    }

    fn save(&self, dir: &Path) -> Result<(), MethodError> {
        let config = settings_table(&self.config);
        let model = ModelDir::on_backbone(NAME, &self.backbone, self.seed, self.image_size, config);
        model.write(dir, &[(TEACHER, self.backbone.tensors()), ("cloner", &self.tensors)])
    }
}

fn load(dir: &Path, device: &Device) -> Result<Box<dyn Detector>, MethodError> {
    let model = ModelDir::read(dir)?;
    let backbone = model.read_backbone(dir, device)?;
    let config = configure(model.config)?;
    let (tensors, origin) = read_network(dir, "cloner")?;
    let size = (model.image_size, model.seed);
    Ok(Box::new(CloneDetector::new(config, backbone, tensors, &origin, size, device)?))
}
