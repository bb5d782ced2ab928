//! What distillation leaves: the teacher and the student, and the detector that compares them.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, RgbImage, SampleSource, Seed, StageId};
use fmam_models::{
    AnyStudent, Backbone, FeatureMapping, FeaturePyramid, LoadedBackbone, OutputAffine, Params, to_batch,
};
use rayon::prelude::*;

use crate::distillation::map_reference::{MapMoments, MapReference};
use crate::distillation::mapping_config::Adaptation;
use crate::distillation::{DistillationConfig, Flavour, configure};
use crate::model_dir::{ModelDir, TEACHER, Tensors, read_network};
use crate::sample_features::{FeatureSource, spread_images};
use crate::scoring::{DistanceReference, check_size, distances, score_each};
use crate::settings::settings_table;
use crate::{AdaptedFeatures, Detector, MethodError, Prediction, RunContext};

/// A student with what brings its outputs to the teacher's range.
pub(crate) struct ScaledStudent {
    student: AnyStudent,
    /// For signed features only, as whitened ones are: those behind a ReLU have no constant to learn against noise.
    affine: Option<OutputAffine>,
}

impl ScaledStudent {
    pub(crate) fn new(
        flavour: &Flavour,
        config: &DistillationConfig,
        backbone: &LoadedBackbone,
        params: &Params,
    ) -> Result<Self, MethodError> {
        let student = (flavour.student)(backbone, params)?;
        let (channels, output) = (backbone.channels(), params.pp("output"));
        let affine = match (backbone.has_signed_features(), config.has_signed_targets()) {
            (true, _) => Some(OutputAffine::new(channels, &output)?),
            (false, true) => Some(OutputAffine::projected(channels, &output)?),
            (false, false) => None,
        };
        Ok(Self { student, affine })
    }

    /// With given tensors, which are all that it needs.
    pub(crate) fn frozen(
        flavour: &Flavour,
        config: &DistillationConfig,
        backbone: &LoadedBackbone,
        tensors: Tensors,
        origin: &str,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let params = Params::frozen(tensors, origin, device);
        let student = Self::new(flavour, config, backbone, &params)?;
        params.finish(|_| false)?;
        Ok(student)
    }

    /// The fixed range of the outputs, to be measured before training.
    pub(crate) fn affine(&self) -> Option<&OutputAffine> {
        self.affine.as_ref()
    }

    pub(crate) fn forward(
        &self,
        images: &Tensor,
        teacher: &FeaturePyramid,
    ) -> Result<FeaturePyramid, MethodError> {
        let output = self.student.forward(images, teacher)?;
        Ok(match &self.affine {
            None => output,
            Some(affine) => affine.forward(&output)?,
        })
    }
}

/// The teacher as the student sees it: the frozen backbone, with what FMAM puts behind it.
pub(crate) struct MappedTeacher {
    backbone: Arc<LoadedBackbone>,
    mapping: Option<(FeatureMapping, Tensors)>,
    /// Whether the student learns whitened features, and the trained part of the mapping stands behind it too.
    is_shared: bool,
}

impl MappedTeacher {
    pub(crate) fn new(
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
        let is_shared = config.adaptation() == Some(Adaptation::Mapping);
        Ok(Self { backbone, mapping, is_shared })
    }

    /// The mapping that stands behind the student too.
    pub(crate) fn shared_mapping(&self) -> Option<&FeatureMapping> {
        self.mapping.as_ref().filter(|_| self.is_shared).map(|(mapping, _)| mapping)
    }

    /// What the student learns, from the backbone's features.
    fn target(&self, features: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        Ok(match (&self.mapping, self.shared_mapping()) {
            (None, _) => features.clone(),
            (_, Some(shared)) => shared.whiten(features)?,
            (Some((mapping, _)), None) => mapping.forward(features)?,
        })
    }

    /// Brings features, which the student learns or gives, to where the two are compared.
    fn to_compare(&self, features: FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        match self.shared_mapping() {
            Some(mapping) => Ok(mapping.adapt(&features)?),
            None => Ok(features),
        }
    }
}

impl FeatureSource for MappedTeacher {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
        self.target(&self.backbone.features(images)?)
    }
}

