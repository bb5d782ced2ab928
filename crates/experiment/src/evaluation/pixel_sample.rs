use fmam_core::{AnomalyMap, Mask};

/// Pixels of a sample, at most, where all maps have the size of the first.
const PIXELS: usize = 4_000_000;

/// Scores of pixels, evenly spread over the images that have a mask.
#[derive(Debug, Clone, Default)]
pub(crate) struct PixelSample {
    pub(crate) normal: Vec<f32>,
    pub(crate) anomalous: Vec<f32>,
    n_images: usize,
    /// Every pixel of this number is taken; 0 before the first map.
    step: usize,
    /// Pixels to pass over before the next one that is taken.
    next: usize,
}

impl PixelSample {
    /// An empty sample of `n_images` images.
    pub(crate) fn new(n_images: usize) -> Self {
        Self { n_images, ..Self::default() }
    }

    /// Adds the pixels of the next image that are 1 in `inside`, or all of them without it.
    pub(crate) fn add(&mut self, map: &AnomalyMap, mask: Option<&Mask>, inside: Option<&Mask>) {
        let scores = map.data();
        if self.step == 0 {
            self.step = scores.len().saturating_mul(self.n_images).div_ceil(PIXELS).max(1);
        }
        let Some(mask) = mask else { return };
        let mut at = self.next;
        while let (Some(&score), Some(&defective)) = (scores.get(at), mask.data().get(at)) {
            if inside.is_none_or(|inside| inside.data().get(at) == Some(&1)) {
                if defective == 0 { &mut self.normal } else { &mut self.anomalous }.push(score);
            }
            at += self.step;
        }
        self.next = at - scores.len();
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn pixels_are_spread_over_all_images_as_over_one_list() {
        let size = ImageSize::new(1000, 1500);
        let mut sample = PixelSample::new(4);
        let mut all = Vec::new();
        for image in 0..4 {
            let scores: Vec<f32> = (0..size.pixels()).map(|at| (image * size.pixels() + at) as f32).collect();
            let mask = (image != 2).then(|| Mask::from_fn(size, |y, _| y == 0));
            if let Some(mask) = &mask {
                all.extend(scores.iter().copied().zip(mask.data().iter().copied()));
            }
            sample.add(&AnomalyMap::new(size, scores).unwrap(), mask.as_ref(), None);
        }
        // Six million pixels in all, of which every second one is taken.
        let expected = |label: u8| -> Vec<f32> {
            all.iter().step_by(2).filter(|pixel| pixel.1 == label).map(|pixel| pixel.0).collect()
        };
        assert_eq!((sample.normal, sample.anomalous), (expected(0), expected(1)));
    }
}
