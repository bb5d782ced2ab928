use std::io::{self, Read, Seek, Write};

use crate::radix::{Key, Score};
use crate::ranked::{InMemory, Keys, Ranked, Spilled};
use crate::ranking::{check_classes, check_lengths};
use crate::runs::{OpenStream, SpillStream};
use crate::summary::Totals;
use crate::{MetricError, PixelRanking, region};

/// Runs of a class that are merged at once. Each takes a buffer of 64 KiB.
const MAX_RUNS: usize = 128;

/// Pixels between two looks at the memory budget, at most.
const BLOCK: usize = 4096;

/// Collects the pixels of one map after the other, each of its own size, for a [`PixelRanking`].
///
/// A normal pixel takes 4 bytes and an anomalous one 8, with scores of f64 8 and 16, and twice that
/// while they are sorted. [`PixelBuilder::spilling`] sets a limit to it.
///
/// ```
/// use fmam_metrics::PixelBuilder;
///
/// let mut pixels = PixelBuilder::new();
/// pixels.add(&[0.1_f32, 0.2, 0.9, 0.1], &[0, 0, 1, 0], 2, None)?;
/// // A map of one row, whose last two pixels are padding.
/// pixels.add(&[0.1, 0.3, 9.0, 9.0], &[0; 4], 4, Some(&[1, 1, 0, 0]))?;
/// assert_eq!(pixels.finish()?.summary()?.metrics.auroc, 1.0);
/// # Ok::<(), fmam_metrics::MetricError>(())
/// ```
pub struct PixelBuilder<S: Score = f32> {
    keys: Keys<S::Key>,
    spill: Option<Spill<S::Key>>,
    n_maps: usize,
    n_normal: usize,
    n_anomalous: usize,
    n_regions: usize,
    /// Sums of the normal and of the anomalous scores, in the order of the maps.
    sums: [f64; 2],
    /// Lowest and highest key.
    range: [S::Key; 2],
}

struct Spill<K> {
    budget: usize,
    max_runs: usize,
    open: OpenStream,
    spilled: Option<Spilled<K>>,
}

impl<S: Score> PixelBuilder<S> {
    /// No pixels yet, and no limit to their memory.
    #[expect(clippy::new_without_default, reason = "a builder of this type is not a value with a default")]
    pub fn new() -> Self {
        Self {
            keys: Keys::new(),
            spill: None,
            n_maps: 0,
            n_normal: 0,
            n_anomalous: 0,
            n_regions: 0,
            sums: [0.0; 2],
            range: [S::Key::HIGHEST, S::Key::LOWEST],
        }
    }

    /// Limits the memory of pixels and their sort to `budget` bytes. Pixels beyond it are sorted
    /// and written to streams that `open` gives, each new and empty: two at first, and another one
    /// at a time where there are more than a hundred times `budget` bytes. A stream is dropped when
    /// it is no longer needed. A score of f32 takes about a byte there, an anomalous one three to
    /// four, and one of f64 about six.
    ///
    /// The figures are those without a limit, to the last bit. Besides `budget`, there are the
    /// regions of the map at hand and 20 MiB at most.
    #[must_use]
    pub fn spilling<T, F>(self, budget: usize, mut open: F) -> Self
    where
        T: Read + Write + Seek + Send + 'static,
        F: FnMut() -> io::Result<T> + Send + 'static,
    {
        let open: OpenStream = Box::new(move || Ok(Box::new(open()?) as Box<dyn SpillStream>));
        Self { spill: Some(Spill { budget, max_runs: MAX_RUNS, open, spilled: None }), ..self }
    }

