//! What the distillation methods share: configuration and the training of a student. A method is a choice of student;
//! FMAM whitens what the student learns and trains a feature mapping behind teacher and student.

mod distilled;
pub(crate) mod map_reference;
mod mapping_config;
mod mapping_training;
pub(crate) mod nkd;
pub(crate) mod rkd;

pub use mapping_config::{Adaptation, MappingConfig};

use std::sync::Arc;

use candle_core::Tensor;
use fmam_core::{Needs, Plan, SampleSource, StageId, StagePlan};
use fmam_losses::{cosine_distillation, flattened_cosine_distillation};
use fmam_models::{AnyStudent, FeaturePyramid, LoadedBackbone, Params, backbone_from_tensors};
use serde::{Deserialize, Serialize};

use crate::distillation::distilled::{DistillationDetector, MappedTeacher, ScaledStudent};
use crate::distillation::mapping_training::{FEATURE_MAPPING, MappingTraining, Trained};
use crate::sample_features::spread_features;
use crate::scoring::{DistanceReference, MapCombination, ScoringConfig, check_blur};
use crate::settings::{parse_settings, settings_value};
use crate::teacher_cache::TeacherCache;
use crate::training::{TrainingConfig, indexed_batch, sum_of_scales};
use crate::{Fitted, Method, MethodError, RunContext};

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
pub struct DistillationConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// What the student minimises.
    pub loss: DistillationLoss,
    /// How images are scored.
    pub scoring: ScoringConfig,
    /// The feature mapping of FMAM; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
}

impl DistillationConfig {
    /// With what depends on the number of training images.
    fn resolved(mut self, n_images: usize) -> Self {
        if let Some(mapping) = &mut self.mapping {
            mapping.epochs = Some(mapping.epochs_on(n_images, self.training.epochs));
        }
        self
    }

    /// The trainings in the order in which they run. [`DistillationConfig::resolved`] has given the mapping
    /// its number of epochs; with 0 it is not trained.
    fn stages(&self) -> Vec<StagePlan> {
        let student = self.training.planned(STUDENT);
        let mapping = self.mapping.as_ref().and_then(|mapping| {
            let epochs = mapping.epochs.filter(|&epochs| epochs > 0)?;
            Some((mapping.adaptation, StagePlan { id: FEATURE_MAPPING, epochs: epochs as u64 }))
        });
        match mapping {
            None => vec![student],
            Some((Adaptation::Mapping, mapping)) => vec![student, mapping],
            Some((Adaptation::TargetMapping | Adaptation::LastBlock, mapping)) => vec![mapping, student],
        }
    }

    /// A student always; textures where a mapping is trained, since only its training makes defects.
    fn needs(&self) -> Needs {
        let mut needs = Needs::FEATURES;
        needs.student = true;
        needs.last_block = self.adaptation() == Some(Adaptation::LastBlock);
        needs.textures = self.stages().iter().any(|stage| stage.id == FEATURE_MAPPING);
        needs
    }

    /// What FMAM trains; `None` in the plain method.
    pub(crate) fn adaptation(&self) -> Option<Adaptation> {
        self.mapping.as_ref().map(|mapping| mapping.adaptation)
    }

    /// Whether there is a feature mapping, trained or not.
    pub(crate) fn has_mapping(&self) -> bool {
        matches!(self.adaptation(), Some(Adaptation::Mapping | Adaptation::TargetMapping))
    }

    /// Whether what the student learns may be negative although the backbone's features are not.
    pub(crate) fn has_signed_targets(&self) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| match mapping.adaptation {
            Adaptation::Mapping => mapping.network.whiten,
            Adaptation::TargetMapping => true,
            Adaptation::LastBlock => false,
        })
    }
}

/// What tells one distillation method from another.
pub(crate) struct Flavour {
    pub(crate) name: &'static str,
    pub(crate) defaults: fn() -> DistillationConfig,
    pub(crate) student: fn(&LoadedBackbone, &Params) -> Result<AnyStudent, MethodError>,
}

pub(crate) struct Distillation {
    flavour: &'static Flavour,
    config: DistillationConfig,
}

/// Reads the configuration of `flavour`: its defaults, overlaid with `table`.
pub(crate) fn build(flavour: &'static Flavour, table: toml::Table) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Distillation { flavour, config: configure(flavour, table)? }))
}

