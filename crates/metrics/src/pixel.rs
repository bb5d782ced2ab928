use crate::ranking::{check_classes, check_lengths, separate};
use crate::{MetricError, Ranking, radix, region};

/// The false positive rate up to which AUPRO is integrated by convention.
pub const FPR_LIMIT: f64 = 0.3;

/// A [`Ranking`] of the pixels of all maps, which also knows the ground-truth regions: the
/// 8-connected components of the masks.
///
/// It holds 4 bytes a normal and 8 an anomalous pixel, and twice that while it sorts.
#[derive(Debug, Clone)]
pub struct PixelRanking {
    ranking: Ranking,
    /// For every anomalous pixel, in the ranking's order, the number of pixels of its region.
    areas: Vec<u32>,
    n_regions: usize,
}

/// The pixel-level figures of one set of maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelMetrics {
    /// [`Ranking::auroc`] over all pixels.
    pub auroc: f64,
    /// [`Ranking::average_precision`] over all pixels.
    pub average_precision: f64,
    /// [`PixelRanking::aupro`].
    pub aupro: f64,
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
        let (mut normal, mut anomalous, mut n_regions) = (Vec::new(), Vec::new(), 0);
        for (map, (scores, mask)) in images.into_iter().enumerate() {
            let (scores, mask) = (scores.as_ref(), mask.as_ref());
            let mut add = || {
                if height.checked_mul(width) != Some(scores.len()) {
                    return Err(MetricError::MapLength { height, width, actual: scores.len() });
                }
                check_lengths(scores, mask)?;
                let regions = region::regions(mask, width);
                n_regions += regions.count;
                separate(
                    scores,
                    mask,
                    |_, key| normal.push(key),
                    |index, key| anomalous.push((key, regions.areas[index])),
                )
            };
            add().map_err(|error| MetricError::InMap { map, source: Box::new(error) })?;
        }
        check_classes(normal.len(), anomalous.len())?;
        radix::sort_by_key(&mut normal, |&key| key);
        radix::sort_by_key(&mut anomalous, |&(key, _)| key);
        let (anomalous, areas) = anomalous.into_iter().unzip();
        Ok(Self { ranking: Ranking { normal, anomalous }, areas, n_regions })
    }

    /// The ranking of all pixels, for every figure that regions do not enter.
    pub fn ranking(&self) -> &Ranking {
        &self.ranking
    }

    /// Number of ground-truth regions, at least 1.
    pub fn n_regions(&self) -> usize {
        self.n_regions
    }

    /// Area under the per-region-overlap curve, in 0..=1. At every threshold the curve has the
    /// share of a region that lies at or above it, mean over all regions, against the share of all
    /// normal pixels (of anomalous and normal images) that do. It is integrated by trapezoids up to
    /// `fpr_limit`, a fraction in (0, 1] where it is interpolated linearly, and divided by
    /// `fpr_limit`.
    ///
    /// # Errors
    /// [`MetricError::FprLimit`].
    ///
    /// # Source
    /// Bergmann et al. 2021, *The MVTec Anomaly Detection Dataset*, IJCV 129. Every distinct score
    /// is a threshold, where many implementations take some hundred evenly spaced ones.
    pub fn aupro(&self, fpr_limit: f64) -> Result<f64, MetricError> {
        // Written so that a NaN limit is refused too.
        if !(fpr_limit > 0.0 && fpr_limit <= 1.0) {
            return Err(MetricError::FprLimit { limit: fpr_limit });
        }
        // A pixel adds the share that it has in its region, and a region its share in the mean.
        let (mut integral, mut overlap, mut fpr, mut found) = (0.0, 0.0, 0.0, 0);
        let n_pixels = self.areas.len();
        for cut in self.ranking.cuts() {
            let gained = &self.areas[n_pixels - cut.true_positives..n_pixels - found];
            let gain = gained.iter().map(|&area| 1.0 / f64::from(area)).sum::<f64>() / self.n_regions as f64;
            let next_fpr = self.ranking.fpr(cut);
            if next_fpr >= fpr_limit {
                let width = fpr_limit - fpr;
                let gain_at_limit = gain * width / (next_fpr - fpr);
                integral += width * (overlap + gain_at_limit / 2.0);
                break;
            }
            integral += (next_fpr - fpr) * (overlap + gain / 2.0);
            overlap += gain;
            fpr = next_fpr;
            found = cut.true_positives;
        }
        // Rounding of the many small shares may exceed the whole by a last digit.
        Ok((integral / fpr_limit).min(1.0))
    }

    /// Pixel AUROC, pixel average precision and AUPRO up to `fpr_limit`.
    ///
    /// # Errors
    /// [`MetricError::FprLimit`].
    pub fn metrics(&self, fpr_limit: f64) -> Result<PixelMetrics, MetricError> {
        Ok(PixelMetrics {
            auroc: self.ranking.auroc(),
            average_precision: self.ranking.average_precision(),
            aupro: self.aupro(fpr_limit)?,
        })
    }
}

