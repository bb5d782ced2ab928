use crate::MetricError;

/// Bias of the anomalous features relative to the normal ones, and variance of the normal ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BiasVariance {
    /// Mean L2 distance of the anomalous features to the mean normal feature. For features of
    /// length 1 it is in 0..=2; larger is better.
    pub bias: f64,
    /// Mean squared L2 distance of the normal features to their mean. For features of length 1 it
    /// is in 0..=1; smaller is better.
    pub variance: f64,
}

/// Bias of anomalous features and variance of normal ones, the poster's statistical analysis.
///
/// # Shapes and units
/// `normal`: (N, `dim`), `anomalous`: (M, `dim`), row-major, one feature vector a row; the caller
/// has made each of length 1, without which two feature spaces cannot be compared. Sums are in f64.
///
/// # Errors
/// [`MetricError::FeatureLength`] when a slice is not whole rows, [`MetricError::NoNormal`] or
/// [`MetricError::NoAnomalous`] when it has none, [`MetricError::NotFinite`].
pub fn bias_variance(normal: &[f32], anomalous: &[f32], dim: usize) -> Result<BiasVariance, MetricError> {
    let n_normal = count_rows("normal", normal, dim, MetricError::NoNormal)?;
    let n_anomalous = count_rows("anomalous", anomalous, dim, MetricError::NoAnomalous)?;

    let mut mean = vec![0.0; dim];
    for feature in normal.chunks_exact(dim) {
        for (mean, &value) in mean.iter_mut().zip(feature) {
            *mean += f64::from(value);
        }
    }
    mean.iter_mut().for_each(|value| *value /= n_normal as f64);

    let squared_distance = |feature: &[f32]| -> f64 {
        feature.iter().zip(&mean).map(|(&value, mean)| (f64::from(value) - mean).powi(2)).sum()
    };
    let bias: f64 = anomalous.chunks_exact(dim).map(|feature| squared_distance(feature).sqrt()).sum();
    let variance: f64 = normal.chunks_exact(dim).map(squared_distance).sum();
    Ok(BiasVariance { bias: bias / n_anomalous as f64, variance: variance / n_normal as f64 })
}

fn count_rows(
    class: &'static str,
    values: &[f32],
    dim: usize,
    none: MetricError,
) -> Result<usize, MetricError> {
    if values.is_empty() {
        return Err(none);
    }
    // No slice but the empty one is a multiple of 0.
    if !values.len().is_multiple_of(dim) {
        return Err(MetricError::FeatureLength { class, length: values.len(), dim });
    }
    check_finite(class, values)?;
    Ok(values.len() / dim)
}

pub(crate) fn check_finite(class: &'static str, values: &[f32]) -> Result<(), MetricError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::NotFinite { class, index, value: values[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_taken_to_the_mean_normal_feature() {
        // Normal: (±1, 0) about the mean (0, 0), squared distance 1 each. Anomalous: at distances 5
        // and 1.
        let result = bias_variance(&[1.0, 0.0, -1.0, 0.0], &[3.0, 4.0, 0.0, 1.0], 2).unwrap();
        assert_eq!(result, BiasVariance { bias: 3.0, variance: 1.0 });
        // The mean (2, 2) is not the origin.
        let result = bias_variance(&[1.0, 2.0, 3.0, 2.0], &[2.0, 0.0], 2).unwrap();
        assert_eq!(result, BiasVariance { bias: 2.0, variance: 1.0 });
    }

    #[test]
    fn unusable_features_are_errors() {
        assert_eq!(bias_variance(&[], &[1.0], 1), Err(MetricError::NoNormal));
        assert_eq!(bias_variance(&[1.0], &[], 1), Err(MetricError::NoAnomalous));
        let length = |class, length, dim| Err(MetricError::FeatureLength { class, length, dim });
        assert_eq!(bias_variance(&[1.0; 3], &[1.0; 2], 2), length("normal", 3, 2));
        assert_eq!(bias_variance(&[1.0; 2], &[1.0; 3], 2), length("anomalous", 3, 2));
        assert_eq!(bias_variance(&[1.0; 2], &[1.0; 2], 0), length("normal", 2, 0));
        assert_eq!(
            bias_variance(&[1.0; 2], &[1.0, f32::INFINITY], 2),
            Err(MetricError::NotFinite { class: "anomalous", index: 1, value: f32::INFINITY })
        );
    }
}
