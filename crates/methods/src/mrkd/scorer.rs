use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use fmam_core::{AnomalyMap, RgbImage};
use fmam_models::{Backbone, FeaturePyramid, Student, to_batch};
use fmam_ops::gradients;
use rayon::prelude::*;

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

    /// The loss of each image, and the gradient of their sum: that of an image's own loss.
    fn losses(&self, images: &Var, places: &[Place<'_>]) -> Result<(Vec<f32>, Option<Tensor>), MethodError> {
        let weight = self.config.direction_weight.unwrap_or(1.0);
        let mut losses = Vec::with_capacity(places.len());
        let (_, found) = gradients(|| {
            let target = self.standardizer.apply(&self.teacher.forward(images)?)?;
            let output = self.cloner.forward(images)?;
            for (n, place) in places.iter().enumerate() {
                let inside = BatchInside::new(vec![place.inside.cloned()]);
                let of_image = [&target, &output].map(|features| {
                    let scales = features.scales.iter().map(|scale| scale.narrow(0, n, 1));
                    Ok::<_, MethodError>(FeaturePyramid { scales: scales.collect::<Result<_, _>>()? })
                });
                let [target, output] = of_image;
                losses.push(loss(&target?, &output?, weight, inside.as_ref())?);
            }
            match &losses[..] {
                [only] => Ok::<_, MethodError>(only.clone()),
                several => Ok(Tensor::stack(several, 0)?.sum_all()?),
            }
        })?;
        let values = losses.iter().map(|loss| Ok(loss.to_scalar::<f32>()?));
        Ok((values.collect::<Result<_, MethodError>>()?, found.get(images).cloned()))
    }
}

impl Scorer for ClonerScorer {
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        let Some(size) = images.first().map(RgbImage::size) else { return Ok(Vec::new()) };
        let images = Var::from_tensor(&to_batch(images, self.backbone.preprocess(), &self.device)?)?;
        let (losses, gradient) = self.losses(&images, places)?;
        let gradient = match gradient {
            Some(gradient) => gradient.abs()?.sum(1)?,
            None => images.zeros_like()?.sum(1)?,
        };
        let gradient = extended_maps(vec![gradient.to_device(&Device::Cpu)?], places)?;
        let maps = blurred(&gradient[0], self.config.blur_sigma, size)?.flatten_from(1)?.to_vec2()?;
        let verdict = |(map, image_score): (Vec<f32>, f32)| {
            let anomaly_map = AnomalyMap::new(size, opened(&map, size, self.config.opening))?;
            Ok(Prediction { image_score, anomaly_map })
        };
        maps.into_par_iter().zip(losses).map(verdict).collect()
    }

    fn takes_batches(&self) -> bool {
        !self.device.is_cpu()
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