impl PixelRanking {
    /// The ROC and the per-region-overlap curve over all thresholds, for a plot: the points (false
    /// positive rate, true positive rate or mean overlap) from (0, 0) to (1, 1), neighbours of
    /// which lie at least `step` apart in the sum of both coordinates' differences. Between
    /// neighbours the exact curve leaves the straight line by less than `step`, but for ties.
    ///
    /// # Source
    /// As [`PixelRanking::aupro`].
    pub fn plot_curves(&self, step: f64) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
        let mut roc = PlotCurve::new(step);
        let mut pro = PlotCurve::new(step);
        let (n_pixels, mut overlap, mut found) = (self.areas.len(), 0.0, 0);
        for cut in self.ranking.cuts() {
            let gained = &self.areas[n_pixels - cut.true_positives..n_pixels - found];
            overlap += gained.iter().map(|&area| 1.0 / f64::from(area)).sum::<f64>() / self.n_regions as f64;
            found = cut.true_positives;
            let fpr = self.ranking.fpr(cut);
            roc.push([fpr, found as f64 / n_pixels as f64]);
            pro.push([fpr, overlap.min(1.0)]);
        }
        (roc.finish(), pro.finish())
    }
}

/// Points of a rising curve, as far apart as a plot needs them.
struct PlotCurve {
    step: f64,
    kept: Vec<[f64; 2]>,
    /// The point before, where it was not kept.
    skipped: Option<[f64; 2]>,
}

impl PlotCurve {
    fn new(step: f64) -> Self {
        Self { step, kept: vec![[0.0; 2]], skipped: None }
    }

    fn push(&mut self, point: [f64; 2]) {
        let far = |from: &[f64; 2]| point[0] - from[0] + point[1] - from[1] >= self.step;
        if !self.kept.last().is_some_and(far) {
            self.skipped = Some(point);
            return;
        }
        // A long way after a short one: the corner between them belongs to the curve.
        self.kept.extend(self.skipped.take().filter(far));
        self.kept.push(point);
    }

    fn finish(mut self) -> Vec<[f64; 2]> {
        self.kept.extend(self.skipped);
        // The sums of shares lost a little by rounding.
        if let Some(last) = self.kept.last_mut() {
            *last = [1.0; 2];
        }
        self.kept
    }
}

/// [`PixelRanking::aupro`] of pairs of anomaly map and mask of `height` by `width`.
///
/// # Errors
/// As [`PixelRanking::new`] and [`PixelRanking::aupro`].
pub fn aupro<S: AsRef<[f32]>, L: AsRef<[u8]>>(
    images: impl IntoIterator<Item = (S, L)>,
    height: usize,
    width: usize,
    fpr_limit: f64,
) -> Result<f64, MetricError> {
    PixelRanking::new(images, height, width)?.aupro(fpr_limit)
}

