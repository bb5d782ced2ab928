//! The fit of a distillation method: the teacher is adapted, the student learns it, and the mapping
//! behind both is trained, as far as the settings ask for it.

use std::sync::Arc;

use candle_core::Tensor;
use fmam_core::{CurvePoint, Plan, SampleSource, StageId, Subset};
use fmam_losses::{
    cosine_distillation, cosine_distillation_within, flattened_cosine_distillation,
    flattened_cosine_distillation_within, smooth_l1_difference, squared_difference, weighted_mean,
};
use fmam_models::{FeaturePyramid, Params};
use fmam_synthesis::Synthesizer;

use super::config::{
    BASE_STUDENT, DistanceReference, DistillationConfig, DistillationLoss, Flavour, STUDENT,
};
use super::evidence::Split;
use super::grid_gaussians::GridGaussians;
use super::networks::{MappedTeacher, ScaledStudent};
use super::patch_memory::PatchMemory;
use super::scorer::DistillationScorer;
use crate::batch_inside::BatchInside;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::mapping::{Adaptation, MappingTraining, Trained};
use crate::sample_features::spread_features;
use crate::settings::settings_value;
use crate::teacher_cache::TeacherCache;
use crate::training::{IndexedBatch, sum_of_scales};
use crate::training_image::fixed_size;
use crate::{Detector, Fitted, Method, MethodError, RunContext};

/// Training images from which the range of the teacher's features is measured.
const MEASURED_IMAGES: usize = 32;

/// An unfitted distillation method.
pub(super) struct Distillation {
    pub(super) flavour: &'static Flavour,
    pub(super) config: DistillationConfig,
}

impl Distillation {
    /// The method `flavour` with the settings in `table`.
    pub(super) fn new(flavour: &'static Flavour, table: toml::Table) -> Result<Self, MethodError> {
        Ok(Self { flavour, config: flavour.configure(table)? })
    }
}

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
        let everything = train;
        let split = config.weighed().map(|evidence| evidence.split(train));
        let (learnt, held_out) = match split {
            Some(Split { learnt, held_out }) => (learnt, held_out),
            None => ((0..train.len()).collect(), Vec::new()),
        };
        let train = &Subset::new(train, learnt);
        let memory = config.weighed().filter(|evidence| evidence.patches > 0.0);
        let sampling = |evidence| {
            let sampling = PatchMemory::sampling(evidence, self.flavour.name, run.backbone.as_ref());
            let images = sampling.images(train.len(), run)?;
            Ok::<_, MethodError>((sampling, images))
        };
        // Before anything is trained.
        let sampling = memory.map(sampling).transpose()?;
        let fixed_size = match config.scoring.reference {
            DistanceReference::None => None,
            DistanceReference::Position => fixed_size(train)?,
        };
        let training = config.mapping.as_ref().map(|settings| {
            let epochs = settings.epochs_on(train.len(), config.training.epochs);
            MappingTraining { config: settings, epochs, train, run }
        });
        let (mut teacher, mut curve) = adapted_teacher(&config, training.as_ref(), run)?;
        let student = self.train_student(&config, &teacher, STUDENT, train, run)?;
        curve.extend(student.curve);
        let student = Checkpoint::new(student.tensors, "the fitted student");
        if let (Some(training), Some(whitening)) = (&training, teacher.shared_mapping()) {
            let backbone = Arc::clone(&teacher.backbone);
            let frozen =
                ScaledStudent::frozen(self.flavour, &config, backbone.as_ref(), &student, &run.device)?;
            let trained = training
                .fit_behind_student(whitening, |images, features| frozen.forward(images, features))?;
            curve.extend(trained.curve);
            teacher = MappedTeacher::new(backbone, &config, Some(mapping(trained.tensors)), &run.device)?;
        }
        let mut scorer =
            DistillationScorer::new(self.flavour, config.clone(), teacher, student, &run.device)?;
        scorer.measure_positions(train, fixed_size.is_some(), run)?;
        if let (Some(evidence), Some(mapping)) = (config.weighed(), &config.mapping) {
            if evidence.base {
                let base = config.base();
                let teacher = MappedTeacher::new(Arc::clone(&run.backbone), &base, None, &run.device)?;
                let student = self.train_student(&base, &teacher, BASE_STUDENT, train, run)?;
                curve.extend(student.curve);
                scorer.add_base(self.flavour, Checkpoint::new(student.tensors, "the fitted student"))?;
            }
            if evidence.gaussians && run.preparation.tile_overlap().is_none() {
                scorer.add_gaussians(GridGaussians::fit(train, evidence.shared_images, run)?);
            }
            if let Some((sampling, images)) = &sampling {
                scorer.add_patches(PatchMemory::fit(sampling, (train, images), run)?);
            }
            let synthesizer = Synthesizer::new(mapping.synthesis.clone(), run.textures.clone())?;
            scorer.fit_gate(everything, held_out, &synthesizer, run)?;
        }
        let detector = Detector::fitted(self.flavour.name, &config, run, scorer)?;
        Ok(Fitted { detector: detector.with_fixed_size(fixed_size), curve })
    }
}

