//! From feature distances to anomaly maps.

use candle_core::Tensor;
use fmam_core::{AnomalyMap, ImageSize};
use fmam_models::FeaturePyramid;
use serde::{Deserialize, Serialize};

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

/// How images are scored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// How the maps of the scales become one.
    pub combination: MapCombination,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image; it grows with the image.
    pub blur_sigma: f64,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self { combination: MapCombination::Sum, blur_sigma: 4.0 }
    }
}

impl ScoringConfig {
    /// Predictions for a batch: cosine distance at each scale, upsampled (corners aligned), combined, blurred; the
    /// image score is the largest value of the map.
    pub(crate) fn predict(
        &self,
        teacher: &FeaturePyramid,
        student: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Vec<Prediction>, MethodError> {
        let mut combined: Option<Tensor> = None;
        for (t, s) in teacher.scales.iter().zip(&student.scales) {
            let distance = fmam_ops::cosine_distance(t, s)?.unsqueeze(1)?;
            let map = fmam_ops::upsample_bilinear(&distance, size.height, size.width, true)?.detach();
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
