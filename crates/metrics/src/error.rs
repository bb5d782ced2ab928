use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a figure is not defined for its input. Indices count from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There are no scores.
    #[error("there are no scores")]
    Empty,
    /// There is no normal sample (image, pixel or feature).
    #[error("there is no normal sample to compare with")]
    NoNormal,
    /// There is no anomalous sample (image, pixel or feature), hence no defect region either.
    #[error("there is no anomalous sample to compare with")]
    NoAnomalous,
    /// There is no fixed threshold.
    #[error("there is no fixed threshold")]
    NoThreshold,
    /// The fixed threshold is not a number.
    #[error("the fixed threshold is NaN")]
    NanThreshold,
    /// No image scores above the fixed threshold.
    #[error("no image scores above the fixed threshold")]
    NoneAbove,
    /// There are no anomaly maps with masks.
    #[error("there are no anomaly maps with masks")]
    NoMasks,
    /// Scores and labels do not pair up.
    #[error("there are {scores} scores but {labels} labels")]
    LengthMismatch {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A score is not a number.
    #[error("score {index} is NaN")]
    Nan {
        /// Its position.
        index: usize,
    },
    /// A value is NaN or infinite where distances or means are taken.
    #[error("value {index} of the {class} samples is {value}, not a finite number")]
    NotFinite {
        /// `normal` or `anomalous`.
        class: &'static str,
        /// Its position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A label is neither 0 nor 1.
    #[error("label {index} is {value}; labels are 0 (normal) or 1 (anomalous)")]
    NotALabel {
        /// Its position.
        index: usize,
        /// The label.
        value: u8,
    },
    /// A map does not have the size that was announced.
    #[error("a map of {height}x{width} was announced, but there are {actual} scores")]
    MapLength {
        /// Announced rows.
        height: usize,
        /// Announced columns.
        width: usize,
        /// Scores in the map.
        actual: usize,
    },
    /// The scores of a map are no whole rows.
    #[error("{actual} scores do not make up rows of {width}")]
    RowLength {
        /// Columns of the map.
        width: usize,
        /// Scores in the map.
        actual: usize,
    },
    /// Scores and the marks of the pixels that count do not pair up.
    #[error("there are {scores} scores, but {inside} pixels are marked as counted or left out")]
    InsideLength {
        /// Number of scores.
        scores: usize,
        /// Number of marks.
        inside: usize,
    },
    /// The mark of a pixel is neither 0 nor 1.
    #[error("the mark of pixel {index} is {value}; it is 1 (the pixel counts) or 0 (it is left out)")]
    NotAMark {
        /// Its position.
        index: usize,
        /// The mark.
        value: u8,
    },
    /// Scores beyond the memory budget could not be written to the place for them, or read back.
    #[error("the scores that exceed the memory budget cannot be written or read back")]
    Spill(#[source] SpillError),
    /// One map and mask of several are not usable.
    #[error("map {map}: {source}")]
    InMap {
        /// Position of the map.
        map: usize,
        /// The fault of the map; its positions count within the map.
        source: Box<MetricError>,
    },
    /// The false positive rate up to which AUPRO integrates must lie in (0, 1].
    #[error("the false positive rate limit is {limit}, but must be above 0 and at most 1")]
    FprLimit {
        /// The limit that was asked for.
        limit: f64,
    },
    /// The values are not whole feature vectors.
    #[error("{length} {class} values do not make up feature vectors of {dim}")]
    FeatureLength {
        /// `normal` or `anomalous`.
        class: &'static str,
        /// Number of values.
        length: usize,
        /// Values a feature vector.
        dim: usize,
    },
    /// A histogram needs at least one bin.
    #[error("a histogram needs at least one bin")]
    NoBins,
    /// Neither class varies, so that Fisher's ratio divides by zero.
    #[error("the scores vary in neither class, so that Fisher's ratio is not defined")]
    NoVariance,
}

/// The fault of reading or writing behind [`MetricError::Spill`]. Two of them are equal where their
/// kinds are.
#[derive(Debug, Clone)]
pub struct SpillError(Arc<io::Error>);

impl SpillError {
    /// The kind of the fault.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl fmt::Display for SpillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SpillError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for SpillError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl MetricError {
    pub(crate) fn spill(source: io::Error) -> Self {
        Self::Spill(SpillError(Arc::new(source)))
    }

    /// True if the ground truth, not the scores, leaves the figure undefined: no masks, or one
    /// class only.
    pub(crate) fn lacks_ground_truth(&self) -> bool {
        matches!(self, Self::NoMasks | Self::NoNormal | Self::NoAnomalous)
    }
}
