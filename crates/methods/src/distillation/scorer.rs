//! The scorer of a distillation method: teacher and student, compared position by position.

use candle_core::{Device, Tensor};
use fmam_core::{RgbImage, SampleSource, StageId};
use fmam_models::{Backbone, to_batch};
use rayon::prelude::*;

use super::config::{DistanceReference, DistillationConfig, Flavour};
use super::networks::{MappedTeacher, ScaledStudent};
use super::position_scale::{MapMoments, PositionScale};
use crate::checkpoint::{Checkpoint, Tensors};
use crate::sample_features::{FeatureSource, spread_images};
use crate::scoring::predictions;
use crate::{AdaptedFeatures, MethodError, Prediction, RunContext, SavedModel, Scorer};

/// The files of the networks, without their ending.
const STUDENT: &str = "student";
const MAPPING: &str = "mapping";
const REFERENCE: &str = "reference";

/// Training images whose distance maps are measured, at most.
const REFERENCE_IMAGES: usize = 512;

pub(super) struct DistillationScorer {
    config: DistillationConfig,
    teacher: MappedTeacher,
    student: ScaledStudent,
    student_tensors: Tensors,
    /// The scale of distances at each position, where the settings ask for it.
    positions: Option<PositionScale>,
    device: Device,
}

impl DistillationScorer {
    pub(super) fn new(
        flavour: &Flavour,
        config: DistillationConfig,
        teacher: MappedTeacher,
        student: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let frozen = ScaledStudent::frozen(flavour, &config, teacher.backbone.as_ref(), &student, device)?;
        Ok(Self {
            config,
            teacher,
            student: frozen,
            student_tensors: student.tensors,
            positions: None,
            device: device.clone(),
        })
    }

    /// The distance maps of `images`, (N, H, W) a scale.
    fn distances(&self, images: &[RgbImage]) -> Result<Vec<Tensor>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let target = self.teacher.pyramid(&batch)?;
        let output = self.student.forward(&batch, &target)?;
        self.config.distance().maps(&self.teacher.to_compare(target)?, &self.teacher.to_compare(output)?)
    }

    /// Measures the distance maps of training images, where the settings ask for it.
    pub(super) fn measure_positions(
        &mut self,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<(), MethodError> {
        if self.config.scoring.reference == DistanceReference::None {
            return Ok(());
        }
        let (mut moments, mut n_measured) = (MapMoments::default(), 0);
        run.progress.start(&StageId::new("measuring maps"), train.len().min(REFERENCE_IMAGES) as u64);
        spread_images(train, REFERENCE_IMAGES, run, |images| {
            // As in scoring: one image at a time, several at once on the cores.
            let maps: Vec<_> =
                images.par_iter().map(|image| self.distances(std::slice::from_ref(image))).collect();
            maps.into_iter().try_for_each(|maps| moments.add(&maps?))?;
            n_measured += images.len() as u64;
            run.progress.update(n_measured, "");
            Ok(())
        })?;
        run.progress.finish();
        self.positions = Some(moments.scale(&self.device)?);
        Ok(())
    }
}

impl Scorer for DistillationScorer {
    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        let Some(size) = images.first().map(RgbImage::size) else { return Ok(Vec::new()) };
        let mut maps = self.distances(images)?;
        if let Some(positions) = &self.positions {
            maps =
                maps.iter().enumerate().map(|(k, map)| positions.apply(k, map)).collect::<Result<_, _>>()?;
        }
        let scoring = &self.config.scoring;
        predictions(maps, scoring.combination, scoring.blur_sigma, size)
    }

    fn takes_batches(&self) -> bool {
        !self.device.is_cpu()
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let teacher = self.teacher.backbone.features(&batch)?;
        let target = self.teacher.target(&teacher)?;
        let expected = self.teacher.to_compare(self.student.forward(&batch, &target)?)?;
        let has_mapping = self.teacher.mapping_tensors().is_some();
        let adapted = has_mapping.then(|| self.teacher.to_compare(target)).transpose()?;
        Ok(Some(AdaptedFeatures { teacher, adapted, expected: Some(expected) }))
    }

    fn backbone(&self) -> Option<&dyn Backbone> {
        Some(self.teacher.backbone.as_ref())
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        let mapping = self.teacher.mapping_tensors().map(|tensors| (MAPPING, tensors.clone()));
        let reference = self.positions.as_ref().map(|positions| (REFERENCE, positions.tensors()));
        let student = (STUDENT, self.student_tensors.clone());
        Ok([Some(student), mapping, reference].into_iter().flatten().collect())
    }
}

/// Reads a saved detector of `flavour`.
pub(super) fn load(flavour: &Flavour, saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let (backbone, device) = (saved.backbone()?, saved.device());
    let config = flavour.configure(saved.card.settings.clone())?;
    let mapping = config.has_mapping().then(|| saved.network(MAPPING)).transpose()?;
    let n_scales = backbone.channels().len();
    let positions = match config.scoring.reference {
        DistanceReference::None => None,
        DistanceReference::Position => {
            Some(PositionScale::read(&saved.network(REFERENCE)?, n_scales, device)?)
        }
    };
    let teacher = MappedTeacher::new(backbone, &config, mapping, device)?;
    let scorer = DistillationScorer::new(flavour, config, teacher, saved.network(STUDENT)?, device)?;
    Ok(Box::new(DistillationScorer { positions, ..scorer }))
}
