//! The part of a fitted method that is its own: from images to verdicts.

use candle_core::Tensor;
use fmam_core::{AnomalyMap, RgbImage};
use fmam_models::{Backbone, FeaturePyramid};

use crate::checkpoint::Tensors;
use crate::{MethodError, Place};

/// The verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Higher is more anomalous; the scale is the method's own.
    pub image_score: f32,
    /// A score for each pixel of the image as it was given.
    pub anomaly_map: AnomalyMap,
}

/// A [`Prediction`] for one image as a trace knows it.
#[derive(Debug)]
pub struct TracedPrediction {
    /// The image score, one element.
    pub image_score: Tensor,
    /// The score of each pixel, `[1, height, width]`.
    pub anomaly_map: Tensor,
}

/// The features of images that a detector compares with what it has learnt, for analysis.
#[derive(Debug)]
pub struct AdaptedFeatures {
    /// The backbone's features.
    pub teacher: FeaturePyramid,
    /// The features after adaptation to the task, of the same shapes; `None` for a detector that
    /// uses the backbone's.
    pub adapted: Option<FeaturePyramid>,
    /// The features that the detector expects in their place, as a student gives them, of the same
    /// shapes; `None` for a detector that expects no feature of its own at each position.
    pub expected: Option<FeaturePyramid>,
}

impl AdaptedFeatures {
    pub(crate) fn scales(&self) -> impl Iterator<Item = &Tensor> {
        let pyramids = [Some(&self.teacher), self.adapted.as_ref(), self.expected.as_ref()];
        pyramids.into_iter().flatten().flat_map(|pyramid| &pyramid.scales)
    }
}

/// The part of a fitted method that no other method shares: from images to verdicts.
/// [`Detector`](crate::Detector) checks the images and the verdicts, makes the batches, and saves.
pub trait Scorer: Send + Sync {
    /// The verdicts on `images`, at least one and all of the detector's size, in their order, with
    /// the place of each. The bits of a verdict must not depend on the call.
    ///
    /// Pixels outside of the region of interest have one colour. [`Detector`](crate::Detector)
    /// gives them the smallest score inside, so that a map may have any score there. An image score
    /// that is not the peak of the map must leave them out.
    ///
    /// # Errors
    /// The errors of the networks and the device.
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError>;

    /// True if the image score is the largest score of the map.
    fn score_is_peak(&self) -> bool {
        false
    }

    /// True if [`Scorer::score`] gets whole batches; by default it gets one image at a time, on
    /// several threads, so that the bits of an image do not depend on its neighbours.
    fn takes_batches(&self) -> bool {
        false
    }

    /// The verdict on the image of `pixels`, `[1, 3, H, W]` values from 0 to 255, by operators that
    /// write themselves down ([`fmam_ops::Trace`]): every value that depends on `pixels` comes from
    /// an operator of `fmam-ops`. `None` for a method whose verdict is no graph of such operators.
    ///
    /// # Errors
    /// The errors of the networks and the device.
    fn trace(&self, pixels: &Tensor) -> Result<Option<TracedPrediction>, MethodError> {
        let _ = pixels;
        Ok(None)
    }

    /// See [`Detector::features`](crate::Detector::features); `images` as for [`Scorer::score`].
    ///
    /// # Errors
    /// As [`Scorer::score`].
    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let _ = images;
        Ok(None)
    }

    /// The backbone to save with the networks; `None` for a method that uses none.
    fn backbone(&self) -> Option<&dyn Backbone> {
        None
    }

    /// The networks to save, each under the name of its file.
    ///
    /// # Errors
    /// The errors of the device.
    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError>;
}