    /// Adds an anomaly map of `width` columns, row-major, and its mask (0 normal, 1 anomalous). A
    /// pixel that is 0 in `inside` is left out of everything, be it padding or outside of a region
    /// of interest: its score and its mask are not looked at. The regions are those of the pixels
    /// that count.
    ///
    /// # Errors
    /// [`MetricError::InMap`], which leaves the pixels as they were: for another length
    /// ([`MetricError::LengthMismatch`], [`MetricError::RowLength`],
    /// [`MetricError::InsideLength`]), [`MetricError::Nan`], [`MetricError::NotALabel`] or
    /// [`MetricError::NotAMark`] in it. [`MetricError::Spill`], after which no pixel can be added.
    pub fn add(
        &mut self,
        scores: &[S],
        mask: &[u8],
        width: usize,
        inside: Option<&[u8]>,
    ) -> Result<(), MetricError> {
        let range = check(scores, mask, width, inside)
            .map_err(|source| MetricError::InMap { map: self.n_maps, source: Box::new(source) })?;
        self.n_maps += 1;
        self.range = [self.range[0].min(range[0]), self.range[1].max(range[1])];
        let counted: Option<Vec<u8>> =
            inside.map(|inside| mask.iter().zip(inside).map(|(label, counts)| label & counts).collect());
        let mask = counted.as_deref().unwrap_or(mask);
        let areas = if mask.contains(&1) {
            let regions = region::regions(mask, width);
            self.n_regions += regions.count;
            regions.areas
        } else {
            Vec::new()
        };
        let [_, bytes] = Keys::<S::Key>::BYTES;
        let block = self.spill.as_ref().map_or(BLOCK, |spill| (spill.budget / 2 / bytes).clamp(1, BLOCK));
        let mut areas = areas.into_iter().peekable();
        let mut of_block: Vec<u32> = Vec::new();
        for start in (0..scores.len()).step_by(block) {
            let block = start..scores.len().min(start + block);
            self.make_room(block.len() * bytes)?;
            of_block.clear();
            // A block without an anomalous pixel needs no areas.
            while let Some((pixel, area)) = areas.next_if(|(pixel, _)| *pixel < block.end) {
                of_block.resize(block.len(), 0);
                of_block[pixel - block.start] = area;
            }
            let of_block = Some(of_block.as_slice()).filter(|areas| !areas.is_empty());
            self.push(&scores[block.clone()], of_block, inside.map(|inside| &inside[block]));
        }
        Ok(())
    }

    /// Adds checked pixels; the area of a normal pixel is 0.
    fn push(&mut self, scores: &[S], areas: Option<&[u32]>, inside: Option<&[u8]>) {
        let before = [self.keys.normal.len(), self.keys.anomalous.len()];
        match (areas, inside) {
            (None, None) => {
                self.keys.normal.extend(scores.iter().map(|score| score.key()));
                self.sums[0] = scores.iter().fold(self.sums[0], |sum, score| sum + score.as_f64());
            }
            _ => {
                for (index, score) in scores.iter().enumerate() {
                    if inside.is_some_and(|inside| inside[index] == 0) {
                        continue;
                    }
                    match areas.map_or(0, |areas| areas[index]) {
                        0 => {
                            self.keys.normal.push(score.key());
                            self.sums[0] += score.as_f64();
                        }
                        area => {
                            self.keys.anomalous.push((score.key(), area));
                            self.sums[1] += score.as_f64();
                        }
                    }
                }
            }
        }
        self.n_normal += self.keys.normal.len() - before[0];
        self.n_anomalous += self.keys.anomalous.len() - before[1];
    }

    /// Spills the keys if, with `more` bytes of them, they and their sort exceed the budget.
    fn make_room(&mut self, more: usize) -> Result<(), MetricError> {
        if let Some(spill) = &mut self.spill
            && !self.keys.is_empty()
            && self.keys.bytes() + more > spill.budget / 2
        {
            spill.append(&mut self.keys).map_err(MetricError::spill)?;
        }
        Ok(())
    }

    /// The ranking of all pixels.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::NoNormal`] or [`MetricError::NoAnomalous`] for all
    /// maps together; [`MetricError::Spill`].
    pub fn finish(self) -> Result<PixelRanking, MetricError> {
        let Self { mut keys, spill, n_normal, n_anomalous, n_regions, sums, range, .. } = self;
        check_classes(n_normal, n_anomalous)?;
        let totals = Totals {
            n_normal,
            n_anomalous,
            n_regions,
            means: [sums[0] / n_normal as f64, sums[1] / n_anomalous as f64],
            range: range.map(Key::score),
        };
        let ranked: Box<dyn Ranked> = match spill {
            Some(Spill { spilled: Some(mut spilled), mut open, max_runs, .. }) => {
                spilled.append(&mut keys, &mut open, max_runs).map_err(MetricError::spill)?;
                Box::new(spilled)
            }
            _ => Box::new(InMemory::new(keys)),
        };
        Ok(PixelRanking::of(ranked, totals))
    }
}

