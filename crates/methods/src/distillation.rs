//! What the distillation methods share: configuration, the training of a student, and the fitted detector. A
//! method is a choice of student; FMAM puts a feature mapping between the teacher and what the student learns.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, RgbImage, SampleSource, Seed};
use fmam_losses::{cosine_distillation, flattened_cosine_distillation};
use fmam_models::{
    AnyStudent, Backbone, FeatureMapping, FeaturePyramid, LoadedBackbone, OutputAffine, Params,
    backbone_from_tensors, to_batch,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::feature_mapping::MappingConfig;
use crate::model_dir::{ModelDir, Tensors, read_network};
use crate::scoring::ScoringConfig;
use crate::training::{OptimizerKind, Schedule, TrainingPlan, load_sample};
use crate::{Detector, Fitted, Method, MethodError, Prediction, RunContext};

/// Which form of the cosine distance the student minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationLoss {
    /// Each position by itself.
    PerPosition,
    /// The whole map of a scale as one vector, as Deng and Li's code has it.
    Flattened,
}

/// Configuration of a distillation method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillationConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// The optimizer of the student.
    pub optimizer: OptimizerKind,
    /// Step size.
    pub learning_rate: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// How the step size changes.
    pub schedule: Schedule,
    /// What the student minimises.
    pub loss: DistillationLoss,
    /// How images are scored.
    pub scoring: ScoringConfig,
    /// The feature mapping of FMAM; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
}

/// What tells one distillation method from another.
pub(crate) struct Flavour {
    pub(crate) name: &'static str,
    pub(crate) defaults: fn() -> DistillationConfig,
    pub(crate) student: fn(&LoadedBackbone, &Params) -> Result<AnyStudent, MethodError>,
}

/// A student with what brings its outputs to the teacher's range.
struct ScaledStudent {
    student: AnyStudent,
    /// For signed features only: those behind a ReLU have no constant to learn against noise.
    affine: Option<OutputAffine>,
}

impl ScaledStudent {
    fn new(flavour: &Flavour, backbone: &LoadedBackbone, params: &Params) -> Result<Self, MethodError> {
        let student = (flavour.student)(backbone, params)?;
        let affine = backbone
            .has_signed_features()
            .then(|| OutputAffine::new(backbone.channels(), &params.pp("output")))
            .transpose()?;
        Ok(Self { student, affine })
    }

    fn forward(&self, images: &Tensor, teacher: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        let output = self.student.forward(images, teacher)?;
        Ok(match &self.affine {
            None => output,
            Some(affine) => affine.forward(&output)?,
        })
    }
}

pub(crate) struct Distillation {
    flavour: &'static Flavour,
    config: DistillationConfig,
}

/// Reads the configuration of `flavour`: its defaults, overlaid with `table`.
pub(crate) fn build(flavour: &'static Flavour, table: toml::Table) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Distillation { flavour, config: configure(flavour, table)? }))
}

fn configure(flavour: &'static Flavour, table: toml::Table) -> Result<DistillationConfig, MethodError> {
    let method = flavour.name;
    let defaults = (flavour.defaults)();
    let has_mapping = defaults.mapping.is_some();
    let mut merged = to_table(&defaults);
    overlay(&mut merged, table);
    if !has_mapping && merged.contains_key("mapping") {
        return Err(MethodError::ConfigValue {
            method,
            key: "mapping",
            expected: "absent: the plain method has no feature mapping",
            actual: "a table".into(),
        });
    }
    let mut config: DistillationConfig =
        merged.try_into().map_err(|source| MethodError::Config { method, source })?;
    let bad = |key, expected, actual: String| MethodError::ConfigValue { method, key, expected, actual };
    if !(1..=MAX_EPOCHS).contains(&config.epochs) {
        return Err(bad("epochs", "from 1 to 1000000", config.epochs.to_string()));
    }
    if config.batch_size == 0 {
        return Err(bad("batch_size", "at least 1", "0".into()));
    }
    if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
        return Err(bad("learning_rate", "above 0", config.learning_rate.to_string()));
    }
    if !(config.weight_decay >= 0.0 && config.weight_decay.is_finite()) {
        return Err(bad("weight_decay", "0 or more", config.weight_decay.to_string()));
    }
    if !(0.0..=256.0).contains(&config.scoring.blur_sigma) {
        return Err(bad("scoring.blur_sigma", "from 0 to 256", config.scoring.blur_sigma.to_string()));
    }
    if let Some(mapping) = &mut config.mapping {
        mapping.epochs.get_or_insert(config.epochs);
        mapping.check(method)?;
    }
    Ok(config)
}

