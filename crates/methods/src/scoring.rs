//! From feature distances to anomaly maps.

use candle_core::Tensor;
use fmam_core::{AnomalyMap, ImageSize};
use fmam_models::FeaturePyramid;
use serde::{Deserialize, Serialize};

use crate::map_reference::MapReference;
use crate::{MethodError, Prediction};

/// How the maps of the scales become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapCombination {
    /// Sum, as Deng and Li 2022.
    Sum,
    /// Product, as Wang et al. 2021.
    Product,
}

/// What a distance is measured against before the scales are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistanceReference {
    /// Nothing: the plain distance, as the cited works have it.
    None,
    /// Mean and deviation of the distance at the same position of training images.
    Position,
}

/// How images are scored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// How the maps of the scales become one.
    pub combination: MapCombination,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image; it grows with the image.
    pub blur_sigma: f64,
    /// What a distance is measured against. Maps in deviations may be negative, so only their sum has a meaning.
    pub reference: DistanceReference,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self { combination: MapCombination::Sum, blur_sigma: 4.0, reference: DistanceReference::None }
    }
}

/// The cosine distance of the two at each scale, (N, H, W), without gradient.
pub(crate) fn distances(
    teacher: &FeaturePyramid,
    student: &FeaturePyramid,
) -> Result<Vec<Tensor>, MethodError> {
    let scales = teacher.scales.iter().zip(&student.scales);
    scales.map(|(t, s)| Ok(fmam_ops::cosine_distance(t, s)?.detach())).collect()
}

impl ScoringConfig {
    /// Predictions for a batch from its [`distances`]: compared with the reference, upsampled (corners aligned), combined,
    /// blurred; the image score is the largest value of the map.
    pub(crate) fn predict(
        &self,
        distances: Vec<Tensor>,
        reference: Option<&MapReference>,
        size: ImageSize,
    ) -> Result<Vec<Prediction>, MethodError> {
        let mut combined: Option<Tensor> = None;
        for (k, mut distance) in distances.into_iter().enumerate() {
            if let Some(reference) = reference {
                distance = reference.apply(k, &distance)?;
            }
            let map = fmam_ops::upsample_bilinear(&distance.unsqueeze(1)?, size.height, size.width, true)?;
            combined = Some(match (combined, self.combination) {
                (None, _) => map,
                (Some(sum), MapCombination::Sum) => (sum + map)?,
                (Some(product), MapCombination::Product) => (product * map)?,
            });
        }
        let Some(map) = combined else { return Ok(Vec::new()) };
        let sigma = self.blur_sigma * size.height.min(size.width) as f64 / 256.0;
        let maps = fmam_ops::gaussian_blur(&map.squeeze(1)?, sigma)?;
        let pixels = maps.flatten_from(1)?.to_vec2::<f32>()?;
        pixels
            .into_iter()
            .map(|data| {
                let anomaly_map = AnomalyMap::new(size, data)?;
                Ok(Prediction { image_score: anomaly_map.max(), anomaly_map })
            })
            .collect()
    }
}
