//! A small picture of a large image and of its map, from rows.

use fmam_core::{AnomalyMap, CoreError, ImageSize, RgbImage};

/// An image and its anomaly map, reduced by an integer factor while their rows come from top to
/// bottom: a pixel of the image is the mean of a square block, and a score of the map is the
/// largest of the block, so that no hot spot is lost. Blocks at the far edges may be smaller.
///
/// ```
/// use fmam_core::ImageSize;
/// use fmam_inspection::Overview;
///
/// let mut overview = Overview::new(ImageSize::new(2, 4), 2);
/// overview.push(&[10; 12], &[0.0, 1.0, 2.0, 3.0]);
/// overview.push(&[30; 12], &[9.0, 1.0, 2.0, 4.0]);
/// let (image, map) = overview.finish()?;
/// assert_eq!((image.data(), map.data()), (&[20; 6][..], &[9.0, 4.0][..]));
/// # Ok::<(), fmam_core::CoreError>(())
/// ```
#[derive(Debug)]
pub struct Overview {
    size: ImageSize,
    factor: usize,
    reduced: ImageSize,
    /// Values taken in so far.
    n_pixels: usize,
    sums: Vec<[u64; 3]>,
    counts: Vec<u64>,
    peaks: Vec<f32>,
}

impl Overview {
    /// A picture of at most `most` pixels, one at least, of an image of `size`.
    pub fn new(size: ImageSize, most: usize) -> Self {
        let reduced =
            |factor: usize| ImageSize::new(size.height.div_ceil(factor), size.width.div_ceil(factor));
        let least = (size.pixels() as f64 / most.max(1) as f64).sqrt() as usize;
        let fits = |factor: &usize| reduced(*factor).pixels() <= most.max(1);
        let factor = (least.max(1)..).find(fits).unwrap_or(1);
        let n = reduced(factor).pixels();
        Self {
            size,
            factor,
            reduced: reduced(factor),
            n_pixels: 0,
            sums: vec![[0; 3]; n],
            counts: vec![0; n],
            peaks: vec![f32::NEG_INFINITY; n],
        }
    }

    /// Pixels of the image along each side of a block.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Takes in the next rows: the bytes of the image, three a pixel, and the scores of its map.
    /// Rows beyond the size of the image are left out.
    pub fn push(&mut self, pixels: &[u8], scores: &[f32]) {
        let left = self.size.pixels() - self.n_pixels;
        for (pixel, score) in pixels.chunks_exact(3).zip(scores).take(left) {
            let (y, x) = (self.n_pixels / self.size.width, self.n_pixels % self.size.width);
            let block = y / self.factor * self.reduced.width + x / self.factor;
            self.sums[block].iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
            self.counts[block] += 1;
            self.peaks[block] = self.peaks[block].max(*score);
            self.n_pixels += 1;
        }
    }

    /// The reduced image and map. A block without a score, as outside of a region of interest, gets
    /// the smallest score of the others.
    ///
    /// # Errors
    /// [`CoreError::BufferLength`] where rows are missing.
    pub fn finish(self) -> Result<(RgbImage, AnomalyMap), CoreError> {
        if self.n_pixels < self.size.pixels() {
            let (size, expected, actual) = (self.size, self.size.pixels(), self.n_pixels);
            return Err(CoreError::BufferLength { size, expected, actual });
        }
        let mean = |(sum, count): (&[u64; 3], &u64)| sum.map(|sum| ((sum + count / 2) / count) as u8);
        let pixels = self.sums.iter().zip(&self.counts).flat_map(mean).collect();
        let known = || self.peaks.iter().copied().filter(|peak| peak.is_finite());
        let smallest = known().fold(f32::INFINITY, f32::min);
        let scores = self.peaks.iter().map(|peak| if peak.is_finite() { *peak } else { smallest });
        Ok((RgbImage::new(self.reduced, pixels)?, AnomalyMap::new(self.reduced, scores.collect())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_means_and_largest_scores() {
        let size = ImageSize::new(5, 7);
        let mut overview = Overview::new(size, 12);
        assert_eq!(overview.factor(), 2);
        for y in 0..5 {
            let pixels: Vec<u8> = (0..7).flat_map(|x| [y, x, 9]).collect();
            let hidden = |x: u8| y < 2 && x < 2;
            let score = |x| if hidden(x) { f32::NEG_INFINITY } else { f32::from(10 * y + x) };
            overview.push(&pixels, &(0..7).map(score).collect::<Vec<_>>());
        }
        let (image, map) = overview.finish().unwrap();
        assert_eq!(image.size(), ImageSize::new(3, 4));
        // The means of 0 and 1, and of 2 and 3, are rounded up.
        assert_eq!((image.pixel(0, 1), image.pixel(2, 3)), ([1, 3, 9], [4, 6, 9]));
        let expected = [13.0, 13.0, 15.0, 16.0, 31.0, 33.0, 35.0, 36.0, 41.0, 43.0, 45.0, 46.0];
        assert_eq!(map.data(), expected);
    }

    #[test]
    fn a_picture_keeps_to_its_pixels_and_tells_missing_rows() {
        for (size, most) in
            [((1, 1), 5), ((1, 100_000), 10), ((90, 40), 1), ((90, 40), 3600), ((90, 40), 3599)]
        {
            let overview = Overview::new(ImageSize::new(size.0, size.1), most);
            assert!(overview.reduced.pixels() <= most, "{size:?}");
            assert_eq!(overview.factor() == 1, size.0 * size.1 <= most, "{size:?}");
            assert!(matches!(overview.finish(), Err(CoreError::BufferLength { actual: 0, .. })));
        }
    }
}
