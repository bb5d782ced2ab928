use candle_core::{Device, Tensor};
use fmam_core::ImageSize;
use fmam_losses::pseudo_huber;
use fmam_models::{AnomalyHead, Backbone, FeaturePyramid};
use fmam_ops::traced;

use super::config::{FcddConfig, NAME};
use crate::checkpoint::{Checkpoint, Tensors};
use crate::feature_scorer::{FeatureExtractor, FeatureScorer, NORMAL, NormalFeatures};
use crate::scorer::TracedPrediction;
use crate::scoring::{receptive_map, spread_map};
use crate::{MethodError, Place, Prediction, SavedModel, Scorer};

/// The trained network, whose outputs are the verdict.
pub(super) struct Outputs {
    config: FcddConfig,
    head: AnomalyHead,
    tensors: Tensors,
}

impl Outputs {
    pub(super) fn new(
        config: FcddConfig,
        backbone: &dyn Backbone,
        network: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let head = network.build(device, |params| config.head(backbone, params))?;
        Ok(Self { config, head, tensors: network.tensors })
    }

    /// The norms of the outputs, `[N, rows, columns]`.
    fn norms(&self, features: &FeaturePyramid) -> Result<Tensor, MethodError> {
        Ok(pseudo_huber(&self.head.forward(&features.scales[self.config.scale])?)?)
    }
}

impl NormalFeatures for Outputs {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let norms = self.norms(features)?;
        let (_, height, width) = norms.dims3()?;
        let norms: Vec<f32> = norms.flatten_all()?.to_vec1()?;
        // The anomaly score of the original: the norm of the outputs, here over their number.
        let grid = ImageSize::new(height, width);
        let image_score = place.mean(&norms, grid);
        let anomaly_map =
            receptive_map(place.extended(norms, grid), grid, size, self.config.receptive_sigma)?;
        Ok(Prediction { image_score, anomaly_map })
    }

    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let norms = self.norms(features)?;
        let (_, height, width) = norms.dims3()?;
        let image_score = traced::mean(&norms, &[0, 1, 2])?;
        let norms = traced::reshape(&norms, &[height, width])?;
        let map = spread_map(&norms, size, self.config.receptive_sigma)?;
        let anomaly_map = traced::reshape(&map, &[1, size.height, size.width])?;
        Ok(Some(TracedPrediction { image_score, anomaly_map }))
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        Ok(self.tensors.clone())
    }
}

/// Reads a saved detector.
pub(super) fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = saved.settings(NAME, &FcddConfig::default())?;
    let extractor = FeatureExtractor::of_saved(saved)?;
    let normal = Outputs::new(config, extractor.backbone.as_ref(), saved.network(NORMAL)?, saved.device())?;
    Ok(Box::new(FeatureScorer { extractor, normal }))
}
