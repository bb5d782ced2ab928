//! The features of each training image by the frozen teacher, computed once.

use candle_core::Tensor;
use fmam_models::FeaturePyramid;
use fmam_ops::free_memory;

use crate::sample_features::FeatureSource;
use crate::{MethodError, RunContext};

/// Part of the free memory for the features of all training images.
const SHARE: u64 = 4;

/// Memory for them where the system does not say what is free.
const CACHE_BYTES: usize = 1 << 30;

/// Features of training images by their index, where memory is enough for those of all: batches are
/// drawn anew in each epoch, so that a part of them would hardly ever fill one.
pub(crate) struct TeacherCache<'a> {
    teacher: &'a dyn FeatureSource,
    features: Vec<Option<FeaturePyramid>>,
    /// Bytes that all may take together.
    limit: usize,
}

impl<'a> TeacherCache<'a> {
    /// A cache for the `n_images` of `run`, on the device where they are used.
    pub(crate) fn for_run(teacher: &'a dyn FeatureSource, n_images: usize, run: &RunContext<'_>) -> Self {
        let free = free_memory(&run.device).map(|free| usize::try_from(free / SHARE));
        let limit = free.map_or(CACHE_BYTES, |share| share.unwrap_or(usize::MAX));
        Self::new(teacher, n_images, limit)
    }

    /// A cache for `n_images` that takes at most `limit` bytes.
    fn new(teacher: &'a dyn FeatureSource, n_images: usize, limit: usize) -> Self {
        Self { teacher, features: vec![None; n_images], limit }
    }

    /// Features of `batch`, `[N, 3, H, W]`, which are the training images `indices`.
    pub(crate) fn pyramid(
        &mut self,
        indices: &[usize],
        batch: &Tensor,
    ) -> Result<FeaturePyramid, MethodError> {
        let known: Option<Vec<&FeaturePyramid>> =
            indices.iter().map(|&index| self.features[index].as_ref()).collect();
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            return Ok(FeaturePyramid::concat(&known)?);
        }
        let features = self.teacher.pyramid(batch)?;
        let bytes: usize = features.scales.iter().map(|x| x.elem_count() * x.dtype().size_in_bytes()).sum();
        let of_all = (bytes / indices.len().max(1)).saturating_mul(self.features.len());
        if of_all <= self.limit {
            for (n, &index) in indices.iter().enumerate() {
                if self.features[index].is_none() {
                    self.features[index] = Some(features.image(n)?);
                }
            }
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Device;

    use super::*;

    /// Gives the images themselves, and counts.
    #[derive(Default)]
    struct Echo(AtomicUsize);

    impl FeatureSource for Echo {
        fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(FeaturePyramid { scales: vec![images.clone(), (images * 2.0)?] })
        }
    }

    fn batch(indices: &[usize]) -> Tensor {
        let images = indices.iter().map(|&at| {
            let data: Vec<f32> = (0..12).map(|k| (100 * at + k) as f32).collect();
            Tensor::from_vec(data, (1, 3, 2, 2), &Device::Cpu).unwrap()
        });
        Tensor::cat(&images.collect::<Vec<_>>(), 0).unwrap()
    }

    fn values(features: &FeaturePyramid) -> Vec<Vec<f32>> {
        features.scales.iter().map(|x| x.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }

    #[test]
    fn an_image_is_computed_once_and_given_in_any_company() {
        let echo = Echo::default();
        let mut cache = TeacherCache::new(&echo, 5, 1 << 20);
        for indices in [[0, 1], [2, 3], [3, 0], [1, 2]] {
            let (given, batch) = (cache.pyramid(&indices, &batch(&indices)).unwrap(), batch(&indices));
            let expected = Echo::default().pyramid(&batch).unwrap();
            assert_eq!(values(&given), values(&expected), "{indices:?}");
        }
        assert_eq!(echo.0.load(Ordering::Relaxed), 2);
        // One of the two is new.
        let given = cache.pyramid(&[4, 1], &batch(&[4, 1])).unwrap();
        assert_eq!(values(&given), values(&Echo::default().pyramid(&batch(&[4, 1])).unwrap()));
        assert_eq!(echo.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_does_not_fit_is_computed_each_time() {
        // An image takes 96 bytes.
        for (limit, computed) in [(4 * 96 - 1, 4), (4 * 96, 2)] {
            let echo = Echo::default();
            let mut cache = TeacherCache::new(&echo, 4, limit);
            for indices in [[0, 1], [2, 3], [2, 3], [0, 1]] {
                cache.pyramid(&indices, &batch(&indices)).unwrap();
            }
            assert_eq!(echo.0.load(Ordering::Relaxed), computed, "{limit}");
        }
    }
}
