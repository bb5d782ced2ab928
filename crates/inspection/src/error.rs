use fmam_core::{ErrorKind, ImageSize};

use crate::Trait;

/// A verdict cannot be given as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectionError {
    /// There is no score of a good image.
    #[error("there is no score of a good image")]
    NoScores,
    /// A score is NaN or infinite.
    #[error("score {index} is not a finite number")]
    NotFinite {
        /// Its position, from 0.
        index: usize,
    },
    /// Scores and map maxima do not pair up.
    #[error("there are {scores} scores of good images but {peaks} maxima of their maps")]
    Unpaired {
        /// Number of scores.
        scores: usize,
        /// Number of maxima.
        peaks: usize,
    },
    /// A number is no rate.
    #[error("{rate} is not a rate between 0 and 1")]
    Rate {
        /// The number.
        rate: f64,
    },
    /// A rate is lower than the good images can promise.
    #[error(
        "{n} held-out good images promise at most {:.2} % of false alarms, not {} %; that needs {needed} images, {} more",
        100.0 * least, (1e8_f64 * rate).round() / 1e6, needed - n
    )]
    TooFewImages {
        /// The rate asked for.
        rate: f64,
        /// Good images that were held out.
        n: usize,
        /// The least rate that they promise.
        least: f64,
        /// Good images that `rate` needs.
        needed: usize,
    },
    /// A rate of misses is lower than the images with defects can promise.
    #[error(
        "{n} images with defects cannot promise at most {} % of misses; that needs {needed} images", (1e8_f64 * rate).round() / 1e6
    )]
    TooFewDefects {
        /// The rate asked for.
        rate: f64,
        /// Images with defects that there are.
        n: usize,
        /// Images with defects that `rate` needs.
        needed: usize,
    },
    /// A stored threshold is not the one that the stored scores give.
    #[error("the threshold {kept} with its promise is not that of the scores, {right}: it was edited")]
    OtherThreshold {
        /// The stored threshold.
        kept: f32,
        /// The threshold of the scores.
        right: f32,
    },
    /// A threshold is not a number.
    #[error("{threshold} is not a threshold")]
    Threshold {
        /// The number.
        threshold: f32,
    },
    /// The typical score of a pixel of a good image is not a number.
    #[error("the typical score of a pixel is {typical}")]
    Typical {
        /// The stored value.
        typical: f32,
    },
    /// The mean training image is not the text of 1024 grey values.
    #[error("the mean training image is damaged: it is not the base64 of 1024 grey values")]
    MeanImage,
    /// The limits of a trait are not finite, or do not enclose the range of the training images.
    #[error("the limits of the trait {of:?} of the training images are damaged")]
    TraitLimits {
        /// The trait.
        of: Trait,
    },
    /// An image has another size than the others.
    #[error("an image of {actual} (height x width) was added to images of {expected}")]
    StillSize {
        /// The size of the others.
        expected: ImageSize,
        /// The size of the image.
        actual: ImageSize,
    },
    /// Few images do not tell a still surrounding from a product.
    #[error("a region of interest is proposed from at least {needed} good images; there are {found}")]
    TooFewStill {
        /// Images that there are.
        found: usize,
        /// The fewest images.
        needed: usize,
    },
}

impl InspectionError {
    /// Who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rate { .. }
            | Self::TooFewImages { .. }
            | Self::TooFewDefects { .. }
            | Self::Threshold { .. } => ErrorKind::Usage,
            Self::NoScores
            | Self::OtherThreshold { .. }
            | Self::NotFinite { .. }
            | Self::Unpaired { .. }
            | Self::Typical { .. }
            | Self::MeanImage
            | Self::StillSize { .. }
            | Self::TooFewStill { .. }
            | Self::TraitLimits { .. } => ErrorKind::Data,
        }
    }
}
