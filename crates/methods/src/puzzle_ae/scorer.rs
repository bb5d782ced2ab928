use candle_core::{Device, Tensor};
use fmam_core::{AnomalyMap, ImageSize, RgbImage};
use fmam_models::{ModelError, UNet, to_batch};
use fmam_ops::traced;

use super::config::{NAME, PuzzleAeConfig};
use super::puzzle::{PIECES, UNIT, check_sides, exchanged, restoration_error, trace_exchanged};
use crate::batch_inside::extended_maps;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::scorer::TracedPrediction;
use crate::scoring::blurred;
use crate::{MethodError, Place, Prediction, SavedModel, Scorer};

/// The file of the network, without its ending.
const NETWORK: &str = "network";

/// The network that restores puzzles.
pub(super) struct RestorationScorer {
    config: PuzzleAeConfig,
    network: UNet,
    tensors: Tensors,
    device: Device,
}

impl RestorationScorer {
    pub(super) fn new(
        config: PuzzleAeConfig,
        saved: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let network = saved.build(device, |params| Ok(UNet::new(config.width, params)?))?;
        Ok(Self { config, network, tensors: saved.tensors, device: device.clone() })
    }

    /// The error of each pixel in the mean over all puzzles, (N, H, W).
    fn error(&self, images: &[RgbImage]) -> Result<Tensor, MethodError> {
        let target = to_batch(images, UNIT, &self.device)?;
        let mut sum: Option<Tensor> = None;
        for order in orders() {
            let puzzles: Vec<RgbImage> = images.iter().map(|image| exchanged(image, order)).collect();
            let puzzles = to_batch(&puzzles, UNIT, &self.device)?;
            let error = restoration_error(&self.network, &puzzles, &target)?.mean(1)?;
            sum = Some(match sum {
                None => error,
                Some(sum) => (sum + error)?,
            });
        }
        Ok((sum.ok_or(ModelError::EmptyBatch)? / PIECES as f64)?.to_device(&Device::Cpu)?)
    }

    /// The verdict on `image` by its error, (1, H, W).
    fn verdict(&self, image: &RgbImage, place: Place<'_>, error: Tensor) -> Result<Prediction, MethodError> {
        let image_score = match place.inside {
            None => error.mean_all()?.to_scalar::<f32>()?,
            Some(_) => place.mean(&error.flatten_all()?.to_vec1::<f32>()?, image.size()),
        };
        let error = extended_maps(vec![error], &[place])?;
        let map = blurred(&error[0], self.config.blur_sigma, image.size())?;
        let anomaly_map = AnomalyMap::new(image.size(), map.flatten_all()?.to_vec1()?)?;
        Ok(Prediction { image_score, anomaly_map })
    }
}

impl Scorer for RestorationScorer {
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let errors = self.error(images)?;
        let images = images.iter().zip(places).enumerate();
        images.map(|(n, (image, place))| self.verdict(image, *place, errors.narrow(0, n, 1)?)).collect()
    }

    fn trace(&self, pixels: &Tensor) -> Result<Option<TracedPrediction>, MethodError> {
        let (_, _, height, width) = pixels.dims4()?;
        let target = UNIT.normalized(pixels)?;
        let mut sum: Option<Tensor> = None;
        for order in orders() {
            let puzzles = trace_exchanged(&target, order)?;
            let error = traced::mean(&restoration_error(&self.network, &puzzles, &target)?, &[1])?;
            sum = Some(match sum {
                None => error,
                Some(sum) => traced::add(&sum, &error)?,
            });
        }
        let error = traced::affine(&sum.ok_or(ModelError::EmptyBatch)?, 1.0 / PIECES as f64, 0.0)?;
        let image_score = traced::mean(&error, &[0, 1, 2])?;
        let anomaly_map = blurred(&error, self.config.blur_sigma, ImageSize::new(height, width))?;
        Ok(Some(TracedPrediction { image_score, anomaly_map }))
    }

    fn takes_batches(&self) -> bool {
        !self.device.is_cpu()
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        Ok(vec![(NETWORK, self.tensors.clone())])
    }
}

/// The places that the pieces of each puzzle come from.
fn orders() -> [[usize; PIECES]; PIECES] {
    std::array::from_fn(|shift| std::array::from_fn(|piece| (piece + shift) % PIECES))
}

/// Reads a saved detector.
pub(super) fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = saved.settings(NAME, &PuzzleAeConfig::default())?;
    check_sides(saved.card.image_size)?;
    Ok(Box::new(RestorationScorer::new(config, saved.network(NETWORK)?, saved.device())?))
}