/// The checked configuration of `flavour`: its defaults, overlaid with `table`.
pub(crate) fn configure(
    flavour: &'static Flavour,
    table: toml::Table,
) -> Result<DistillationConfig, MethodError> {
    let method = flavour.name;
    let defaults = (flavour.defaults)();
    if defaults.mapping.is_none() && table.contains_key("mapping") {
        return Err(MethodError::ConfigValue {
            method,
            key: "mapping",
            expected: "absent: the plain method has no feature mapping",
            actual: "a table".into(),
        });
    }
    let config = parse_settings(method, &defaults, &[], table)?;
    let bad = |key, expected, actual: String| MethodError::ConfigValue { method, key, expected, actual };
    config.training.check(method)?;
    check_blur(method, "scoring.blur_sigma", config.scoring.blur_sigma)?;
    if config.scoring.reference != DistanceReference::None
        && config.scoring.combination == MapCombination::Product
    {
        let expected = "none where maps are multiplied: in deviations they may be negative";
        return Err(bad("scoring.reference", expected, "position".into()));
    }
    if let Some(mapping) = &config.mapping {
        mapping.check(method)?;
    }
    Ok(config)
}

/// The training of the student.
const STUDENT: StageId = StageId::new("student");

/// Training images from which the range of the teacher's features is measured.
const MEASURED_IMAGES: usize = 32;

impl Method for Distillation {
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError> {
        let config = self.config.clone().resolved(n_images);
        let settings = settings_value(self.flavour.name, &config)?;
        Ok(Plan { settings, stages: config.stages(), needs: config.needs() })
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        if train.is_empty() {
            return Err(MethodError::NoTrainingImages);
        }
        let config = self.config.clone().resolved(train.len());
        let training = config.mapping.as_ref().map(|settings| {
            let epochs = settings.epochs_on(train.len(), config.training.epochs);
            MappingTraining { config: settings, epochs, train, run }
        });
        let mut curve = Vec::new();
        let (mut backbone, mut mapping) = (run.backbone.clone(), None);
        if let Some(training) = &training {
            match training.config.adaptation {
                Adaptation::Mapping => mapping = Some(training.whitening()?),
                Adaptation::TargetMapping => {
                    let (tensors, points) = training.fit_target()?;
                    (mapping, curve) = (Some(tensors), points);
                }
                Adaptation::LastBlock => {
                    let (tensors, points) = training.fit_last_block()?;
                    let origin = "the adapted backbone";
                    let adapted = backbone_from_tensors(backbone.name(), tensors, origin, &run.device)?;
                    backbone = Arc::new(adapted.with_precision(backbone.precision()));
                    curve = points;
                }
            }
        }
        let (mapping_origin, student_origin) = ("the fitted mapping", "the fitted student");
        let mut teacher =
            MappedTeacher::new(Arc::clone(&backbone), &config, mapping, mapping_origin, &run.device)?;
        let (student, points) = self.train_student(&config, &teacher, train, run)?;
        curve.extend(points);
        if let (Some(training), Some(whitening)) = (&training, teacher.shared_mapping()) {
            let student = student.clone();
            let frozen = ScaledStudent::frozen(
                self.flavour,
                &config,
                &backbone,
                student,
                student_origin,
                &run.device,
            )?;
            let (tensors, points) = training
                .fit_behind_student(whitening, |images, features| frozen.forward(images, features))?;
            curve.extend(points);
            teacher = MappedTeacher::new(backbone, &config, Some(tensors), mapping_origin, &run.device)?;
        }
        let (size, seed) = (run.image_size, run.seed);
        let student = (student, student_origin);
        let mut detector =
            DistillationDetector::new(self.flavour, config, teacher, student, size, seed, &run.device)?;
        detector.measure_reference(train, run)?;
        Ok(Fitted { detector: Box::new(detector), curve })
    }
}

impl Distillation {
    /// Trains a student to imitate `teacher`.
    fn train_student(
        &self,
        config: &DistillationConfig,
        teacher: &MappedTeacher,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<Trained, MethodError> {
        let params = Params::trainable(run.seed.derive("student"), &run.device);
        let student = ScaledStudent::new(self.flavour, config, &run.backbone, &params)?;
        if let Some(affine) = student.affine() {
            let mut sample = Vec::new();
            spread_features(teacher, train, MEASURED_IMAGES, run, |features| {
                sample.push(features);
                Ok(())
            })?;
            affine.measure(&sample)?;
        }
        let stage = config.training.stage(STUDENT);
        let prepare = |samples| indexed_batch(samples, run);
        let mut targets = TeacherCache::for_run(teacher, train.len(), run);
        let curve = stage.run(params.vars(), train, run, prepare, |(indices, images)| {
            let target = targets.pyramid(&indices, &images)?;
            let output = student.forward(&images, &target)?;
            loss(config.loss, &target, &output)
        })?;
        Ok((params.tensors()?, curve))
    }
}

fn loss(
    kind: DistillationLoss,
    teacher: &FeaturePyramid,
    student: &FeaturePyramid,
) -> Result<Tensor, MethodError> {
    let scales = teacher.scales.iter().zip(&student.scales);
    sum_of_scales(scales.map(|(t, s)| {
        Ok(match kind {
            DistillationLoss::PerPosition => cosine_distillation(t, s)?,
            DistillationLoss::Flattened => flattened_cosine_distillation(t, s)?,
        })
    }))
}
