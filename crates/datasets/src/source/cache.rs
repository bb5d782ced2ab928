use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fmam_core::{
    ImageRows, ImageSize, Mask, Original, RgbImage, Sample, SampleSource, SourceError, TileGrid,
};

/// Bytes of decoded images and masks that each split of a [`Category`](crate::Category) keeps: 1
/// GiB, about 4000 samples of 256x256.
pub const DEFAULT_CACHE_BYTES: usize = 1 << 30;

/// A source that keeps what its inner source decoded, since each epoch asks for every image again
/// and decoding costs more than a training step of a small network. What comes after the byte
/// budget is spent is decoded anew each time, so memory is bounded; what a caller sees does not
/// depend on the budget.
pub struct CachedSource<S> {
    inner: S,
    images: Vec<OnceLock<RgbImage>>,
    masks: Vec<OnceLock<Option<Mask>>>,
    insides: Vec<OnceLock<Option<Mask>>>,
    bytes_left: AtomicUsize,
}

impl<S: SampleSource> CachedSource<S> {
    /// A cache over `inner` that keeps at most `budget` bytes of pixels.
    pub fn new(inner: S, budget: usize) -> Self {
        let n = inner.len();
        Self {
            inner,
            images: std::iter::repeat_with(OnceLock::new).take(n).collect(),
            masks: std::iter::repeat_with(OnceLock::new).take(n).collect(),
            insides: std::iter::repeat_with(OnceLock::new).take(n).collect(),
            bytes_left: AtomicUsize::new(budget),
        }
    }

    /// Puts a copy of `value` into `slot` if `bytes` more are allowed.
    fn keep<T: Clone>(&self, slot: &OnceLock<T>, value: &T, bytes: usize) {
        let reserve = |left: usize| left.checked_sub(bytes);
        if self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
            && slot.set(value.clone()).is_err()
        {
            // Another thread decoded the same sample meanwhile and paid for it.
            self.bytes_left.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl<S: SampleSource> SampleSource for CachedSource<S> {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.inner.sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        if let Some(image) = self.images[index].get() {
            return Ok(image.clone());
        }
        let image = self.inner.image(index)?;
        self.keep(&self.images[index], &image, image.data().len());
        Ok(image)
    }

    /// The rows of an image that the cache neither holds nor has room for.
    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        if self.images[index].get().is_some() {
            return Ok(None);
        }
        let bytes = 3 * self.inner.size(index)?.pixels();
        if bytes <= self.bytes_left.load(Ordering::Relaxed) { Ok(None) } else { self.inner.rows(index) }
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        if let Some(mask) = self.masks[index].get() {
            return Ok(mask.clone());
        }
        let mask = self.inner.mask(index)?;
        self.keep(&self.masks[index], &mask, mask.as_ref().map_or(0, |mask| mask.data().len()));
        Ok(mask)
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        match self.images[index].get() {
            Some(image) => Ok(image.size()),
            None => self.inner.size(index),
        }
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        if let Some(inside) = self.insides[index].get() {
            return Ok(inside.clone());
        }
        let inside = self.inner.inside(index)?;
        self.keep(&self.insides[index], &inside, inside.as_ref().map_or(0, |inside| inside.data().len()));
        Ok(inside)
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        self.inner.original(index)
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        self.inner.bits()
    }

    fn tile(&self, index: usize) -> usize {
        self.inner.tile(index)
    }

    fn grid(&self, index: usize) -> Option<&TileGrid> {
        self.inner.grid(index)
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{MemoryRows, Seed};
    use fmam_testkit::{MemorySource, striped_test};

    use super::*;

    /// Counts what is asked of it.
    struct Counting {
        inner: MemorySource,
        decoded: AtomicUsize,
    }

    impl SampleSource for &Counting {
        fn len(&self) -> usize {
            self.inner.len()
        }
        fn sample(&self, index: usize) -> &Sample {
            self.inner.sample(index)
        }
        fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            self.inner.image(index)
        }
        fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
            Ok(Some(Box::new(MemoryRows::new(self.inner.image(index)?))))
        }
        fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            self.inner.mask(index)
        }
    }

    fn decoded_in_three_epochs(budget: usize) -> usize {
        let inner = striped_test(2, 2, ImageSize::square(10), Seed::new(0));
        let counting = Counting { inner, decoded: AtomicUsize::new(0) };
        let cached = CachedSource::new(&counting, budget);
        for _ in 0..3 {
            for index in 0..4 {
                assert_eq!(cached.image(index).unwrap(), counting.inner.image(index).unwrap());
                assert_eq!(cached.mask(index).unwrap(), counting.inner.mask(index).unwrap());
            }
        }
        counting.decoded.load(Ordering::Relaxed)
    }

    #[test]
    fn rows_are_those_of_images_that_the_cache_has_no_room_for() {
        let counting = Counting {
            inner: striped_test(2, 2, ImageSize::square(10), Seed::new(0)),
            decoded: AtomicUsize::new(0),
        };
        // An image takes 300 bytes.
        for (budget, has_room) in [(299, false), (300, true)] {
            let cached = CachedSource::new(&counting, budget);
            assert_eq!(cached.rows(0).unwrap().is_none(), has_room);
            cached.image(0).unwrap();
            assert_eq!(cached.rows(0).unwrap().is_none(), has_room);
            assert!(cached.rows(1).unwrap().is_some());
        }
    }

    #[test]
    fn each_sample_is_decoded_once_within_the_budget() {
        assert_eq!(decoded_in_three_epochs(4 * 400), 8);
    }

    #[test]
    fn beyond_the_budget_samples_are_decoded_again_and_are_the_same() {
        assert_eq!(decoded_in_three_epochs(0), 24);
        // Room for the first image and its mask.
        assert_eq!(decoded_in_three_epochs(400), 2 + 3 * 6);
    }
}
