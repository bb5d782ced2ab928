use crate::feature::check_finite;
use crate::{MetricError, Ranking, radix};

/// The separability of the score distributions of the two classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Separability {
    /// Overlap coefficient: area that the two normalised histograms share, in 0..=1; 0 when no bin
    /// holds both classes.
    pub overlap: f64,
    /// Fisher's discriminant ratio: squared difference of the means over the sum of the
    /// (population) variances, 0 or more. It shrinks with the spread within a class, which AUROC
    /// does not see.
    pub fisher_ratio: f64,
    /// Kolmogorov-Smirnov distance: largest difference of the two cumulative distributions, in
    /// 0..=1; 1 when a threshold separates the classes.
    pub ks_distance: f64,
}

/// Separability of normal and anomalous scores, the poster's distribution analysis.
///
/// The histograms have `n_bins` bins of equal width from the lowest to the highest score of both
/// classes. Scores that are all equal cannot be told apart, but they have no Fisher's ratio and so
/// are an error.
///
/// # Errors
/// [`MetricError::NoBins`]; [`MetricError::NoNormal`] or [`MetricError::NoAnomalous`] when a class
/// is empty, [`MetricError::Empty`] when both are; [`MetricError::NotFinite`];
/// [`MetricError::NoVariance`] when no class varies.
pub fn separability(
    normal_scores: &[f32],
    anomalous_scores: &[f32],
    n_bins: usize,
) -> Result<Separability, MetricError> {
    if n_bins == 0 {
        return Err(MetricError::NoBins);
    }
    check_finite("normal", normal_scores)?;
    check_finite("anomalous", anomalous_scores)?;
    let keys = |scores: &[f32]| scores.iter().map(|&score| radix::key(score)).collect();
    let ranking = Ranking::from_keys(keys(normal_scores), keys(anomalous_scores))?;

    Ok(Separability {
        overlap: overlap(normal_scores, anomalous_scores, n_bins),
        fisher_ratio: fisher_ratio(normal_scores, anomalous_scores)?,
        ks_distance: ks_distance(&ranking),
    })
}

/// Gaussian kernel estimate of the density of `scores` at the points `at`, with Silverman's
/// bandwidth (1986, eq. 3.28 in one dimension): (3 n / 4)^(-1/5) sample standard deviations.
///
/// # Errors
/// [`MetricError::Empty`] without scores, [`MetricError::NoVariance`] when all are equal,
/// [`MetricError::NotFinite`].
pub fn density(scores: &[f32], at: &[f64]) -> Result<Vec<f64>, MetricError> {
    check_finite("given", scores)?;
    let n = scores.len() as f64;
    if scores.is_empty() {
        return Err(MetricError::Empty);
    }
    let (_, variance) = moments(scores);
    if variance <= 0.0 {
        return Err(MetricError::NoVariance);
    }
    let width = (variance * n / (n - 1.0)).sqrt() * (0.75 * n).powf(-0.2);
    let height = 1.0 / (n * width * std::f64::consts::TAU.sqrt());
    let kernel = |away: f64| (-0.5 * away * away).exp();
    let sum = |x: f64| scores.iter().map(|&score| kernel((x - f64::from(score)) / width)).sum::<f64>();
    Ok(at.iter().map(|&x| height * sum(x)).collect())
}

fn overlap(normal: &[f32], anomalous: &[f32], n_bins: usize) -> f64 {
    let all = || normal.iter().chain(anomalous).map(|&score| f64::from(score));
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let histogram = |scores: &[f32]| {
        let mut shares = vec![0.0; n_bins];
        for &score in scores {
            let position = (f64::from(score) - low) / (high - low) * n_bins as f64;
            // The highest score belongs to the last bin.
            shares[(position as usize).min(n_bins - 1)] += 1.0 / scores.len() as f64;
        }
        shares
    };
    histogram(normal).into_iter().zip(histogram(anomalous)).map(|(a, b)| a.min(b)).sum()
}

fn fisher_ratio(normal: &[f32], anomalous: &[f32]) -> Result<f64, MetricError> {
    let (normal_mean, normal_variance) = moments(normal);
    let (anomalous_mean, anomalous_variance) = moments(anomalous);
    let variance = normal_variance + anomalous_variance;
    if variance > 0.0 {
        Ok((anomalous_mean - normal_mean).powi(2) / variance)
    } else {
        Err(MetricError::NoVariance)
    }
}

/// Mean and population variance.
fn moments(scores: &[f32]) -> (f64, f64) {
    let mean_of = |value: &dyn Fn(f64) -> f64| {
        scores.iter().map(|&score| value(f64::from(score))).sum::<f64>() / scores.len() as f64
    };
    let mean = mean_of(&|score| score);
    (mean, mean_of(&|score| (score - mean).powi(2)))
}

fn ks_distance(ranking: &Ranking) -> f64 {
    ranking.cuts().map(|cut| (ranking.recall(cut) - ranking.fpr(cut)).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_scores_do_not_overlap() {
        // Means 1 and 5, variances 1 and 1: 4² / 2.
        let result = separability(&[0.0, 2.0], &[4.0, 6.0], 3).unwrap();
        assert_eq!(result, Separability { overlap: 0.0, fisher_ratio: 8.0, ks_distance: 1.0 });
    }

    #[test]
    fn the_same_scores_overlap_wholly() {
        let result = separability(&[0.0, 1.0], &[1.0, 0.0], 10).unwrap();
        assert_eq!(result, Separability { overlap: 1.0, fisher_ratio: 0.0, ks_distance: 0.0 });
    }

    #[test]
    fn shared_bins_count_the_smaller_share() {
        // Bins [0, 2) and [2, 4]: shares 3/4, 1/4 and 1/2, 1/2. Cumulative distributions: after 1,
        // 3/4 and 1/4.
        let result = separability(&[0.0, 1.0, 1.0, 4.0], &[0.0, 1.5, 2.0, 4.0], 2).unwrap();
        assert_eq!((result.overlap, result.ks_distance), (0.75, 0.5));
    }

    #[test]
    fn undefined_input_is_an_error() {
        assert_eq!(separability(&[0.0], &[1.0], 0), Err(MetricError::NoBins));
        assert_eq!(separability(&[], &[], 5), Err(MetricError::Empty));
        assert_eq!(separability(&[], &[1.0], 5), Err(MetricError::NoNormal));
        assert_eq!(separability(&[1.0], &[], 5), Err(MetricError::NoAnomalous));
        assert_eq!(separability(&[0.0; 3], &[1.0; 2], 5), Err(MetricError::NoVariance));
        assert_eq!(density(&[], &[0.0]), Err(MetricError::Empty));
        assert_eq!(density(&[2.0; 3], &[0.0]), Err(MetricError::NoVariance));
        assert!(matches!(
            separability(&[0.0, f32::NAN], &[1.0], 5),
            Err(MetricError::NotFinite { index: 1, .. })
        ));
    }
}