impl<K: Key> Spill<K> {
    fn append(&mut self, keys: &mut Keys<K>) -> io::Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled::new(&mut self.open)?),
        };
        spilled.append(keys, &mut self.open, self.max_runs)
    }
}

impl PixelRanking {
    /// Ranks the pixels of all `images`, each a pair of anomaly map and mask (0 normal, 1
    /// anomalous) of `height` rows by `width` columns, row-major. Masks of normal images are all 0.
    /// A pair may be borrowed or, to be dropped as soon as it is read, owned.
    ///
    /// # Errors
    /// [`MetricError::InMap`] for a map or mask of another length ([`MetricError::MapLength`],
    /// [`MetricError::LengthMismatch`]), [`MetricError::Nan`] or [`MetricError::NotALabel`] in it;
    /// [`MetricError::Empty`], [`MetricError::NoNormal`] or [`MetricError::NoAnomalous`] for all
    /// maps together.
    pub fn new<S, L>(
        images: impl IntoIterator<Item = (S, L)>,
        height: usize,
        width: usize,
    ) -> Result<Self, MetricError>
    where
        S: AsRef<[f32]>,
        L: AsRef<[u8]>,
    {
        let mut pixels = PixelBuilder::new();
        for (map, (scores, mask)) in images.into_iter().enumerate() {
            let (scores, mask) = (scores.as_ref(), mask.as_ref());
            if height.checked_mul(width) != Some(scores.len()) {
                let source = MetricError::MapLength { height, width, actual: scores.len() };
                return Err(MetricError::InMap { map, source: Box::new(source) });
            }
            pixels.add(scores, mask, width, None)?;
        }
        pixels.finish()
    }
}