/// More would take years, and products of it could overflow.
pub(crate) const MAX_EPOCHS: usize = 1_000_000;

fn to_table(config: &DistillationConfig) -> toml::Table {
    // Every field has a TOML form, so this is a table; a failure would show in the tests of the defaults.
    toml::Table::try_from(config).unwrap_or_default()
}

/// Puts the values of `over` in place of those of `base`, table by table.
fn overlay(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(table)) => overlay(inner, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

impl Method for Distillation {
    fn config(&self) -> serde_json::Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let config = &self.config;
        if train.is_empty() {
            return Err(MethodError::NoTrainingImages);
        }
        let mut curve = Vec::new();
        let mut mapping = None;
        if let Some(stage) = &config.mapping {
            let (tensors, points) = stage.fit(stage.epochs.unwrap_or(config.epochs), train, run)?;
            curve.extend(points);
            mapping = Some(tensors);
        }
        let teacher =
            MappedTeacher::new(run.backbone.clone(), config, mapping, "the fitted mapping", &run.device)?;
        let params = Params::trainable(run.seed.derive("student"), &run.device);
        let student = ScaledStudent::new(self.flavour, &run.backbone, &params)?;
        if let Some(affine) = &student.affine {
            affine.measure(&teacher.sample_features(train, run)?)?;
        }
        let plan = TrainingPlan {
            stage: "student",
            epochs: config.epochs,
            batch_size: config.batch_size,
            optimizer: config.optimizer,
            learning_rate: config.learning_rate,
            weight_decay: config.weight_decay,
            schedule: config.schedule,
        };
        let preprocess = run.backbone.preprocess();
        let prepare = |samples: Vec<crate::training::Loaded>| {
            let images: Vec<RgbImage> = samples.into_iter().map(|sample| sample.image).collect();
            Ok(to_batch(&images, preprocess, &run.device)?)
        };
        curve.extend(plan.run(params.vars(), train, run, prepare, |images| {
            let target = teacher.features(&images)?;
            let output = student.forward(&images, &target)?;
            loss(config.loss, &target, &output)
        })?);
        let detector = DistillationDetector::new(
            self.flavour,
            self.config,
            teacher,
            (params.tensors()?, "the fitted student"),
            run.image_size,
            run.seed,
            &run.device,
        )?;
        Ok(Fitted { detector: Box::new(detector), curve })
    }
}

fn loss(
    kind: DistillationLoss,
    teacher: &FeaturePyramid,
    student: &FeaturePyramid,
) -> Result<Tensor, MethodError> {
    let mut total: Option<Tensor> = None;
    for (t, s) in teacher.scales.iter().zip(&student.scales) {
        let loss = match kind {
            DistillationLoss::PerPosition => cosine_distillation(t, s)?,
            DistillationLoss::Flattened => flattened_cosine_distillation(t, s)?,
        };
        total = Some(match total {
            None => loss,
            Some(total) => (total + loss)?,
        });
    }
    total.ok_or(MethodError::NoTrainingImages)
}

/// The teacher as the student sees it: the frozen backbone, with the mapping behind it under FMAM.
struct MappedTeacher {
    backbone: Arc<LoadedBackbone>,
    mapping: Option<(FeatureMapping, Tensors)>,
}

impl MappedTeacher {
    fn new(
        backbone: Arc<LoadedBackbone>,
        config: &DistillationConfig,
        mapping: Option<Tensors>,
        origin: &str,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let mapping = match (mapping, &config.mapping) {
            (Some(tensors), Some(settings)) => {
                let params = Params::frozen(tensors.clone(), origin, device);
                let network = FeatureMapping::new(backbone.channels(), &settings.network, &params)?;
                params.finish(|_| false)?;
                Some((network, tensors))
            }
            _ => None,
        };
        Ok(Self { backbone, mapping })
    }

