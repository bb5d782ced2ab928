//! The colours of a detector's scores, the same for every image.

use fmam_core::AnomalyMap;

use crate::picture::colormap::{blue, inferno};
use crate::picture::overlay::Scale;

/// Largest share of the colour scale in a pixel of an overlay; the rest is the original.
const DENSEST: f32 = 0.55;

/// The colours of the scores of one detector, and the contour that belongs to them.
///
/// The colours of a calibrated detector come from its calibration alone, so that an image looks the
/// same alone and among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapColours {
    range: (f32, f32),
    is_calibrated: bool,
    contour: Option<f32>,
}

impl MapColours {
    /// The colours of a calibrated detector: *inferno* over `range` (lowest, highest score), in
    /// whose middle the detector's own threshold lies. `contour` is the map score that the contour
    /// follows: that of the threshold in force, which need not be the detector's own.
    pub fn calibrated(range: (f32, f32), contour: f32) -> Self {
        Self { range, is_calibrated: true, contour: Some(contour) }
    }

    /// The colours of a detector without a calibration: blue over the lowest to the highest score
    /// of `map`, no contour.
    ///
    /// Nothing is known about the scores of good images, and the map of a good image spans its own
    /// range as that of a defective one does. The colours show the place of the highest scores and
    /// say nothing about a defect; for this reason they are blue and not those of a calibrated
    /// detector. Scores that are not finite are passed over.
    pub fn uncalibrated(map: &AnomalyMap) -> Self {
        let finite = || map.data().iter().copied().filter(|score| score.is_finite());
        let (low, high) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        let range = if low <= high { (low, high) } else { (0.0, 1.0) };
        Self { range, is_calibrated: false, contour: None }
    }

    /// Adds a contour at the map score `contour`, for a threshold that somebody gave to a detector
    /// without a calibration.
    #[must_use]
    pub fn with_contour(self, contour: f32) -> Self {
        Self { contour: Some(contour), ..self }
    }

    /// The lowest and the highest score of the colour scale.
    pub fn range(self) -> (f32, f32) {
        self.range
    }

    /// The map score that the contour follows; `None` without a threshold.
    pub fn contour(self) -> Option<f32> {
        self.contour
    }

    /// Place of a score on the colour scale, in 0..=1; 0 for NaN. An empty range has two colours:
    /// the lowest, and the highest for scores above the range.
    pub(super) fn position(self, score: f32) -> f32 {
        let (low, high) = self.range;
        if low < high { Scale::new(self.range).position(score) } else { f32::from(u8::from(score > low)) }
    }

    /// True if a score can have a share of the colour scale in an overlay: if it lies in the upper
    /// half of the range or above it. False for NaN.
    pub(super) fn is_coloured(self, score: f32) -> bool {
        let (low, high) = self.range;
        score > low + 0.5 * (high - low)
    }

    /// The colour scale.
    pub(super) fn scale(self) -> fn(f32) -> [u8; 3] {
        if self.is_calibrated { inferno } else { blue }
    }

    /// The share of the colour scale in a pixel of an overlay, in 0..=0.55: none in the lower half
    /// of the range, which is that of good images.
    pub(super) fn density(position: f32) -> f32 {
        (2.0 * position - 1.0).max(0.0) * DENSEST
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    fn map(scores: &[f32]) -> AnomalyMap {
        AnomalyMap::new(ImageSize::new(1, scores.len()), scores.to_vec()).unwrap()
    }

    #[test]
    fn the_threshold_lies_in_the_middle_and_good_scores_are_calm() {
        let colours = MapColours::calibrated((1.0, 5.0), 3.0);
        assert_eq!(
            [0.0, 1.0, 3.0, 4.0, 5.0, 9.0].map(|s| colours.position(s)),
            [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]
        );
        assert_eq!(
            [f32::NAN, -9.0, 1.0, 3.0, 3.001, 9.0].map(|s| colours.is_coloured(s)),
            [false, false, false, false, true, true]
        );
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(MapColours::density), [0.0, 0.0, 0.275, 0.55]);
    }

    #[test]
    fn an_empty_range_still_tells_above_from_below() {
        let colours = MapColours::calibrated((2.0, 2.0), 2.0);
        assert_eq!([1.0, 2.0, 2.5, f32::NAN].map(|s| colours.position(s)), [0.0, 0.0, 1.0, 0.0]);
        assert!(!colours.is_coloured(2.0) && colours.is_coloured(2.5));
    }

    #[test]
    fn without_a_calibration_the_colours_are_others_and_there_is_no_contour() {
        let colours = MapColours::uncalibrated(&map(&[0.5, f32::NAN, 2.5, f32::INFINITY]));
        assert_eq!((colours.range(), colours.contour()), ((0.5, 2.5), None));
        let calibrated = MapColours::calibrated(colours.range(), 1.5);
        for position in [0.3, 0.6, 1.0] {
            assert_ne!(colours.scale()(position), calibrated.scale()(position));
        }
        assert_eq!(MapColours::uncalibrated(&map(&[f32::NAN])).range(), (0.0, 1.0));
        // A threshold alone tells nothing about good images either.
        let with_threshold = colours.with_contour(1.5);
        assert_eq!(
            (with_threshold.contour(), with_threshold.scale()(1.0)),
            (Some(1.5), colours.scale()(1.0))
        );
    }
}
