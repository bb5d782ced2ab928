//! Thresholds that hold a rate of misses, from the scores of defects.

use crate::InspectionError;
use crate::conformal::{allowed, check_rate, images_for};

/// The highest threshold with which a new image with a defect is missed, since it does not score
/// above the threshold, with a probability of at most `rate`. The image must be exchangeable with
/// those of `scores`: the defects of tomorrow are of the kinds of today.
///
/// It is just below the `floor((m + 1) rate)`-th smallest of the `m` scores, as in [`GoodScores`].
///
/// [`GoodScores`]: crate::GoodScores
///
/// # Errors
/// [`InspectionError::Rate`] for a rate that is not between 0 and 1,
/// [`InspectionError::TooFewDefects`] where so few scores cannot promise it,
/// [`InspectionError::NotFinite`].
pub fn threshold_for_misses(scores: &[f32], rate: f64) -> Result<f32, InspectionError> {
    check_rate(rate)?;
    if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
        return Err(InspectionError::NotFinite { index });
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    let n = sorted.len();
    match allowed(n, rate) {
        0 => Err(InspectionError::TooFewDefects { rate, n, needed: images_for(rate) }),
        missed => Ok(sorted[missed - 1].next_down()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_defect_fewer_than_the_rate_allows_is_missed() {
        let scores: Vec<f32> = (1..=19).map(|k| k as f32).collect();
        let missed = |rate| {
            let threshold = threshold_for_misses(&scores, rate).unwrap();
            scores.iter().filter(|score| **score <= threshold).count()
        };
        // Of 20 exchangeable scores one is the lowest with a probability of 0.05.
        assert_eq!([0.05, 0.1, 0.5, 0.95].map(missed), [0, 1, 9, 18]);
        let few = threshold_for_misses(&scores, 0.04).unwrap_err();
        assert!(matches!(few, InspectionError::TooFewDefects { n: 19, needed: 24, .. }), "{few}");
        assert!(threshold_for_misses(&[1.0, f32::INFINITY], 0.5).is_err());
    }
}
