/// A kind of pixels that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PixelKind {
    /// Integers without a sign, of another depth than 8 or 16 bits.
    #[error("integers of {bits} bits")]
    Unsigned {
        /// Bits of a number.
        bits: u8,
    },
    /// Integers with a sign.
    #[error("integers of {bits} bits with a sign")]
    Signed {
        /// Bits of a number.
        bits: u8,
    },
    /// Floating-point numbers, of an unknown depth or where integers are expected.
    #[error("floating-point numbers of {bits} bits")]
    Float {
        /// Bits of a number.
        bits: u8,
    },
    /// Indices of a colour map in TIFF.
    #[error("indices of a colour map")]
    Palette,
    /// Channels that are neither grey nor RGB, alpha included.
    #[error("{count} channels that are neither grey nor RGB")]
    Channels {
        /// Number of channels.
        count: usize,
    },
    /// Red, green and blue with a further number, which the file does not state as alpha.
    #[error("red, green and blue among {count} channels, of which the others are not stated as alpha")]
    UnstatedSample {
        /// Number of channels.
        count: usize,
    },
    /// Numbers of more than 8 bits of which 0 is white.
    #[error("numbers of {bits} bits of which 0 is white")]
    WhiteIsZero {
        /// Bits of a number.
        bits: u8,
    },
    /// Numbers that are stored plane by plane.
    #[error("floating-point numbers or grey and alpha, plane by plane")]
    Planar,
}
