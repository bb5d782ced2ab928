//! All pixel-level figures and curves in one walk over the cuts.

use crate::ranked::Step;
use crate::{Cut, MetricError};

/// The false positive rate up to which AUPRO is integrated by convention.
pub const FPR_LIMIT: f64 = 0.3;

/// Distance of neighbouring points of a curve of [`PixelSummary`], the sum of both coordinates'
/// differences.
pub const CURVE_STEP: f64 = 0.01;

/// Bins of the histograms of [`PixelSummary`].
pub const N_BINS: usize = 64;

/// The pixel-level figures of one set of maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelMetrics {
    /// Area under the ROC curve of all pixels, as [`Ranking::auroc`](crate::Ranking::auroc).
    pub auroc: f64,
    /// Average precision of all pixels, as
    /// [`Ranking::average_precision`](crate::Ranking::average_precision).
    pub average_precision: f64,
    /// [`PixelRanking::aupro`](crate::PixelRanking::aupro).
    pub aupro: f64,
}

/// Figures, curves and histograms of the pixels of one set of maps.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelSummary {
    /// The figures, AUPRO up to [`FPR_LIMIT`].
    pub metrics: PixelMetrics,
    /// The ROC curve over all thresholds, for a plot: the points (false positive rate, true
    /// positive rate) from (0, 0) to (1, 1), neighbours of which lie at least [`CURVE_STEP`] apart.
    /// Between neighbours the exact curve leaves the straight line by less than that, but for ties.
    pub roc: Vec<[f64; 2]>,
    /// The per-region-overlap curve (false positive rate, mean overlap), as `roc`.
    pub pro: Vec<[f64; 2]>,
    /// Lowest and highest score, the outer edges of the bins of both histograms.
    pub range: [f64; 2],
    /// The scores of the normal pixels.
    pub normal: ScoreHistogram,
    /// The scores of the anomalous pixels.
    pub anomalous: ScoreHistogram,
}

/// The distribution of the scores of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreHistogram {
    /// Number of pixels, at least 1.
    pub n: usize,
    /// Mean score.
    pub mean: f64,
    /// Standard deviation of the scores, divisor `n`.
    pub deviation: f64,
    /// Pixels in each of [`N_BINS`] bins of equal width, from the lowest score to the highest. The
    /// highest score belongs to the last bin; where all scores are equal, so do they.
    pub counts: Vec<u64>,
}

/// The totals behind every rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) n_normal: usize,
    pub(crate) n_anomalous: usize,
    pub(crate) n_regions: usize,
    /// Mean scores of the normal and of the anomalous pixels.
    pub(crate) means: [f64; 2],
    pub(crate) range: [f64; 2],
}

impl Totals {
    fn fpr(&self, cut: Cut) -> f64 {
        cut.false_positives as f64 / self.n_normal as f64
    }

    /// Walks `steps` once for everything.
    pub(crate) fn summarise(
        &self,
        steps: impl Iterator<Item = Result<Step, MetricError>>,
    ) -> Result<PixelSummary, MetricError> {
        let (mut doubled_area, mut precision_sum, mut overlap) = (0_u128, 0.0, 0.0);
        let mut aupro = Aupro::new(FPR_LIMIT);
        let (mut roc, mut pro) = (PlotCurve::new(), PlotCurve::new());
        let mut classes = self.means.map(Distribution::new);
        let mut before = Cut { threshold: f32::INFINITY, false_positives: 0, true_positives: 0 };
        for step in steps {
            let step = step?;
            let cut = after(before, &step);
            doubled_area += step.normal as u128 * (cut.true_positives + before.true_positives) as u128;
            let precision = cut.true_positives as f64 / (cut.true_positives + cut.false_positives) as f64;
            precision_sum += step.anomalous as f64 * precision;
            aupro.add(self, cut, &step);
            overlap += step.shares / self.n_regions as f64;
            let fpr = self.fpr(cut);
            roc.push([fpr, cut.true_positives as f64 / self.n_anomalous as f64]);
            pro.push([fpr, overlap.min(1.0)]);
            for (class, count) in classes.iter_mut().zip([step.normal, step.anomalous]) {
                class.add(self.range, step.score, count);
            }
            before = cut;
        }
        let pairs = 2.0 * self.n_normal as f64 * self.n_anomalous as f64;
        let metrics = PixelMetrics {
            auroc: doubled_area as f64 / pairs,
            average_precision: precision_sum / self.n_anomalous as f64,
            aupro: aupro.finish(),
        };
        let [normal, anomalous] = classes.map(Distribution::finish);
        let (roc, pro) = (roc.finish(), pro.finish());
        Ok(PixelSummary { metrics, roc, pro, range: self.range, normal, anomalous })
    }

