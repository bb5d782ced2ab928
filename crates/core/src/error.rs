use crate::{ErrorKind, ImageSize};

/// A value of this crate could not be made from its parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The buffer does not hold as many elements as the size and channel count ask for.
    #[error("a {size} image needs {expected} elements, the buffer has {actual}")]
    BufferLength {
        /// The size that was asked for.
        size: ImageSize,
        /// Elements that the size needs.
        expected: usize,
        /// Elements in the buffer.
        actual: usize,
    },
    /// A mask covers another number of pixels than its image.
    #[error("a mask of {mask} pixels does not fit an image of {image}")]
    MaskSize {
        /// The size of the image.
        image: ImageSize,
        /// The size of the mask.
        mask: ImageSize,
    },
    /// The image, or a mask of it, has another size than the tiles were made for.
    #[error("the tiles are those of a {expected} image, not of {actual}")]
    ImageSize {
        /// The size that the tiles cover.
        expected: ImageSize,
        /// The size that was given.
        actual: ImageSize,
    },
    /// Tiles cannot share as much.
    #[error("an overlap of {overlap} pixels is not below both sides of a {tile} tile")]
    TileOverlap {
        /// The size of a tile.
        tile: ImageSize,
        /// Pixels that neighbours are to share.
        overlap: usize,
    },
}

impl CoreError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BufferLength { .. }
            | Self::MaskSize { .. }
            | Self::ImageSize { .. }
            | Self::TileOverlap { .. } => ErrorKind::Usage,
        }
    }
}

/// Why a sample could not be given: boxed, because each [`crate::SampleSource`] fails in its own
/// way.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;
