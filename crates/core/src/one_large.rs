use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{ImageSize, SampleSource};

/// Images of more pixels are decoded one at a time where they keep their size.
const LARGE: usize = 16_000_000;

/// A gate that lets one thread at a time hold a large image, and any number hold smaller ones: so
/// many threads decode that memory does not grow with their number where images have their own
/// sizes.
#[derive(Debug, Default)]
pub struct OneLarge(Mutex<()>);

impl OneLarge {
    /// Waits until no other thread is within for a large image, if sample `index` of `source` is
    /// one. The thread is within until it drops what it gets.
    pub fn enter(&self, source: &dyn SampleSource, index: usize) -> Option<MutexGuard<'_, ()>> {
        // A size that cannot be read is told when the image is asked for.
        source.size(index).ok().and_then(|size| self.enter_for(size))
    }

    /// As [`OneLarge::enter`], for an image of `size`.
    pub fn enter_for(&self, size: ImageSize) -> Option<MutexGuard<'_, ()>> {
        (size.pixels() > LARGE).then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ordered_map;

    /// The most threads that are within for images of `size` at once.
    fn most_within(size: ImageSize) -> usize {
        let (gate, within, most) = (OneLarge::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_: usize| {
            let _alone = gate.enter_for(size);
            most.fetch_max(1 + within.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20));
            within.fetch_sub(1, Ordering::SeqCst);
        };
        ordered_map(8, 4, 8, work, |_, ()| Ok::<(), ()>(())).unwrap();
        most.into_inner()
    }

    #[test]
    fn large_images_are_held_one_at_a_time_and_small_ones_together() {
        assert_eq!(most_within(ImageSize::new(4001, 4000)), 1);
        assert!(most_within(ImageSize::new(4000, 4000)) > 1);
    }
}
