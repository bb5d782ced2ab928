//! A detector as a graph of operators, for programs that run it without this crate.

use candle_core::{DType, Device, Tensor};
use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_ops::{Graph, Trace, ValueId};
use rand::Rng;

use crate::scorer::TracedPrediction;
use crate::{Detector, MethodError};

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

/// The property that keeps a detector from being a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untraceable {
    /// The method computes its score otherwise than by operators, as by gradients.
    Method,
    /// Images are cut into tiles.
    Tiles,
    /// Images are padded.
    Padding,
    /// A part of the image does not count.
    Region,
    /// The networks compute in half precision.
    Precision,
    /// A network runs operators that write nothing down.
    Operators,
}

impl std::fmt::Display for Untraceable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Method => {
                "its method computes the score otherwise than by operators (mrkd: by gradients); use another method"
            }
            Self::Tiles => "it cuts images into tiles; fit one that sees tiles as whole images, and cut them yourself",
            Self::Padding => "it pads images to keep their aspect; fit one without that",
            Self::Region => "it has a region of interest; fit one without, on images that are cut to the region",
            Self::Precision => "its networks compute in bf16; fit one in f32",
            Self::Operators => {
                "its backbone runs operators that are not written down (dinov2-small is candle's own network); use \
                 another backbone"
            }
        })
    }
}

/// The largest relative difference of the score of a graph from that of its detector, on an image of
/// noise: far above rounding, far below that of any operator written down wrongly.
const LARGEST_DIFFERENCE: f32 = 1e-3;

impl Detector {
    /// This detector, whose networks are on `device`, as a graph of operators.
    ///
    /// The detector is traced on two images of noise. Both must give the same graph: where they do
    /// not, a value came from operators that are not written down. The score of the graph must be
    /// that of [`Detector::score`].
    ///
    /// # Errors
    /// [`MethodError::Untraceable`] for a detector that is no graph, [`MethodError::TraceDiffers`]
    /// for a method whose trace computes something else than its score; the errors of the networks.
    pub fn trace(&self, device: &Device) -> Result<TracedDetector, MethodError> {
        self.check_traceable()?;
        let (traced, score) = self.traced_on(&noise(self.image_size(), 0), device)?;
        let (other, _) = self.traced_on(&noise(self.image_size(), 1), device)?;
        if !traced.graph.is_same(&other.graph)? {
            return Err(self.untraceable(Untraceable::Operators));
        }
        let own = self.score(&[noise(self.image_size(), 0)])?;
        let own = own.first().map_or(f32::NAN, |prediction| prediction.image_score);
        let is_close = (score - own).abs() <= LARGEST_DIFFERENCE * own.abs().max(f32::MIN_POSITIVE);
        if is_close { Ok(traced) } else { Err(MethodError::TraceDiffers { graph: score, detector: own }) }
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

    /// The trace of the verdict on `image`, and the score that it found.
    fn traced_on(&self, image: &RgbImage, device: &Device) -> Result<(TracedDetector, f32), MethodError> {
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
        Ok((TracedDetector { graph, image_score: score_value, anomaly_map: map_value }, score))
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
