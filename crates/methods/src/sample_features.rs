//! Some of the training images and their features, for statistics.

use std::sync::Arc;

use candle_core::Tensor;
use fmam_core::{RgbImage, SampleSource};
use fmam_models::{Backbone, FeaturePyramid, to_batch};

use crate::batch_inside::BatchInside;
use crate::training_image::TrainingImage;
use crate::{MethodError, RunContext};

/// Images at once.
const BATCH: usize = 8;

/// A source of features: the teacher, or the teacher with a mapping behind it.
pub(crate) trait FeatureSource: Sync {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError>;
}

impl FeatureSource for Arc<dyn Backbone> {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
        Ok(self.features(images)?)
    }
}

/// At most `count` of `n` indices, evenly spread.
pub(crate) fn spread(n: usize, count: usize) -> Vec<usize> {
    let count = n.min(count);
    (0..count).map(|k| k * n / count).collect()
}

/// Hands at most `count` training images, evenly spread over `train`, to `take`, some at a time.
pub(crate) fn spread_images(
    train: &dyn SampleSource,
    count: usize,
    run: &RunContext<'_>,
    mut take: impl FnMut(Vec<TrainingImage>) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    for indices in spread(train.len(), count).chunks(BATCH) {
        if run.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let load = |&index: &usize| TrainingImage::load(train, index);
        take(indices.iter().map(load).collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// As [`spread_images`], with their features from `source`: of the positions that count, in one
/// row, where some do not.
pub(crate) fn spread_features(
    source: &dyn FeatureSource,
    train: &dyn SampleSource,
    count: usize,
    run: &RunContext<'_>,
    mut take: impl FnMut(FeaturePyramid) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    spread_images(train, count, run, |images| {
        let (images, masks): (Vec<RgbImage>, Vec<_>) =
            images.into_iter().map(|image| (image.image, image.inside)).unzip();
        let features = source.pyramid(&to_batch(&images, run.backbone.preprocess(), &run.device)?)?;
        take(match BatchInside::new(masks) {
            None => features,
            Some(inside) => inside.select(&features)?,
        })
    })
}
