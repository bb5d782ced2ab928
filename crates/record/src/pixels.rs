use serde::{Deserialize, Serialize};

/// The curves of all test pixels, thinned to as many numbers as a plot shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelCurves {
    /// ROC curve: false and true positive rate, both in 0..=1 and rising from (0, 0) to (1, 1).
    pub roc: Vec<[f64; 2]>,
    /// Per-region-overlap curve: false positive rate and mean overlap with the ground-truth
    /// regions, as `roc`.
    pub pro: Vec<[f64; 2]>,
    /// The distribution of the scores.
    pub scores: ScoreDistribution,
}

/// The distributions of the scores of both classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreDistribution {
    /// Lowest and highest score of both classes, the outer edges of the bins, which are of equal
    /// width.
    pub range: [f64; 2],
    /// The normal class.
    pub normal: ClassDistribution,
    /// The anomalous class.
    pub anomalous: ClassDistribution,
}

/// The distribution of the scores of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassDistribution {
    /// Number of scores.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub deviation: f64,
    /// Share of the scores in each bin; the shares sum to 1.
    pub shares: Vec<f64>,
}
