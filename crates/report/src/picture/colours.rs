//! The colours of a detector's scores, the same for every image.

use fmam_core::AnomalyMap;

use crate::picture::colormap::{blue, inferno};
use crate::picture::overlay::Scale;

/// Largest share of the colour scale in a pixel of an overlay; the rest is the original.
const DENSEST: f32 = 0.65;

/// The colours of the scores of one detector, and the contour that belongs to them.
///
/// The colours of a calibrated detector come from its calibration alone, so that an image looks the
/// same alone and among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapColours {
    range: (f32, f32),
    contour: Option<f32>,
}

impl MapColours {
    /// The colours of a calibrated detector: *inferno* over `range` (lowest, highest score), in
    /// whose middle the detector's own threshold lies. `contour` is the map score that the contour
    /// follows: that of the threshold in force, which need not be the detector's own.
    pub fn calibrated(range: (f32, f32), contour: f32) -> Self {
        Self { range, contour: Some(contour) }
    }

    /// The colours of a detector without a calibration: blue over the lowest to the highest score
    /// of `map`, no contour.
    ///
    /// Nothing is known about the scores of good images. The map of a good image spans its own range
    /// as that of a defective one does, so the colours show the place of the highest scores and say
    /// nothing about a defect. For this reason they are blue and not those of a calibrated detector.
    /// Scores that are not finite are passed over.
    pub fn uncalibrated(map: &AnomalyMap) -> Self {
        let finite = || map.data().iter().copied().filter(|score| score.is_finite());
        let (low, high) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        Self { range: if low <= high { (low, high) } else { (0.0, 1.0) }, contour: None }
    }

    /// The lowest and the highest score of the colour scale.
    pub fn range(self) -> (f32, f32) {
        self.range
    }

    /// The map score that the contour follows; `None` without a calibration.
    pub fn contour(self) -> Option<f32> {
        self.contour
    }

    /// Place of a score on the colour scale, in 0..=1; 0 for NaN. An empty range has two colours:
    /// the lowest, and the highest for scores above the range.
    pub(super) fn position(self, score: f32) -> f32 {
        let (low, high) = self.range;
        if low < high { Scale::new(self.range).position(score) } else { f32::from(u8::from(score > low)) }
    }

    /// The colour scale.
    pub(super) fn scale(self) -> fn(f32) -> [u8; 3] {
        if self.contour.is_some() { inferno } else { blue }
    }

    /// The share of the colour scale in a pixel of an overlay, in 0..=0.65: none in the lower half
    /// of the range, which is that of good images.
    pub(super) fn density(position: f32) -> f32 {
        (2.0 * position - 1.0).max(0.0) * DENSEST
    }
}
