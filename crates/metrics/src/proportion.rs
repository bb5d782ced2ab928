//! Rates as proportions of counted images, with confidence intervals.

use crate::normal;

/// The confidence of the intervals of reports.
pub const CONFIDENCE: f64 = 0.95;

/// A share of a number of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    /// Images that are counted, at most `trials`.
    pub successes: usize,
    /// All images.
    pub trials: usize,
}

impl Proportion {
    /// The share, in 0..=1; NaN of no images.
    pub fn share(self) -> f64 {
        self.successes as f64 / self.trials as f64
    }

    /// The share of the other images.
    #[must_use]
    pub fn complement(self) -> Self {
        Self { successes: self.trials.saturating_sub(self.successes), ..self }
    }

    /// [`wilson`] of it.
    pub fn interval(self, confidence: f64) -> [f64; 2] {
        wilson(self.successes, self.trials, confidence)
    }
}

/// The Wilson score interval of a binomial proportion: every `p` for which the observed share is
/// within `z` standard deviations of `p`, `z` the normal quantile of `(1 + confidence) / 2`. With
/// `n` trials and `k` successes its bounds are
///
/// ```text
/// (k + z² / 2 ± z √(k (n - k) / n + z² / 4)) / (n + z²)
/// ```
///
/// Lower and upper bound lie in 0..=1. The lower bound of no success is 0, the upper bound of
/// nothing but successes is 1, and no trials leave [0, 1]. More successes than trials count as
/// `trials`. Without continuity correction.
///
/// `confidence` lies between 0 and 1, see [`CONFIDENCE`]; both bounds are NaN for one that does
/// not.
///
/// Source: Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22
/// (1927); recommended by Brown, Cai and DasGupta, *Interval estimation for a binomial proportion*,
/// Statistical Science 16 (2001).
///
/// ```
/// // No false alarm on 41 good images: the rate may still be 8.6 %.
/// let [low, high] = fmam_metrics::wilson(0, 41, fmam_metrics::CONFIDENCE);
/// assert_eq!(low, 0.0);
/// assert!((high - 0.0857).abs() < 1e-4);
/// ```
pub fn wilson(successes: usize, trials: usize, confidence: f64) -> [f64; 2] {
    if !(confidence > 0.0 && confidence < 1.0) {
        return [f64::NAN; 2];
    }
    if trials == 0 {
        return [0.0, 1.0];
    }
    let z = normal::quantile((1.0 + confidence) / 2.0);
    let (successes, failures) = (successes.min(trials), trials.saturating_sub(successes));
    let (k, n) = (successes as f64, trials as f64);
    let centre = k + z * z / 2.0;
    let half_width = z * (k * failures as f64 / n + z * z / 4.0).sqrt();
    // Rounding must not move the bounds that are 0 and 1.
    let low = if successes == 0 { 0.0 } else { (centre - half_width) / (n + z * z) };
    let high = if failures == 0 { 1.0 } else { (centre + half_width) / (n + z * z) };
    [low.max(0.0), high.min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_nothing_and_of_everything_are_exact() {
        for n in [1, 2, 7, 41, 1000] {
            assert_eq!(wilson(0, n, CONFIDENCE)[0], 0.0);
            assert_eq!(wilson(n, n, CONFIDENCE)[1], 1.0);
            // z² / (n + z²)
            let z = 1.959_963_984_540_054_f64;
            assert!((wilson(0, n, CONFIDENCE)[1] - z * z / (n as f64 + z * z)).abs() < 1e-14);
        }
        assert_eq!(wilson(0, 0, CONFIDENCE), [0.0, 1.0]);
        assert_eq!(wilson(9, 4, CONFIDENCE), wilson(4, 4, CONFIDENCE));
        for confidence in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(wilson(1, 2, confidence).iter().all(|bound| bound.is_nan()), "{confidence}");
        }
    }

    #[test]
    fn an_interval_mirrors_that_of_the_complement() {
        for k in 0..=12 {
            let part = Proportion { successes: k, trials: 12 };
            let ([low, high], [other_low, other_high]) =
                (part.interval(0.9), part.complement().interval(0.9));
            assert!((low - (1.0 - other_high)).abs() < 1e-15 && (high - (1.0 - other_low)).abs() < 1e-15);
            assert!(low <= part.share() && part.share() <= high, "{k}");
        }
    }
}
