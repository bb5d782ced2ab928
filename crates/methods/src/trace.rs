//! A detector as a graph of operators, for programs that run it without this crate.

use candle_core::{DType, Device, Tensor};
use fmam_core::{AnomalyMap, ImageSize, RgbImage, Seed};
use fmam_ops::{Graph, Trace, ValueId};
use rand::Rng;

use crate::scorer::TracedPrediction;
use crate::{Detector, MethodError, Prediction, Untraceable};

/// A traced detector: what it does to the pixels of an image of its size.
#[derive(Debug)]
pub struct TracedDetector {
    /// The operators. The input is `[1, 3, H, W]`, f32, red first: values from 0 to 255.
    pub graph: Graph,
    /// The image score, one element.
    pub image_score: ValueId,
    /// The score of each pixel, `[1, H, W]`.
    pub anomaly_map: ValueId,
}

/// The largest difference of what a trace computes from the verdict of the detector, on an image of
/// noise: of its score over the larger of score and range of the map, of its map over the range.
const LARGEST_DIFFERENCE: f32 = 1e-3;

impl Detector {
    /// This detector, whose networks are on `device`, as a graph of operators.
    ///
    /// The detector is traced on two images of noise. Both must give the same graph: where they do
    /// not, a value came from operators that are not written down. Score and map that were computed
    /// while tracing must be those of [`Detector::score`].
    ///
    /// # Errors
    /// [`MethodError::Untraceable`] for a detector that is no graph, [`MethodError::TraceDiffers`]
    /// for a method whose trace computes something else than its score; the errors of the networks.
    pub fn trace(&self, device: &Device) -> Result<TracedDetector, MethodError> {
        self.check_traceable()?;
        let (traced, found) = self.traced_on(&noise(self.image_size(), 0), device)?;
        let (other, _) = self.traced_on(&noise(self.image_size(), 1), device)?;
        if !traced.graph.is_same(&other.graph)? {
            return Err(self.untraceable(Untraceable::Operators));
        }
        let own = self.score(&[noise(self.image_size(), 0)])?;
        let own = own.into_iter().next().ok_or(MethodError::UndefinedScore { index: 0 })?;
        let range = own.anomaly_map.max() - own.anomaly_map.min();
        let pixels = found.anomaly_map.data().iter().zip(own.anomaly_map.data());
        let scores = (&found.image_score, &own.image_score);
        let mut pairs = pixels.map(|pair| (pair, range)).chain([(scores, range.max(own.image_score.abs()))]);
        let is_close = |((graph, detector), scale): &((&f32, &f32), f32)| {
            (*graph - *detector).abs() <= LARGEST_DIFFERENCE * scale.max(f32::MIN_POSITIVE)
        };
        match pairs.find(|pair| !is_close(pair)) {
            None => Ok(traced),
            Some(((&graph, &detector), _)) => Err(MethodError::TraceDiffers { graph, detector }),
        }
    }

    fn check_traceable(&self) -> Result<(), MethodError> {
        let (card, preparation) = (self.card(), self.card().preparation());
        let reason = if preparation.tile_overlap().is_some() {
            Untraceable::Tiles
        } else if !preparation.placing.is_squeeze() {
            Untraceable::Padding
        } else if !preparation.region.is_whole() {
            Untraceable::Region
        } else if !card.precision.is_f32() {
            Untraceable::Precision
        } else {
            return Ok(());
        };
        Err(self.untraceable(reason))
    }

    /// The trace of the verdict on `image`, and the verdict that it computed.
    fn traced_on(
        &self,
        image: &RgbImage,
        device: &Device,
    ) -> Result<(TracedDetector, Prediction), MethodError> {
        let trace = Trace::new();
        let ImageSize { height, width } = image.size();
        let values = Tensor::from_slice(image.data(), (1, height, width, 3), &Device::Cpu)?;
        let pixels = values.to_dtype(DType::F32)?.permute((0, 3, 1, 2))?.contiguous()?;
        let pixels = trace.input(&pixels.to_device(device)?)?;
        let found = self.scorer().trace(&pixels)?;
        let found = found.ok_or_else(|| self.untraceable(Untraceable::Method))?;
        let TracedPrediction { image_score, anomaly_map } = found;
        let value =
            |tensor: &Tensor| trace.value(tensor).map_err(|_| self.untraceable(Untraceable::Operators));
        let (score_value, map_value) = (value(&image_score)?, value(&anomaly_map)?);
        let graph = trace.graph();
        let score = image_score.flatten_all()?.to_vec1::<f32>()?.first().copied().unwrap_or(f32::NAN);
        let anomaly_map = AnomalyMap::new(image.size(), anomaly_map.flatten_all()?.to_vec1()?)?;
        let found = Prediction { image_score: score, anomaly_map };
        Ok((TracedDetector { graph, image_score: score_value, anomaly_map: map_value }, found))
    }

    fn untraceable(&self, reason: Untraceable) -> MethodError {
        MethodError::Untraceable { method: self.card().method.to_string(), reason }
    }
}

/// An image of `size` of random pixels.
fn noise(size: ImageSize, number: u64) -> RgbImage {
    let mut rng = Seed::new(number).derive("trace").rng();
    RgbImage::from_fn(size, |_, _| rng.random())
}
