use candle_core::Device;
use fmam_core::ImageSize;
use fmam_losses::pseudo_huber;
use fmam_models::{AnomalyHead, Backbone, FeaturePyramid};

use super::config::{FcddConfig, NAME};
use crate::checkpoint::{Checkpoint, Tensors};
use crate::feature_scorer::{FeatureExtractor, FeatureScorer, NORMAL, NormalFeatures};
use crate::scoring::receptive_map;
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
}

impl NormalFeatures for Outputs {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let norms = pseudo_huber(&self.head.forward(&features.scales[self.config.scale])?)?;
        let (_, height, width) = norms.dims3()?;
        let norms: Vec<f32> = norms.flatten_all()?.to_vec1()?;
        // The anomaly score of the original: the norm of the outputs, here over their number.
        let grid = ImageSize::new(height, width);
        let image_score = place.mean(&norms, grid);
        let anomaly_map =
            receptive_map(place.extended(norms, grid), grid, size, self.config.receptive_sigma)?;
        Ok(Prediction { image_score, anomaly_map })
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
