use fmam_core::{AnomalyMap, Mask};
use fmam_record::small_map;

use crate::ExperimentError;

/// The share of pixel scores below the upper end of the range of colours, in thousandths.
const PERMILLE: u64 = 999;

/// Scores of a map that are looked at before the highest are chosen: of a large map not all can be
/// kept.
const BLOCK: usize = 1 << 20;

/// The things to keep of the maps of a test split: small copies, and their common range.
pub(super) struct MapDigest {
    small: Vec<AnomalyMap>,
    n_images: usize,
    n_pixels: u64,
    lowest: f32,
    /// The highest scores, in no order, among them the `n_top` highest.
    top: Vec<f32>,
    /// Scores that the percentile needs; 0 before the first map.
    n_top: usize,
    /// The least of the `n_top` highest scores so far; lower ones are passed over.
    least: f32,
}

impl MapDigest {
    /// No maps yet, of `n_images`.
    pub(super) fn new(n_images: usize) -> Self {
        Self {
            small: Vec::with_capacity(n_images),
            n_images,
            n_pixels: 0,
            lowest: f32::INFINITY,
            top: Vec::new(),
            n_top: 0,
            least: f32::NEG_INFINITY,
        }
    }

    /// Adds the map of the next image, of which the pixels count that are 1 in `inside`, or all
    /// without it.
    pub(super) fn add(&mut self, map: &AnomalyMap, inside: Option<&Mask>) -> Result<(), ExperimentError> {
        if self.n_top == 0 {
            self.n_top = from_the_top((map.data().len() * self.n_images) as u64);
        }
        self.small.push(small_map(map)?.into_owned());
        self.n_pixels += inside.map_or(map.data().len(), Mask::area) as u64;
        self.lowest = self.lowest.min(map.min());
        let counts = |at: usize| inside.is_none_or(|inside| inside.data().get(at) == Some(&1));
        for (block, scores) in map.data().chunks(BLOCK).enumerate() {
            let counted = scores.iter().zip(block * BLOCK..);
            let counted = counted.filter(|(score, at)| **score >= self.least && counts(*at));
            self.top.extend(counted.map(|(score, _)| *score));
            if self.top.len() > 2 * self.n_top {
                self.shorten();
            }
        }
        Ok(())
    }

    fn shorten(&mut self) {
        let (_, &mut least, _) = self.top.select_nth_unstable_by(self.n_top - 1, |a, b| b.total_cmp(a));
        self.least = least;
        self.top.truncate(self.n_top);
    }

    /// The small maps, and a range for their colours: from the lowest score to the 99.9th
    /// percentile, so that a few extreme pixels do not darken all the rest. The percentile is exact
    /// where all maps have the size of the first. (0, 1) without a map.
    pub(super) fn finish(mut self) -> (Vec<AnomalyMap>, (f32, f32)) {
        let rank = from_the_top(self.n_pixels).min(self.top.len());
        if rank == 0 {
            return (self.small, (0.0, 1.0));
        }
        let (_, &mut high, _) = self.top.select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a));
        (self.small, (self.lowest, high))
    }
}

/// The rank of the percentile among `n` scores, counted from the highest: 1 for the highest itself.
fn from_the_top(n: u64) -> usize {
    // Nearest rank, in integers.
    if n == 0 { 0 } else { (n - ((n * PERMILLE).div_ceil(1000) - 1)) as usize }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn the_range_is_that_of_all_scores_together() {
        let size = ImageSize::new(50, 40);
        for seed in 1..4_u64 {
            let mut digest = MapDigest::new(5);
            let mut all = Vec::new();
            for image in 0..5 {
                // Rising from image to image, which replaces the top again and again; then mixed.
                let score = |at: u64| {
                    let mixed = (at * seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
                    (mixed + if seed == 1 { 10_000 * image } else { 0 }) as f32
                };
                let map = (0..2000).map(|at| score(2000 * image + at)).collect::<Vec<f32>>();
                all.extend_from_slice(&map);
                digest.add(&AnomalyMap::new(size, map).unwrap(), None).unwrap();
                assert!(digest.top.len() <= 4000);
            }
            let (small, range) = digest.finish();
            all.sort_by(f32::total_cmp);
            assert_eq!(range, (all[0], all[9989]), "{seed}");
            assert_eq!((small.len(), small[0].size()), (5, size));
        }
        assert_eq!(MapDigest::new(0).finish().1, (0.0, 1.0));
    }
}