pub(crate) struct DistillationDetector {
    flavour: &'static Flavour,
    config: DistillationConfig,
    teacher: MappedTeacher,
    student: ScaledStudent,
    student_tensors: Tensors,
    reference: Option<MapReference>,
    image_size: ImageSize,
    seed: Seed,
    device: Device,
}

impl DistillationDetector {
    pub(crate) fn new(
        flavour: &'static Flavour,
        config: DistillationConfig,
        teacher: MappedTeacher,
        (student_tensors, origin): (Tensors, &str),
        image_size: ImageSize,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let tensors = student_tensors.clone();
        let student = ScaledStudent::frozen(flavour, &config, &teacher.backbone, tensors, origin, device)?;
        let device = device.clone();
        let reference = None;
        Ok(Self { flavour, config, teacher, student, student_tensors, reference, image_size, seed, device })
    }

    fn distances(&self, images: &[RgbImage]) -> Result<Vec<Tensor>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let target = self.teacher.pyramid(&batch)?;
        let output = self.student.forward(&batch, &target)?;
        distances(&self.teacher.to_compare(target)?, &self.teacher.to_compare(output)?)
    }

    fn score_batch(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        self.config.scoring.predict(self.distances(images)?, self.reference.as_ref(), self.image_size)
    }

    /// Measures the distance maps of training images, where the configuration asks for it.
    pub(crate) fn measure_reference(
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
        self.reference = Some(moments.reference(&self.device)?);
        Ok(())
    }
}

/// Training images whose distance maps are measured, at most.
const REFERENCE_IMAGES: usize = 512;

/// Reads what [`Detector::save`] of a distillation detector wrote.
pub(crate) fn load(
    flavour: &'static Flavour,
    dir: &Path,
    device: &Device,
) -> Result<Box<dyn Detector>, MethodError> {
    let model = ModelDir::read(dir)?;
    let backbone = model.read_backbone(dir, device)?;
    let config = configure(flavour, model.config)?;
    let (mapping, origin) = if config.has_mapping() {
        read_network(dir, "mapping").map(|(tensors, origin)| (Some(tensors), origin))?
    } else {
        (None, String::new())
    };
    let teacher = MappedTeacher::new(backbone, &config, mapping, &origin, device)?;
    let (student, origin) = read_network(dir, "student")?;
    let mut detector = DistillationDetector::new(
        flavour,
        config,
        teacher,
        (student, &origin),
        model.image_size,
        model.seed,
        device,
    )?;
    if detector.config.scoring.reference != DistanceReference::None {
        let (tensors, origin) = read_network(dir, "reference")?;
        let n_scales = detector.teacher.backbone.channels().len();
        detector.reference = Some(MapReference::from_tensors(&tensors, n_scales, &origin, device)?);
    }
    Ok(Box::new(detector))
}

impl Detector for DistillationDetector {
    fn image_size(&self) -> ImageSize {
        self.image_size
    }

    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        check_size(images, self.image_size)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        if !self.device.is_cpu() {
            return self.score_batch(images);
        }
        score_each(images, |image| self.score_batch(image))
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        check_size(images, self.image_size)?;
        if images.is_empty() {
            return Ok(None);
        }
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let teacher = self.teacher.backbone.features(&batch)?;
        let target = self.teacher.target(&teacher)?;
        let expected = self.teacher.to_compare(self.student.forward(&batch, &target)?)?;
        let adapted = self.teacher.mapping.is_some().then(|| self.teacher.to_compare(target)).transpose()?;
        Ok(Some(AdaptedFeatures { teacher, adapted, expected: Some(expected) }))
    }

    fn save(&self, dir: &Path) -> Result<(), MethodError> {
        let backbone = &self.teacher.backbone;
        let config = settings_table(&self.config);
        let model = ModelDir::on_backbone(self.flavour.name, backbone, self.seed, self.image_size, config);
        let mut networks = vec![(TEACHER, backbone.tensors()), ("student", &self.student_tensors)];
        if let Some((_, tensors)) = &self.teacher.mapping {
            networks.push(("mapping", tensors));
        }
        let reference = self.reference.as_ref().map(MapReference::tensors);
        if let Some(tensors) = &reference {
            networks.push(("reference", tensors));
        }
        model.write(dir, &networks)
    }
}