/// [`PixelRanking::metrics`] of pairs of anomaly map and mask of `height` by `width`: all three
/// figures for one sort.
///
/// # Errors
/// As [`PixelRanking::new`] and [`PixelRanking::aupro`].
pub fn pixel_metrics<S: AsRef<[f32]>, L: AsRef<[u8]>>(
    images: impl IntoIterator<Item = (S, L)>,
    height: usize,
    width: usize,
    fpr_limit: f64,
) -> Result<PixelMetrics, MetricError> {
    PixelRanking::new(images, height, width)?.metrics(fpr_limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_aupro(map: &[f32], mask: &[u8], fpr_limit: f64, expected: f64) {
        let value = aupro([(map, mask)], 1, map.len(), fpr_limit).unwrap();
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn a_perfect_map_has_one_and_an_inverted_one_has_zero() {
        check_aupro(&[0.0, 1.0, 0.0, 0.5, 0.5, 0.0], &[0, 1, 0, 1, 1, 0], FPR_LIMIT, 1.0);
        check_aupro(&[1.0, 0.0, 1.0, 0.0], &[0, 1, 0, 1], FPR_LIMIT, 0.0);
    }

    #[test]
    fn a_constant_map_is_the_diagonal() {
        // From (0, 0) to (1, 1): up to the limit L the area is L²/2, and L/2 when divided by L.
        check_aupro(&[0.5; 4], &[0, 1, 0, 1], 0.3, 0.15);
        check_aupro(&[0.5; 4], &[0, 1, 0, 1], 1.0, 0.5);
    }

    #[test]
    fn regions_count_alike_whatever_their_area() {
        // Regions of 3 and 1 pixels; 2 normal pixels. Thresholds from the top: the single pixel
        // (overlap 1/2), a normal one (FPR 1/2), the three (overlap 1), the other normal one (FPR
        // 1).
        let (map, mask) = ([1.0, 1.0, 1.0, 2.0, 3.0, 0.0], [1, 1, 1, 0, 1, 0]);
        check_aupro(&map, &mask, 0.5, 0.5);
        check_aupro(&map, &mask, 1.0, 0.75);
    }

    #[test]
    fn plotted_curves_have_the_area_of_the_exact_ones() {
        let map: Vec<f32> = (0..4000_u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        let mask: Vec<u8> = (0..4000).map(|k| u8::from(k % 37 < 5 && map[k] > 4e6)).collect();
        let ranking = PixelRanking::new([(map.as_slice(), mask.as_slice())], 50, 80).unwrap();
        let (roc, pro) = ranking.plot_curves(0.01);
        let area = |curve: &[[f64; 2]]| {
            curve.windows(2).map(|p| (p[1][0] - p[0][0]) * (p[0][1] + p[1][1]) / 2.0).sum::<f64>()
        };
        assert!(roc.len() < 300 && pro.len() < 300);
        for curve in [&roc, &pro] {
            assert_eq!((curve[0], curve[curve.len() - 1]), ([0.0; 2], [1.0; 2]));
            assert!(curve.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]));
        }
        assert!((area(&roc) - ranking.ranking().auroc()).abs() < 2e-3);
        assert!((area(&pro) - ranking.aupro(1.0).unwrap()).abs() < 2e-3);
    }

    #[test]
    fn a_corner_of_the_curve_is_kept() {
        // Up to (0, 1) at once, then to the right at once.
        let ranking = PixelRanking::new([(&[2.0, 2.0, 1.0, 1.0][..], &[1, 1, 0, 0][..])], 2, 2).unwrap();
        assert_eq!(ranking.plot_curves(0.01).0, [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    }

    #[test]
    fn the_curve_is_interpolated_at_the_limit() {
        // One tie of the region's only pixel and one of two normal pixels: the line (0, 0) to (1/2,
        // 1). At 0.2 it is 0.4 high.
        check_aupro(&[1.0, 1.0, 0.0], &[1, 0, 0], 0.2, 0.2);
    }

    #[test]
    fn normal_pixels_of_all_images_make_up_the_rate() {
        // The false alarm is in a normal image and comes before the defect.
        let images = [([0.5, 0.0], [1, 0]), ([0.9, 0.0], [0, 0]), ([0.0, 0.0], [0, 0])];
        // Five normal pixels: (0.2, 0), (0.2, 1), so that 0.1 of 0.3 is covered.
        let value = aupro(images, 1, 2, 0.3).unwrap();
        assert!((value - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn all_figures_of_one_ranking_are_those_of_the_single_functions() {
        let images = [([0.5, 0.7, 0.1, 0.5], [1, 0, 0, 1]), ([0.9, 0.2, 0.5, 0.0], [0, 1, 0, 0])];
        let all = pixel_metrics(images, 2, 2, 0.4).unwrap();
        let ranking = Ranking::from_maps(images).unwrap();
        assert_eq!(all.auroc, ranking.auroc());
        assert_eq!(all.average_precision, ranking.average_precision());
        assert_eq!(all.aupro, aupro(images, 2, 2, 0.4).unwrap());
        assert_eq!(PixelRanking::new(images, 2, 2).unwrap().n_regions(), 2);
    }

    #[test]
    fn unusable_input_is_an_error() {
        let in_map = |map, source| Err(MetricError::InMap { map, source: Box::new(source) });
        let good = (vec![0.0, 1.0], vec![0, 1]);
        let with =
            |map: &[f32], mask: &[u8]| aupro([good.clone(), (map.to_vec(), mask.to_vec())], 1, 2, FPR_LIMIT);
        assert_eq!(with(&[0.0], &[0]), in_map(1, MetricError::MapLength { height: 1, width: 2, actual: 1 }));
        assert_eq!(with(&[0.0; 2], &[0]), in_map(1, MetricError::LengthMismatch { scores: 2, labels: 1 }));
        let no_columns = aupro([([0.0; 0], [1; 1])], 7, 0, FPR_LIMIT);
        assert_eq!(no_columns, in_map(0, MetricError::LengthMismatch { scores: 0, labels: 1 }));
        assert_eq!(with(&[0.0, f32::NAN], &[0, 0]), in_map(1, MetricError::Nan { index: 1 }));
        assert_eq!(with(&[0.0; 2], &[0, 9]), in_map(1, MetricError::NotALabel { index: 1, value: 9 }));
        assert_eq!(aupro([([0.0; 2], [0; 2])], 1, 2, 0.3), Err(MetricError::NoAnomalous));
        assert_eq!(aupro([([0.0; 2], [1; 2])], 1, 2, 0.3), Err(MetricError::NoNormal));
        assert_eq!(aupro([([0.0; 0], [0; 0])], 0, 7, 0.3), Err(MetricError::Empty));
        for limit in [0.0, -0.1, 1.01] {
            assert_eq!(aupro([good.clone()], 1, 2, limit), Err(MetricError::FprLimit { limit }));
        }
        assert!(matches!(aupro([good.clone()], 1, 2, f64::NAN), Err(MetricError::FprLimit { .. })));
    }
}
