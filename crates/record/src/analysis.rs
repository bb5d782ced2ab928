use serde::{Deserialize, Serialize};

/// The analysis of a run's features and of the separability of its scores: the poster's statistical
/// and distribution analyses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// The scales, finest first; empty for a detector that compares no features.
    pub scales: Vec<ScaleAnalysis>,
    /// Separability of the image scores; `None` where all are equal.
    pub image_scores: Option<ScoreSeparability>,
    /// Separability of the map's values inside and outside of the masks; `None` where the data has
    /// no masks, or all are equal.
    pub pixel_scores: Option<ScoreSeparability>,
}

/// One scale of the feature pyramid. Features are L2-normalised, at positions of test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleAnalysis {
    /// Channels of a feature.
    pub channels: usize,
    /// Pixels of the image per position, along a side.
    pub stride: usize,
    /// Normal features analysed, from normal test images.
    pub n_normal: usize,
    /// The test images' own defects; `None` where they have no masks, or none covers a position.
    pub real: Option<DefectAnalysis>,
    /// Synthetic defects in normal test images, which no training saw; `None` where none covers a
    /// position.
    pub synthetic: Option<DefectAnalysis>,
}

/// The analysis of one kind of defect at one scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefectAnalysis {
    /// Anomalous features analysed.
    pub n_anomalous: usize,
    /// Of the teacher's features.
    pub before: FeatureScatter,
    /// Of the adapted ones; `None` for a detector that uses the teacher's as they are.
    pub after: Option<FeatureScatter>,
    /// Of the adapted ones, or the teacher's, about what the student expects at the same position
    /// instead of about the mean normal feature: the discrepancy that is scored. `None` for a
    /// detector without a student.
    pub discrepancy: Option<FeatureScatter>,
}

/// The poster's two statistics, and their quotient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureScatter {
    /// Mean distance of anomalous features to the mean normal feature, or to the one expected, in
    /// 0..=2.
    pub bias: f64,
    /// Mean squared distance of normal features to the same: in 0..=1 to their mean, in 0..=4 to
    /// those expected.
    pub variance: f64,
    /// Bias in units of the normal features' root mean square distance.
    pub bias_per_deviation: f64,
}

impl FeatureScatter {
    /// From the two statistics.
    pub fn new(bias: f64, variance: f64) -> Self {
        Self { bias, variance, bias_per_deviation: bias / variance.sqrt().max(1e-12) }
    }
}

/// The separability of the score distributions of the two classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreSeparability {
    /// Area that the histograms share, in 0..=1.
    pub overlap: f64,
    /// Fisher's discriminant ratio, 0 or more: the squared difference of the means over the sum of
    /// the variances.
    pub fisher_ratio: f64,
    /// Kolmogorov-Smirnov distance, in 0..=1.
    pub ks_distance: f64,
}
