//! Thresholds that hold a rate of false alarms, from the scores of good images.

use crate::InspectionError;

/// The scores of images of good parts that the detector did not learn from, sorted.
///
/// A new image of a good part is exchangeable with these `n`: every rank of its score among them is
/// equally likely, whatever the distribution of the scores. The threshold of a rate of false alarms
/// `alpha` is therefore the `ceil((n + 1) (1 - alpha))`-th smallest score, and a new good image
/// scores above it with a probability of at most `alpha`. The probability is over the draw of the
/// held-out images and of the new one.
///
/// This is the conformal quantile of Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random
/// World* (2005); Laxhammar and Falkman, *Inductive conformal anomaly detection* (2015) use it for
/// anomalies.
///
/// ```
/// use fmam_inspection::GoodScores;
///
/// let scores = GoodScores::new((1..=99).map(|k| k as f32).collect())?;
/// assert_eq!(scores.threshold(0.05)?, 95.0);
/// assert_eq!(scores.p_value(95.0), 6.0 / 100.0);
/// // A hundredth is the least that 99 images can promise.
/// assert_eq!((scores.least_rate(), scores.threshold(0.01)?), (0.01, 99.0));
/// assert!(scores.threshold(0.001).is_err());
/// # Ok::<(), fmam_inspection::InspectionError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GoodScores {
    sorted: Vec<f32>,
}

impl GoodScores {
    /// The scores in any order.
    ///
    /// # Errors
    /// [`InspectionError::NoScores`] for none, [`InspectionError::NotFinite`] for one that is not
    /// finite.
    pub fn new(mut scores: Vec<f32>) -> Result<Self, InspectionError> {
        if scores.is_empty() {
            return Err(InspectionError::NoScores);
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(InspectionError::NotFinite { index });
        }
        scores.sort_by(f32::total_cmp);
        Ok(Self { sorted: scores })
    }

    /// The number of scores, at least 1.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The scores, from the lowest.
    pub fn sorted(&self) -> &[f32] {
        &self.sorted
    }

    /// The least rate of false alarms that these scores can promise, `1 / (n + 1)`.
    pub fn least_rate(&self) -> f64 {
        least_rate(self.count())
    }

    /// The threshold for a rate of false alarms `rate`, between 0 and 1: an image is defective
    /// where its score is above it.
    ///
    /// # Errors
    /// [`InspectionError::Rate`] for a rate that is not between 0 and 1,
    /// [`InspectionError::TooFewImages`] where `rate` is below [`GoodScores::least_rate`].
    pub fn threshold(&self, rate: f64) -> Result<f32, InspectionError> {
        let n = self.count();
        check_count(n, rate)?;
        Ok(self.sorted[n - allowed(n, rate)])
    }

    /// The highest of the scores, which is the threshold of [`GoodScores::least_rate`].
    pub fn highest(&self) -> f32 {
        self.sorted[self.count() - 1]
    }

    /// The conformal p-value of a score: `(1 + number of scores at or above it) / (n + 1)`. It is
    /// at most `rate` exactly where the score is above the threshold of `rate`.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.sorted.partition_point(|&known| known < score);
        (1 + self.count() - below) as f64 / (self.count() + 1) as f64
    }
}

/// The least number of held-out good images with which a threshold can promise at most `rate` of
/// false alarms: `ceil(1 / rate) - 1`, and at least 1.
pub fn images_for(rate: f64) -> usize {
    // The correction keeps 1 / 0.01 from being taken for more than 100.
    ((1.0 / rate * (1.0 - ROUNDING)).ceil() as usize).saturating_sub(1).max(1)
}

/// Checks that a threshold of `n` held-out good images can promise a rate of false alarms of at
/// most `rate`.
///
/// # Errors
/// [`InspectionError::Rate`] for a rate that is not between 0 and 1,
/// [`InspectionError::TooFewImages`].
pub fn check_count(n: usize, rate: f64) -> Result<(), InspectionError> {
    check_rate(rate)?;
    if allowed(n, rate) > 0 {
        return Ok(());
    }
    Err(InspectionError::TooFewImages { rate, n, least: least_rate(n), needed: images_for(rate) })
}

fn least_rate(n: usize) -> f64 {
    1.0 / (n + 1) as f64
}

/// Checks that a rate lies between 0 and 1.
///
/// # Errors
/// [`InspectionError::Rate`].
pub fn check_rate(rate: f64) -> Result<(), InspectionError> {
    if rate > 0.0 && rate < 1.0 { Ok(()) } else { Err(InspectionError::Rate { rate }) }
}

/// Relative error of a product of two decimal fractions, and more.
const ROUNDING: f64 = 1e-12;

/// The largest `k` for which `k / (n + 1)` is at most `rate`: a new score is among the `k` highest
/// of `n + 1` with a probability of at most `rate`. At most `n`, also for a rate next to 1.
pub(crate) fn allowed(n: usize, rate: f64) -> usize {
    (((n + 1) as f64 * rate * (1.0 + ROUNDING)).floor() as usize).min(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_above_the_threshold_exactly_where_its_p_value_is_at_most_the_rate() {
        for n in [1, 2, 9, 10, 19, 50, 99] {
            // Some scores are equal.
            let scores = GoodScores::new((0..n).map(|k| ((k * 7) % 13) as f32).collect()).unwrap();
            for rate in [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.9] {
                let Ok(threshold) = scores.threshold(rate) else {
                    assert!(rate < scores.least_rate() && n < images_for(rate), "{n} {rate}");
                    continue;
                };
                assert!(n >= images_for(rate), "{n} {rate}");
                for score in (-1..15).map(|k| k as f32) {
                    let is_rare = scores.p_value(score) <= rate * (1.0 + ROUNDING);
                    assert_eq!(score > threshold, is_rare, "{n} images, rate {rate}, score {score}");
                }
            }
        }
    }

    #[test]
    fn decimal_rates_are_not_rounded_away() {
        assert_eq!([0.5, 0.1, 0.05, 0.02, 0.01, 0.001].map(images_for), [1, 9, 19, 49, 99, 999]);
        for rate in [0.3, 0.1, 0.07, 0.05, 0.01, 0.003, 0.001] {
            let n = images_for(rate);
            assert_eq!((allowed(n, rate), allowed(n - 1, rate)), (1, 0), "{rate}");
        }
    }

    #[test]
    fn what_is_no_rate_or_no_score_is_refused() {
        assert_eq!(GoodScores::new(Vec::new()), Err(InspectionError::NoScores));
        assert_eq!(GoodScores::new(vec![0.0, f32::NAN]), Err(InspectionError::NotFinite { index: 1 }));
        let scores = GoodScores::new(vec![1.0; 9]).unwrap();
        for rate in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(matches!(scores.threshold(rate), Err(InspectionError::Rate { .. })), "{rate}");
        }
        // Rounding does not make a rate next to 1 allow more scores than there are.
        assert_eq!(GoodScores::new(vec![3.0]).unwrap().threshold(1.0 - 1e-14), Ok(3.0));
        let few = scores.threshold(0.05).unwrap_err();
        assert!(matches!(few, InspectionError::TooFewImages { n: 9, needed: 19, .. }), "{few}");
    }
}
