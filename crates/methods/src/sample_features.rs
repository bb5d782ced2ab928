//! Features of some of the training images, for statistics.

use candle_core::Tensor;
use fmam_core::SampleSource;
use fmam_models::{Backbone, FeaturePyramid, LoadedBackbone, to_batch};

use crate::training::load_sample;
use crate::{MethodError, RunContext};

/// Images at once.
const BATCH: usize = 8;

/// What gives features of a batch of images.
pub(crate) trait FeatureSource {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError>;
}

impl FeatureSource for LoadedBackbone {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
        Ok(self.features(images)?)
    }
}

/// At most `count` samples of `train`, evenly spread over it.
pub(crate) fn spread_indices(train: &dyn SampleSource, count: usize) -> Vec<usize> {
    let count = train.len().min(count);
    (0..count).map(|k| k * train.len() / count).collect()
}

/// Hands the features of at most `count` training images, evenly spread over `train`, to `take`, some at a time.
pub(crate) fn spread_features(
    source: &dyn FeatureSource,
    train: &dyn SampleSource,
    count: usize,
    run: &RunContext<'_>,
    mut take: impl FnMut(FeaturePyramid) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    for indices in spread_indices(train, count).chunks(BATCH) {
        if run.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let images = indices.iter().map(|&index| load_sample(train, index)).collect::<Result<Vec<_>, _>>()?;
        let batch = to_batch(&images, run.backbone.preprocess(), &run.device)?;
        take(source.pyramid(&batch)?)?;
    }
    Ok(())
}