/// The teacher that the student will learn, with the loss of its adaptation.
fn adapted_teacher(
    config: &DistillationConfig,
    training: Option<&MappingTraining<'_>>,
    run: &RunContext<'_>,
) -> Result<(MappedTeacher, Vec<CurvePoint>), MethodError> {
    let backbone = Arc::clone(&run.backbone);
    let Some(training) = training else {
        return Ok((MappedTeacher::new(backbone, config, None, &run.device)?, Vec::new()));
    };
    let (backbone, mapping, curve) = match training.config.adaptation {
        Adaptation::Mapping => (backbone, Some(mapping(training.whitening()?)), Vec::new()),
        Adaptation::TargetMapping => {
            let trained = training.fit_target()?;
            (backbone, Some(mapping(trained.tensors)), trained.curve)
        }
        Adaptation::LastBlock => {
            let trained = training.fit_last_block()?;
            let origin = "the adapted backbone";
            (backbone.with_weights(trained.tensors, origin, &run.device)?, None, trained.curve)
        }
    };
    Ok((MappedTeacher::new(backbone, config, mapping, &run.device)?, curve))
}

fn mapping(tensors: Tensors) -> Checkpoint {
    Checkpoint::new(tensors, "the fitted mapping")
}

impl Distillation {
    /// Trains a student to imitate `teacher`.
    fn train_student(
        &self,
        config: &DistillationConfig,
        teacher: &MappedTeacher,
        stage: StageId,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<Trained, MethodError> {
        let params = Params::trainable(run.seed.derive("student"), &run.device);
        let student = ScaledStudent::new(self.flavour, config, run.backbone.as_ref(), &params)?;
        if let Some(affine) = student.affine() {
            let mut sample = Vec::new();
            spread_features(teacher, train, MEASURED_IMAGES, run, |features| {
                sample.push(features);
                Ok(())
            })?;
            affine.measure(&sample)?;
        }
        let stage = config.training.stage(stage);
        let prepare = |samples| IndexedBatch::new(samples, run);
        let mut targets = TeacherCache::for_run(teacher, train.len(), run);
        let curve = stage.run(&params, train, run, prepare, |batch| {
            let IndexedBatch { indices, images, inside } = batch;
            let target = targets.pyramid(&indices, &images)?;
            let output = student.forward(&images, &target)?;
            loss(config.loss, &target, &output, inside.as_ref())
        })?;
        Ok(Trained { tensors: params.tensors()?, curve })
    }
}

/// The loss over the positions `inside`, or over all.
fn loss(
    kind: DistillationLoss,
    teacher: &FeaturePyramid,
    student: &FeaturePyramid,
    inside: Option<&BatchInside>,
) -> Result<Tensor, MethodError> {
    let scales = teacher.scales.iter().zip(&student.scales);
    sum_of_scales(scales.map(|(t, s)| {
        if let Some(inside) = inside {
            let weights = inside.weights(t)?;
            return Ok(match kind {
                DistillationLoss::PerPosition => cosine_distillation_within(t, s, &weights)?,
                DistillationLoss::Flattened => flattened_cosine_distillation_within(t, s, &weights)?,
                DistillationLoss::Squared => weighted_mean(&squared_difference(t, s)?, &weights)?,
                DistillationLoss::SmoothL1 => weighted_mean(&smooth_l1_difference(t, s)?, &weights)?,
            });
        }
        Ok(match kind {
            DistillationLoss::PerPosition => cosine_distillation(t, s)?,
            DistillationLoss::Flattened => flattened_cosine_distillation(t, s)?,
            DistillationLoss::Squared => squared_difference(t, s)?.mean_all()?,
            DistillationLoss::SmoothL1 => smooth_l1_difference(t, s)?.mean_all()?,
        })
    }))
}
