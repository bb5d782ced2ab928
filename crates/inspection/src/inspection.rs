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
    /// of good images, where there are any.
    pub fn new(
        threshold: Threshold,
        calibration: Option<&Calibration>,
        image_score: f32,
        map: &AnomalyMap,
        original: ImageSize,
    ) -> Self {
        Self {
            outcome: if image_score > threshold.score { Outcome::Defect } else { Outcome::Ok },
            threshold,
            p_value: calibration.map(|calibration| calibration.scores().p_value(image_score)),
            regions: regions(map, threshold.contour, original),
        }
    }
}
