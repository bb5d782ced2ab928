use fmam_core::ImageSize;

/// A graph that cannot become a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The trace has no input: nothing was done to an image.
    #[error("the trace has no input")]
    NoInput,
    /// The file would be larger than its format allows, which counts bytes with 31 bits.
    #[error(
        "the constants of the graph take {bytes} bytes, an ONNX file holds less than {}: fit the detector with \
         fewer channels, fewer training images or a smaller image size",
        Self::LARGEST
    )]
    TooLarge {
        /// Bytes of all constants.
        bytes: usize,
    },
    /// An image without pixels.
    #[error("an image of {size} has no pixels")]
    NoPixels {
        /// The size.
        size: ImageSize,
    },
    /// Constants could not be read from their device.
    #[error("cannot read the constants of the graph")]
    Constants(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OnnxError {
    /// Bytes of the constants of a file, at most: protobuf's 2 GiB less room for the rest.
    pub const LARGEST: usize = (1 << 31) - (1 << 24);
}
