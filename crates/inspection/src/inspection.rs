//! The verdict on one image.

use fmam_core::{AnomalyMap, ImageSize};
use serde::{Deserialize, Serialize};

use crate::{Calibration, Region, Threshold, regions};

/// The part is good, or it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The score is at or below the threshold.
    Ok,
    /// The score is above the threshold.
    Defect,
}

impl Outcome {
    /// `ok` or `defect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Defect => "defect",
        }
    }
}

/// The verdict on one image, and its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The verdict.
    pub outcome: Outcome,
    /// The threshold that it was given by.
    pub threshold: Threshold,
    /// The conformal p-value of the score, see [`GoodScores::p_value`](crate::GoodScores::p_value);
    /// `None` without held-out good images.
    pub p_value: Option<f64>,
    /// The places whose map scores are above the contour, the highest first.
    pub regions: Vec<Region>,
}

impl Inspection {
    /// The verdict on an image of the size `original` by `threshold`. `calibration` has the scores
    /// of good images, where there are any. A score or a threshold that is no number makes a
    /// defect: no part passes by a fault.
    pub fn new(
        threshold: Threshold,
        calibration: Option<&Calibration>,
        image_score: f32,
        map: &AnomalyMap,
        original: ImageSize,
    ) -> Self {
        let regions = regions(map, threshold.contour, original);
        Self::with_regions(threshold, calibration, image_score, regions)
    }

    /// The verdict on an image whose `regions` were found while its map came row by row, see
    /// [`RegionScanner`](crate::RegionScanner); otherwise as [`Inspection::new`].
    pub fn with_regions(
        threshold: Threshold,
        calibration: Option<&Calibration>,
        image_score: f32,
        regions: Vec<Region>,
    ) -> Self {
        Self {
            outcome: if image_score <= threshold.score { Outcome::Ok } else { Outcome::Defect },
            threshold,
            p_value: calibration.map(|calibration| calibration.scores().p_value(image_score)),
            regions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Basis;

    #[test]
    fn only_a_score_at_or_below_the_threshold_is_ok() {
        let size = ImageSize::square(1);
        let map = AnomalyMap::new(size, vec![0.0]).unwrap();
        let outcome = |score, limit| {
            let threshold = Threshold { score: limit, contour: 0.0, basis: Basis::Given };
            Inspection::new(threshold, None, score, &map, size).outcome
        };
        assert_eq!([outcome(1.0, 2.0), outcome(2.0, 2.0)], [Outcome::Ok; 2]);
        assert_eq!(
            [(3.0, 2.0), (1.0, f32::NAN), (f32::NAN, 2.0)].map(|(s, t)| outcome(s, t)),
            [Outcome::Defect; 3]
        );
    }
}
