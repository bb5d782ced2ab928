use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize};

/// A network could not be built, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// No backbone has this name.
    #[error("unknown backbone `{name}`; known: {}", known.join(", "))]
    UnknownBackbone {
        /// The name that was asked for.
        name: String,
        /// All registered names.
        known: Vec<&'static str>,
    },
    /// The backbone has no embedded weights and no file was given.
    #[error("backbone `{name}` has no embedded weights, and no state dict was given")]
    WeightsNeeded {
        /// The backbone.
        name: &'static str,
        /// True where published weights can be fetched.
        is_published: bool,
    },
    /// The file cannot be read.
    #[error("cannot read weights from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The architecture needs a tensor that the weights do not have.
    #[error("{origin}: tensor `{key}` is missing{}", beside("; it has", others))]
    MissingKey {
        /// File or name of the weights.
        origin: String,
        /// The missing key.
        key: String,
        /// The first keys of the weights, those that no part of the architecture has asked for.
        others: Vec<String>,
    },
    /// The weights have tensors that the architecture does not know.
    #[error(
        "{origin}: {} tensor(s) do not belong to this architecture: {}{}",
        keys.len(), listed(keys), beside("; it knows", known)
    )]
    SurplusKeys {
        /// File or name of the weights.
        origin: String,
        /// The surplus keys, sorted.
        keys: Vec<String>,
        /// The first keys that the architecture knows.
        known: Vec<String>,
    },
    /// A tensor has another shape than the architecture needs.
    #[error("{origin}: tensor `{key}` has shape {actual:?}, expected {expected:?}")]
    MisshapenKey {
        /// File or name of the weights.
        origin: String,
        /// The key.
        key: String,
        /// Shape that the architecture needs.
        expected: Vec<usize>,
        /// Shape in the file.
        actual: Vec<usize>,
    },
    /// A tensor has infinite or undefined values.
    #[error("{origin}: tensor `{key}` has values that are not finite: the weights are damaged")]
    NotFinite {
        /// File or name of the weights.
        origin: String,
        /// The key.
        key: String,
    },
    /// The input image batch does not fit the network.
    #[error("expected images of shape [N, 3, H, W] with H and W multiples of {stride}, got {actual:?}")]
    InputShape {
        /// Coarsest stride of the network.
        stride: usize,
        /// Shape that was given.
        actual: Vec<usize>,
    },
    /// The backbone has no position embeddings for images of this size.
    #[error("backbone `{backbone}` takes images of at most {largest}x{largest} pixels, got {actual:?}")]
    TooLarge {
        /// The backbone.
        backbone: &'static str,
        /// Largest height and width.
        largest: usize,
        /// Shape that was given.
        actual: Vec<usize>,
    },
    /// The backbone cannot be trained, has no reverse path and passes no gradients.
    #[error("backbone `{backbone}` has no student: it gives features and cannot be trained")]
    NoStudent {
        /// The backbone.
        backbone: String,
    },
    /// The backbone has no tensors from which it could be built again.
    #[error("backbone `{backbone}` gives no tensors to save: a detector on it cannot be saved")]
    NotSaved {
        /// The backbone.
        backbone: String,
    },
    /// A feature pyramid does not fit the network.
    #[error("expected a feature pyramid of {expected}, got scales of shape {actual:?}")]
    PyramidShape {
        /// The pyramid that the network takes.
        expected: String,
        /// Shapes of the scales that were given.
        actual: Vec<Vec<usize>>,
    },
    /// A value of the feature mapping's configuration lies outside its range.
    #[error("feature mapping: `{key}` must be {expected}, got {actual}")]
    MappingConfig {
        /// The key.
        key: &'static str,
        /// The range.
        expected: &'static str,
        /// The value given.
        actual: f64,
    },
    /// The covariance of the features has no finite inverse root.
    #[error("the covariance of the features is not finite: are the backbone's weights damaged?")]
    Covariance,
    /// A batch has no image.
    #[error("a batch needs at least one image")]
    EmptyBatch,
    /// The images of a batch differ in size.
    #[error("the images of a batch must have one size, got {first} and {other}")]
    MixedSizes {
        /// Size of the first image.
        first: ImageSize,
        /// Another size.
        other: ImageSize,
    },
    /// The file cannot be written.
    #[error("cannot write weights to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ModelError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownBackbone { .. }
            | Self::WeightsNeeded { .. }
            | Self::NoStudent { .. }
            | Self::NotSaved { .. }
            | Self::MappingConfig { .. }
            | Self::InputShape { .. }
            | Self::TooLarge { .. }
            | Self::PyramidShape { .. }
            | Self::EmptyBatch
            | Self::MixedSizes { .. } => ErrorKind::Usage,
            Self::Read { .. }
            | Self::MissingKey { .. }
            | Self::SurplusKeys { .. }
            | Self::MisshapenKey { .. }
            | Self::NotFinite { .. }
            | Self::Covariance => ErrorKind::Data,
            Self::Write { .. } => ErrorKind::Environment,
            Self::Tensor(_) => ErrorKind::Bug,
        }
    }
}

/// Keys of a state dict that an error names.
pub(crate) const NAMED_KEYS: usize = 3;

/// Surplus keys that a message lists.
const LISTED_KEYS: usize = 10;

fn listed(keys: &[String]) -> String {
    let more = if keys.len() > LISTED_KEYS { ", ..." } else { "" };
    format!("{}{more}", keys[..keys.len().min(LISTED_KEYS)].join(", "))
}

fn beside(words: &str, keys: &[String]) -> String {
    let more = if keys.len() < NAMED_KEYS { "" } else { ", ..." };
    if keys.is_empty() { String::new() } else { format!("{words} `{}`{more}", keys.join("`, `")) }
}
