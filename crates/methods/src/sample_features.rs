//! Some of the training images and their features, for statistics.

use std::sync::Arc;

use candle_core::Tensor;
use fmam_core::{RgbImage, SampleSource};
use fmam_models::{Backbone, FeaturePyramid, to_batch};

use crate::training::load_sample;
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
    mut take: impl FnMut(&[RgbImage]) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    for indices in spread(train.len(), count).chunks(BATCH) {
        if run.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let images = indices.iter().map(|&index| load_sample(train, index)).collect::<Result<Vec<_>, _>>()?;
        take(&images)?;
    }
    Ok(())
}

/// As [`spread_images`], with their features from `source`.
pub(crate) fn spread_features(
    source: &dyn FeatureSource,
    train: &dyn SampleSource,
    count: usize,
    run: &RunContext<'_>,
    mut take: impl FnMut(FeaturePyramid) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    spread_images(train, count, run, |images| {
        take(source.pyramid(&to_batch(images, run.backbone.preprocess(), &run.device)?)?)
    })
}