    fn features(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
        let features = self.backbone.features(images)?;
        Ok(match &self.mapping {
            None => features,
            Some((mapping, _)) => mapping.forward(&features)?,
        })
    }
}

/// Training images from which the teacher's statistics are measured, and how many at once.
const MEASURED_IMAGES: usize = 32;
const MEASURED_BATCH: usize = 8;

impl MappedTeacher {
    /// Features of some training images, evenly spread over the source.
    fn sample_features(
        &self,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<Vec<FeaturePyramid>, MethodError> {
        let count = train.len().min(MEASURED_IMAGES);
        let images =
            (0..count).map(|k| load_sample(train, k * train.len() / count)).collect::<Result<Vec<_>, _>>()?;
        images
            .chunks(MEASURED_BATCH)
            .map(|images| self.features(&to_batch(images, self.backbone.preprocess(), &run.device)?))
            .collect()
    }
}

pub(crate) struct DistillationDetector {
    flavour: &'static Flavour,
    config: DistillationConfig,
    teacher: MappedTeacher,
    student: ScaledStudent,
    student_tensors: Tensors,
    image_size: ImageSize,
    seed: Seed,
    device: Device,
}

impl DistillationDetector {
    fn new(
        flavour: &'static Flavour,
        config: DistillationConfig,
        teacher: MappedTeacher,
        (student_tensors, origin): (Tensors, &str),
        image_size: ImageSize,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let params = Params::frozen(student_tensors.clone(), origin, device);
        let student = ScaledStudent::new(flavour, &teacher.backbone, &params)?;
        params.finish(|_| false)?;
        let device = device.clone();
        Ok(Self { flavour, config, teacher, student, student_tensors, image_size, seed, device })
    }

    fn score_batch(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let target = self.teacher.features(&batch)?;
        let output = self.student.forward(&batch, &target)?;
        self.config.scoring.predict(&target, &output, self.image_size)
    }
}

/// Reads what [`Detector::save`] of a distillation detector wrote.
pub(crate) fn load(
    flavour: &'static Flavour,
    dir: &Path,
    device: &Device,
) -> Result<Box<dyn Detector>, MethodError> {
    let model = ModelDir::read(dir)?;
    let config = configure(flavour, model.config)?;
    let (tensors, origin) = read_network(dir, "teacher")?;
    let backbone = Arc::new(backbone_from_tensors(&model.backbone, tensors, &origin, device)?);
    let (mapping, origin) = match &config.mapping {
        Some(_) => read_network(dir, "mapping").map(|(tensors, origin)| (Some(tensors), origin))?,
        None => (None, String::new()),
    };
    let teacher = MappedTeacher::new(backbone, &config, mapping, &origin, device)?;
    let (student, origin) = read_network(dir, "student")?;
    let detector = DistillationDetector::new(
        flavour,
        config,
        teacher,
        (student, &origin),
        model.image_size,
        model.seed,
        device,
    )?;
    Ok(Box::new(detector))
}

impl Detector for DistillationDetector {
    fn image_size(&self) -> ImageSize {
        self.image_size
    }

    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        if let Some(image) = images.iter().find(|image| image.size() != self.image_size) {
            return Err(MethodError::ImageSize { expected: self.image_size, actual: image.size() });
        }
        if images.is_empty() {
            return Ok(Vec::new());
        }
        if !self.device.is_cpu() {
            return self.score_batch(images);
        }
        // One image at a time, so that its bits do not depend on its neighbours; several at once on the cores.
        let single: Result<Vec<_>, _> =
            images.par_iter().map(|image| self.score_batch(std::slice::from_ref(image))).collect();
        Ok(single?.into_iter().flatten().collect())
    }

    fn save(&self, dir: &Path) -> Result<(), MethodError> {
        let model = ModelDir::new(
            self.flavour.name,
            self.teacher.backbone.name(),
            self.seed,
            self.image_size,
            to_table(&self.config),
        );
        let mut networks =
            vec![("teacher", self.teacher.backbone.tensors()), ("student", &self.student_tensors)];
        if let Some((_, tensors)) = &self.teacher.mapping {
            networks.push(("mapping", tensors));
        }
        model.write(dir, &networks)
    }
}
