use std::sync::OnceLock;

use crate::ranked::Ranked;
use crate::summary::{Totals, after};
use crate::{Cut, MetricError, PixelMetrics, PixelSummary};

/// The pixels of all maps by their scores, checked and sorted once, with the ground-truth regions:
/// the 8-connected components of the masks. [`PixelBuilder`](crate::PixelBuilder) makes one of maps
/// of any sizes, in bounded memory.
///
/// Since a ranking has pixels of both classes, every figure below is defined. An error means that
/// pixels beyond the memory budget could not be read back.
#[derive(Debug)]
pub struct PixelRanking {
    ranked: Box<dyn Ranked>,
    totals: Totals,
    summary: OnceLock<Result<PixelSummary, MetricError>>,
}

impl PixelRanking {
    pub(crate) fn of(ranked: Box<dyn Ranked>, totals: Totals) -> Self {
        Self { ranked, totals, summary: OnceLock::new() }
    }

    /// Number of normal pixels, at least 1.
    pub fn n_normal(&self) -> usize {
        self.totals.n_normal
    }

    /// Number of anomalous pixels, at least 1.
    pub fn n_anomalous(&self) -> usize {
        self.totals.n_anomalous
    }

    /// Number of ground-truth regions, at least 1.
    pub fn n_regions(&self) -> usize {
        self.totals.n_regions
    }

    /// Every distinct score as a threshold, from the highest down. The last cut calls everything
    /// anomalous. A threshold of f64 is rounded to f32.
    ///
    /// # Errors
    /// Of an item: [`MetricError::Spill`], which ends the cuts.
    pub fn cuts(&self) -> impl Iterator<Item = Result<Cut, MetricError>> {
        let nothing = Cut { threshold: f32::INFINITY, false_positives: 0, true_positives: 0 };
        self.ranked.steps().scan(nothing, |cut, step| {
            Some(step.map(|step| {
                *cut = after(*cut, &step);
                *cut
            }))
        })
    }

    /// Figures, curves and histograms, all of one walk over the cuts, which is made once.
    ///
    /// # Errors
    /// [`MetricError::Spill`].
    pub fn summary(&self) -> Result<&PixelSummary, MetricError> {
        let summary = self.summary.get_or_init(|| self.totals.summarise(self.ranked.steps()));
        summary.as_ref().map_err(Clone::clone)
    }

    /// Area under the per-region-overlap curve, in 0..=1. At every threshold the curve has the
    /// share of a region that lies at or above it, mean over all regions, against the share of all
    /// normal pixels (of anomalous and normal images) that do. It is integrated by trapezoids up to
    /// `fpr_limit`, a fraction in (0, 1] where it is interpolated linearly, and divided by
    /// `fpr_limit`.
    ///
    /// # Errors
    /// [`MetricError::FprLimit`], [`MetricError::Spill`].
    ///
    /// # Source
    /// Bergmann et al. 2021, *The MVTec Anomaly Detection Dataset*, IJCV 129. Every distinct score
    /// is a threshold, where many implementations take some hundred evenly spaced ones.
    pub fn aupro(&self, fpr_limit: f64) -> Result<f64, MetricError> {
        // Written so that a NaN limit is refused too.
        if !(fpr_limit > 0.0 && fpr_limit <= 1.0) {
            return Err(MetricError::FprLimit { limit: fpr_limit });
        }
        self.totals.aupro(fpr_limit, self.ranked.steps())
    }

    /// Pixel AUROC, pixel average precision and AUPRO up to `fpr_limit`.
    ///
    /// # Errors
    /// As [`PixelRanking::aupro`].
    pub fn metrics(&self, fpr_limit: f64) -> Result<PixelMetrics, MetricError> {
        let aupro = self.aupro(fpr_limit)?;
        Ok(PixelMetrics { aupro, ..self.summary()?.metrics })
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
    use crate::{FPR_LIMIT, Ranking};

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
        let PixelSummary { metrics, roc, pro, .. } = ranking.summary().unwrap();
        let area = |curve: &[[f64; 2]]| {
            curve.windows(2).map(|p| (p[1][0] - p[0][0]) * (p[0][1] + p[1][1]) / 2.0).sum::<f64>()
        };
        assert!(roc.len() < 300 && pro.len() < 300);
        for curve in [roc, pro] {
            assert_eq!((curve[0], curve[curve.len() - 1]), ([0.0; 2], [1.0; 2]));
            assert!(curve.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]));
        }
        assert!((area(roc) - metrics.auroc).abs() < 2e-3);
        assert!((area(pro) - ranking.aupro(1.0).unwrap()).abs() < 2e-3);
    }

    #[test]
    fn a_corner_of_the_curve_is_kept() {
        // Up to (0, 1) at once, then to the right at once.
        let ranking = PixelRanking::new([(&[2.0, 2.0, 1.0, 1.0][..], &[1, 1, 0, 0][..])], 2, 2).unwrap();
        assert_eq!(ranking.summary().unwrap().roc, [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
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
