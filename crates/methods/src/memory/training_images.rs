//! The pass over the training images that every memory method makes.

use fmam_core::{SampleSource, StageId};
use fmam_models::FeaturePyramid;
use rayon::prelude::*;

use crate::feature_scorer::FeatureExtractor;
use crate::sample_features::spread;
use crate::settings::out_of_range;
use crate::training_image::TrainingImage;
use crate::{MethodError, Place, RunContext};

/// Images whose features are taken together by each thread, so that none waits long for the others.
/// Four: PaDiM sums so many at a time, and the groups must not depend on the number of threads.
const IMAGES_PER_THREAD: usize = 4;

/// Images whose features are held at the same time, at most.
const MAX_CHUNK: usize = 32;

/// Hands the results of `embed` on the features of the training images `indices`, and on their
/// places, to `take`, in order and some at a time.
///
/// # Errors
/// [`MethodError::NoTrainingImages`] without indices, [`MethodError::Cancelled`], and those of the
/// source and of `embed` and `take`.
pub fn each_training_image<T: Send>(
    train: &dyn SampleSource,
    run: &RunContext<'_>,
    indices: &[usize],
    extractor: &FeatureExtractor,
    embed: impl Fn(&FeaturePyramid, Place<'_>) -> Result<T, MethodError> + Sync,
    mut take: impl FnMut(Vec<T>) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    if indices.is_empty() {
        return Err(MethodError::NoTrainingImages);
    }
    run.progress.start(&StageId::new("features"), indices.len() as u64);
    let mut n_done = 0;
    for indices in indices.chunks(MAX_CHUNK.min(IMAGES_PER_THREAD * rayon::current_num_threads())) {
        if run.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let embed = |image: &TrainingImage, features: &FeaturePyramid| {
            let inside = image.inside.as_ref().and_then(|inside| extractor.looked_at(inside));
            let place = Place { inside: inside.as_ref(), ..image.place() };
            embed(features, place)
        };
        take(if extractor.device.is_cpu() {
            let embed = |&index: &usize| {
                let image = TrainingImage::load(train, index)?;
                embed(&image, &extractor.features(&image.image)?)
            };
            indices.par_iter().map(embed).collect::<Result<_, _>>()?
        } else {
            // A GPU is as quick with all images as with one.
            let load = |&index: &usize| TrainingImage::load(train, index);
            let images: Vec<TrainingImage> = indices.par_iter().map(load).collect::<Result<_, _>>()?;
            let pixels: Vec<_> = images.iter().map(|image| image.image.clone()).collect();
            let features = extractor.batch_features(&pixels)?;
            let embed = |(n, image): (usize, &TrainingImage)| embed(image, &features.image(n)?);
            images.iter().enumerate().map(embed).collect::<Result<_, _>>()?
        })?;
        n_done += indices.len() as u64;
        run.progress.update(n_done, "");
    }
    run.progress.finish();
    Ok(())
}

/// The setting that bounds the memory of a method.
pub(crate) struct MemoryLimit {
    pub(crate) method: &'static str,
    /// The key of the setting.
    pub(crate) key: &'static str,
    pub(crate) bytes: u64,
}

impl MemoryLimit {
    /// The indices of as many of `n` training images, evenly spread, as fit into the memory, where
    /// each takes `image_bytes`.
    pub(crate) fn images(&self, image_bytes: usize, n: usize) -> Result<Vec<usize>, MethodError> {
        let Self { method, key, bytes } = *self;
        let n_fit = usize::try_from(bytes / (image_bytes.max(1) as u64)).unwrap_or(usize::MAX);
        if n_fit == 0 {
            let actual = format!("{bytes}, where an image takes {image_bytes}");
            return Err(out_of_range(method, key, "enough for one image", actual));
        }
        if n_fit < n {
            tracing::warn!(kept = n_fit, images = n, "{key} of {method} does not hold every training image");
        }
        Ok(spread(n, n_fit))
    }
}