/// Checks one map and gives its lowest and highest key.
fn check<S: Score>(
    scores: &[S],
    mask: &[u8],
    width: usize,
    inside: Option<&[u8]>,
) -> Result<[S::Key; 2], MetricError> {
    check_lengths(scores.len(), mask.len())?;
    if !scores.is_empty() && scores.len().checked_rem(width) != Some(0) {
        return Err(MetricError::RowLength { width, actual: scores.len() });
    }
    let nothing = [S::Key::HIGHEST, S::Key::LOWEST];
    let joined = |[low, high]: [S::Key; 2], key: S::Key| [low.min(key), high.max(key)];
    let is_nan = |key: S::Key| key < S::Key::LOWEST || key > S::Key::HIGHEST;
    let Some(inside) = inside else {
        let range = scores.iter().fold(nothing, |range, score| joined(range, score.key()));
        if range.iter().any(|&key| is_nan(key))
            && let Some(index) = scores.iter().position(|score| is_nan(score.key()))
        {
            return Err(MetricError::Nan { index });
        }
        if mask.iter().fold(0, |highest, &label| highest.max(label)) > 1
            && let Some(index) = mask.iter().position(|&label| label > 1)
        {
            return Err(MetricError::NotALabel { index, value: mask[index] });
        }
        return Ok(range);
    };
    if inside.len() != scores.len() {
        return Err(MetricError::InsideLength { scores: scores.len(), inside: inside.len() });
    }
    let mut range = nothing;
    for (index, ((score, &label), &mark)) in scores.iter().zip(mask).zip(inside).enumerate() {
        match mark {
            0 => continue,
            1 if is_nan(score.key()) => return Err(MetricError::Nan { index }),
            1 if label > 1 => return Err(MetricError::NotALabel { index, value: label }),
            1 => range = joined(range, score.key()),
            value => return Err(MetricError::NotAMark { index, value }),
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::Ranking;

    #[derive(Debug, Clone)]
    struct Image {
        width: usize,
        scores: Vec<f32>,
        mask: Vec<u8>,
        inside: Option<Vec<u8>>,
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-4_i8..4).prop_map(|level| f32::from(level) / 4.0),
            2 => -1.0_f32..1.0,
            1 => prop::sample::select(vec![-0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-40]),
        ]
    }

    /// Images of any sizes; the last one has pixels of both classes.
    fn images() -> impl Strategy<Value = Vec<Image>> {
        let image = (1_usize..7, 1_usize..7, any::<bool>()).prop_flat_map(|(width, height, has_inside)| {
            let pixel = (score(), prop::bool::weighted(0.3), prop::bool::weighted(0.8));
            prop::collection::vec(pixel, width * height).prop_map(move |pixels| Image {
                width,
                scores: pixels.iter().map(|pixel| pixel.0).collect(),
                mask: pixels.iter().map(|pixel| u8::from(pixel.1)).collect(),
                inside: has_inside.then(|| pixels.iter().map(|pixel| u8::from(pixel.2)).collect()),
            })
        });
        prop::collection::vec(image, 0..6).prop_map(|mut images| {
            images.push(Image { width: 2, scores: vec![0.25, 0.5], mask: vec![0, 1], inside: None });
            images
        })
    }

    fn rank<S: Score>(
        mut pixels: PixelBuilder<S>,
        images: &[Image],
        convert: impl Fn(f32) -> S,
    ) -> PixelRanking {
        for image in images {
            let scores: Vec<S> = image.scores.iter().copied().map(&convert).collect();
            pixels.add(&scores, &image.mask, image.width, image.inside.as_deref()).unwrap();
        }
        pixels.finish().unwrap()
    }

    /// Everything that a ranking tells, in digits that tell every bit.
    fn told(ranking: &PixelRanking) -> String {
        let cuts: Vec<_> = ranking.cuts().map(Result::unwrap).collect();
        let aupro = [0.01, 0.2, 1.0].map(|limit| ranking.aupro(limit).unwrap());
        format!("{:?} {aupro:?} {} {cuts:?}", ranking.summary().unwrap(), ranking.n_regions())
    }

    /// A builder that spills to memory, and the number of its streams.
    fn spilling<S: Score>(budget: usize, max_runs: usize) -> (PixelBuilder<S>, Arc<AtomicUsize>) {
        let n_streams = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&n_streams);
        let mut pixels = PixelBuilder::new().spilling(budget, move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Cursor::new(Vec::new()))
        });
        if let Some(spill) = &mut pixels.spill {
            spill.max_runs = max_runs;
        }
        (pixels, n_streams)
    }

    proptest! {
        #[test]
        fn spilled_pixels_give_the_same_bits(
            images in images(),
            budget in prop_oneof![Just(0), 1_usize..400],
            max_runs in 2_usize..6,
        ) {
            let in_memory = told(&rank(PixelBuilder::new(), &images, |score| score));
            let (pixels, _) = spilling(budget, max_runs);
            prop_assert_eq!(&told(&rank(pixels, &images, |score| score)), &in_memory);
            prop_assert_eq!(&told(&rank(PixelBuilder::new(), &images, f64::from)), &in_memory);
            let (pixels, _) = spilling(budget, max_runs);
            prop_assert_eq!(&told(&rank(pixels, &images, f64::from)), &in_memory);
        }

        #[test]
        fn figures_are_those_of_the_pixels_inside(images in images()) {
            let ranking = rank(PixelBuilder::new(), &images, |score| score);
            let metrics = ranking.summary().unwrap().metrics;
            let counts = |image: &Image, index: usize| image.inside.as_ref().is_none_or(|inside| inside[index] == 1);
            let pixels = images.iter().flat_map(|image| {
                (0..image.scores.len()).filter(|&index| counts(image, index)).map(|index| (image.scores[index], image.mask[index]))
            });
            let (scores, labels): (Vec<f32>, Vec<u8>) = pixels.unzip();
            let plain = Ranking::new(&scores, &labels).unwrap();
            prop_assert_eq!(metrics.auroc.to_bits(), plain.auroc().to_bits());
            prop_assert_eq!(metrics.average_precision.to_bits(), plain.average_precision().to_bits());
            let cuts: Vec<_> = ranking.cuts().map(Result::unwrap).collect();
            prop_assert_eq!(cuts, plain.cuts().collect::<Vec<_>>());
        }
    }

    #[test]
    fn regions_are_those_of_the_pixels_inside() {
        // The pixel in the middle would join the two regions; its score is not even a number.
        let mut pixels = PixelBuilder::new();
        pixels.add(&[2.0, f32::NAN, 1.0, 0.0], &[1, 9, 1, 0], 4, Some(&[1, 0, 1, 1])).unwrap();
        let ranking = pixels.finish().unwrap();
        assert_eq!((ranking.n_normal(), ranking.n_anomalous(), ranking.n_regions()), (1, 2, 2));
        assert_eq!(ranking.aupro(1.0), Ok(1.0));
    }

    #[test]
    fn the_summary_has_the_distribution_of_each_class() {
        let mut pixels = PixelBuilder::new();
        pixels.add(&[0.0_f32, 1.0, 1.0, 64.0, 32.0, 0.0], &[0, 0, 0, 1, 1, 0], 3, None).unwrap();
        let ranking = pixels.finish().unwrap();
        let summary = ranking.summary().unwrap();
        assert_eq!(summary.range, [0.0, 64.0]);
        assert_eq!((summary.normal.n, summary.normal.mean, summary.normal.deviation), (4, 0.5, 0.5));
        assert_eq!((summary.anomalous.mean, summary.anomalous.deviation), (48.0, 16.0));
        assert_eq!((summary.normal.counts[0], summary.normal.counts[1]), (2, 2));
        assert_eq!((summary.anomalous.counts[32], summary.anomalous.counts[63]), (1, 1));
        assert_eq!(summary.anomalous.counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn a_budget_that_suffices_opens_no_stream_and_a_small_one_few() {
        let image = Image {
            width: 50,
            scores: vec![0.5; 100],
            mask: [vec![1; 10], vec![0; 90]].concat(),
            inside: None,
        };
        let images = vec![image; 40];
        // 3600 normal and 400 anomalous pixels take 4 and 8 bytes, twice, and the block ahead some.
        let (pixels, n_streams) = spilling::<f32>(60_000, 3);
        rank(pixels, &images, |score| score);
        assert_eq!(n_streams.load(Ordering::Relaxed), 0);
        let (pixels, n_streams) = spilling::<f32>(10_000, 100);
        rank(pixels, &images, |score| score);
        assert_eq!(n_streams.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_map_that_is_refused_leaves_the_pixels_as_they_were() {
        let mut pixels = PixelBuilder::new();
        pixels.add(&[0.0, 1.0], &[0, 1], 2, None).unwrap();
        let mut refused = |scores: &[f32], mask: &[u8], width: usize, inside: Option<&[u8]>, source| {
            let error = MetricError::InMap { map: 1, source: Box::new(source) };
            assert_eq!(pixels.add(scores, mask, width, inside), Err(error));
        };
        refused(&[0.0; 3], &[0; 2], 3, None, MetricError::LengthMismatch { scores: 3, labels: 2 });
        refused(&[0.0; 3], &[0; 3], 2, None, MetricError::RowLength { width: 2, actual: 3 });
        refused(&[0.0; 3], &[0; 3], 0, None, MetricError::RowLength { width: 0, actual: 3 });
        refused(&[9.0, f32::NAN], &[0; 2], 2, None, MetricError::Nan { index: 1 });
        refused(&[9.0, -f32::NAN], &[0; 2], 2, None, MetricError::Nan { index: 1 });
        refused(&[9.0; 2], &[1, 2], 2, None, MetricError::NotALabel { index: 1, value: 2 });
        refused(&[9.0; 2], &[0; 2], 2, Some(&[1]), MetricError::InsideLength { scores: 2, inside: 1 });
        refused(&[9.0; 2], &[0; 2], 2, Some(&[1, 7]), MetricError::NotAMark { index: 1, value: 7 });
        refused(&[9.0, f32::NAN], &[0; 2], 2, Some(&[0, 1]), MetricError::Nan { index: 1 });
        refused(&[9.0; 2], &[9; 2], 2, Some(&[0, 1]), MetricError::NotALabel { index: 1, value: 9 });
        let ranking = pixels.finish().unwrap();
        assert_eq!((ranking.n_normal(), ranking.n_anomalous()), (1, 1));
        assert_eq!(ranking.summary().unwrap().range, [0.0, 1.0]);
    }

    #[test]
    fn a_place_that_cannot_be_opened_is_an_error_with_its_reason() {
        let open =
            || Err::<Cursor<Vec<u8>>, _>(io::Error::new(io::ErrorKind::StorageFull, "no room in /tmp"));
        let mut pixels = PixelBuilder::new().spilling(8, open);
        let error = pixels.add(&[0.0_f32; 4], &[0, 0, 1, 1], 2, None).unwrap_err();
        assert!(matches!(&error, MetricError::Spill(source) if source.kind() == io::ErrorKind::StorageFull));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no room in /tmp");
    }
}
