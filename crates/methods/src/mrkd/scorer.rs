use std::sync::Arc;

use candle_core::{Device, Var};
use fmam_core::{AnomalyMap, RgbImage};
use fmam_models::{Backbone, Student, to_batch};

use super::config::{MrkdConfig, NAME};
use super::loss::loss;
use super::standardizer::Standardizer;
use crate::batch_inside::{BatchInside, extended_maps};
use crate::checkpoint::{Checkpoint, Tensors};
use crate::scoring::{blurred, opened};
use crate::{AdaptedFeatures, MethodError, Place, Prediction, SavedModel, Scorer};

/// The file of cloner and standardizer, without its ending.
const CLONER: &str = "cloner";

/// Teacher and cloner, both open to gradients.
pub(super) struct ClonerScorer {
    config: MrkdConfig,
    backbone: Arc<dyn Backbone>,
    teacher: Box<dyn Student>,
    cloner: Box<dyn Student>,
    standardizer: Standardizer,
    tensors: Tensors,
    device: Device,
}

impl ClonerScorer {
    pub(super) fn new(
        config: MrkdConfig,
        backbone: Arc<dyn Backbone>,
        mut saved: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let (tensors, device) = (saved.tensors.clone(), device.clone());
        let standardizer = Standardizer::take_from(&mut saved, backbone.channels(), &device)?;
        let cloner =
            saved.build(&device, |params| Ok(backbone.cloner(&params.clone().passing_gradients())?))?;
        let teacher = backbone.passing_gradients(&device)?;
        Ok(Self { config, backbone, teacher, cloner, standardizer, tensors, device })
    }

    fn score_image(&self, image: &RgbImage, place: Place<'_>) -> Result<Prediction, MethodError> {
        let (images, size) = (std::slice::from_ref(image), image.size());
        let image = Var::from_tensor(&to_batch(images, self.backbone.preprocess(), &self.device)?)?;
        let weight = self.config.direction_weight.unwrap_or(1.0);
        let target = self.standardizer.apply(&self.teacher.forward(&image)?)?;
        let inside = BatchInside::new(vec![place.inside.cloned()]);
        let loss = loss(&target, &self.cloner.forward(&image)?, weight, inside.as_ref())?;
        let gradients = loss.backward()?;
        let gradient = match gradients.get(&image) {
            Some(gradient) => gradient.abs()?.sum(1)?,
            None => image.zeros_like()?.sum(1)?,
        };
        let gradient = extended_maps(vec![gradient.to_device(&Device::Cpu)?], &[place])?;
        let map = blurred(&gradient[0], self.config.blur_sigma, size)?;
        let map = opened(&map.flatten_all()?.to_vec1()?, size, self.config.opening);
        let anomaly_map = AnomalyMap::new(size, map)?;
        Ok(Prediction { image_score: loss.to_scalar::<f32>()?, anomaly_map })
    }
}

impl Scorer for ClonerScorer {
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        images.iter().zip(places).map(|(image, place)| self.score_image(image, *place)).collect()
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let batch = to_batch(images, self.backbone.preprocess(), &self.device)?;
        let teacher = self.backbone.features(&batch)?;
        let expected = self.standardizer.invert(&self.cloner.forward(&batch)?)?;
        Ok(Some(AdaptedFeatures { teacher, adapted: None, expected: Some(expected) }))
    }

    fn backbone(&self) -> Option<&dyn Backbone> {
        Some(self.backbone.as_ref())
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        Ok(vec![(CLONER, self.tensors.clone())])
    }
}

/// Reads a saved detector.
pub(super) fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = saved.settings(NAME, &MrkdConfig::default())?;
    Ok(Box::new(ClonerScorer::new(config, saved.backbone()?, saved.network(CLONER)?, saved.device())?))
}
