use fmam_core::ImageSize;

use super::header::Numbers;

/// Numbers of decoded pixels, row by row, the channels of each pixel side by side.
#[derive(Debug)]
pub(super) enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Values {
    /// Adds `more` of the same type; numbers of another type are passed over.
    pub(super) fn append(&mut self, more: Values) {
        match (self, more) {
            (Self::U8(all), Self::U8(more)) => all.extend(more),
            (Self::U16(all), Self::U16(more)) => all.extend(more),
            (Self::F32(all), Self::F32(more)) => all.extend(more),
            (Self::F64(all), Self::F64(more)) => all.extend(more),
            _ => {}
        }
    }

    /// The channels of an image of `size`: those of the header, but 3 where CMYK became RGB.
    pub(super) fn channels(&self, size: ImageSize) -> usize {
        let length = match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        };
        length.checked_div(size.pixels()).unwrap_or(3)
    }

    /// True if a pixel of `channels` channels is not opaque.
    pub(super) fn is_transparent(&self, channels: usize) -> bool {
        fn any<T: Copy + PartialOrd>(values: &[T], channels: usize, opaque: T) -> bool {
            values.chunks_exact(channels).any(|pixel| pixel[channels - 1] < opaque)
        }
        matches!(channels, 2 | 4)
            && match self {
                Self::U8(values) => any(values, channels, u8::MAX),
                Self::U16(values) => any(values, channels, u16::MAX),
                Self::F32(values) => any(values, channels, 1.0),
                Self::F64(values) => any(values, channels, 1.0),
            }
    }

    /// No numbers of the type `numbers`.
    pub(super) fn none(numbers: Numbers) -> Self {
        match numbers {
            Numbers::U8 => Self::U8(Vec::new()),
            Numbers::U16 => Self::U16(Vec::new()),
            Numbers::F16 | Numbers::F32 => Self::F32(Vec::new()),
            Numbers::F64 => Self::F64(Vec::new()),
        }
    }
}