    /// AUPRO up to a limit in (0, 1]; no step after the limit is asked for.
    pub(crate) fn aupro(
        &self,
        limit: f64,
        steps: impl Iterator<Item = Result<Step, MetricError>>,
    ) -> Result<f64, MetricError> {
        let mut aupro = Aupro::new(limit);
        let mut cut = Cut { threshold: f32::INFINITY, false_positives: 0, true_positives: 0 };
        for step in steps {
            let step = step?;
            cut = after(cut, &step);
            aupro.add(self, cut, &step);
            if aupro.is_over {
                break;
            }
        }
        Ok(aupro.finish())
    }
}

/// The cut at the score of a step.
pub(crate) fn after(cut: Cut, step: &Step) -> Cut {
    Cut {
        threshold: step.score as f32,
        false_positives: cut.false_positives + step.normal,
        true_positives: cut.true_positives + step.anomalous,
    }
}

/// The area under the per-region-overlap curve as far as it has been walked.
struct Aupro {
    limit: f64,
    integral: f64,
    overlap: f64,
    fpr: f64,
    is_over: bool,
}

impl Aupro {
    fn new(limit: f64) -> Self {
        Self { limit, integral: 0.0, overlap: 0.0, fpr: 0.0, is_over: false }
    }

    fn add(&mut self, totals: &Totals, cut: Cut, step: &Step) {
        if self.is_over {
            return;
        }
        // A pixel adds the share that it has in its region, and a region its share in the mean.
        let gain = step.shares / totals.n_regions as f64;
        let next_fpr = totals.fpr(cut);
        if next_fpr >= self.limit {
            let width = self.limit - self.fpr;
            let gain_at_limit = gain * width / (next_fpr - self.fpr);
            self.integral += width * (self.overlap + gain_at_limit / 2.0);
            self.is_over = true;
            return;
        }
        self.integral += (next_fpr - self.fpr) * (self.overlap + gain / 2.0);
        self.overlap += gain;
        self.fpr = next_fpr;
    }

    fn finish(&self) -> f64 {
        // Rounding of the many small shares may exceed the whole by a last digit.
        (self.integral / self.limit).min(1.0)
    }
}

/// The histogram of one class as far as it has been walked.
struct Distribution {
    n: usize,
    mean: f64,
    squares: f64,
    counts: Vec<u64>,
}

impl Distribution {
    fn new(mean: f64) -> Self {
        Self { n: 0, mean, squares: 0.0, counts: vec![0; N_BINS] }
    }

    fn add(&mut self, [low, high]: [f64; 2], score: f64, count: usize) {
        if count == 0 {
            return;
        }
        let position = (score - low) / (high - low) * N_BINS as f64;
        // Not `min`: where all scores are equal, the position is NaN.
        let bin = if position < N_BINS as f64 { position as usize } else { N_BINS - 1 };
        self.counts[bin] += count as u64;
        self.n += count;
        self.squares += count as f64 * (score - self.mean).powi(2);
    }

    fn finish(self) -> ScoreHistogram {
        let deviation = (self.squares / self.n as f64).sqrt();
        ScoreHistogram { n: self.n, mean: self.mean, deviation, counts: self.counts }
    }
}

/// Points of a rising curve, as far apart as a plot needs them.
struct PlotCurve {
    kept: Vec<[f64; 2]>,
    /// The point before, where it was not kept.
    skipped: Option<[f64; 2]>,
}

impl PlotCurve {
    fn new() -> Self {
        Self { kept: vec![[0.0; 2]], skipped: None }
    }

    fn push(&mut self, point: [f64; 2]) {
        let far = |from: &[f64; 2]| point[0] - from[0] + point[1] - from[1] >= CURVE_STEP;
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
