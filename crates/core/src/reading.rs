use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The way from the values in an image file to 8 bits a channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// The values that become black and white.
    pub values: ValueRange,
    /// The colour behind transparent pixels, red, green and blue.
    pub background: [u8; 3],
    /// Bytes that a decoded image may take; the header of a file tells how many it will. A property
    /// of the machine: saved models do not hold it.
    #[serde(skip, default = "default_max_bytes")]
    pub max_bytes: u64,
}

/// 512 MiB: an image of 179 megapixels in 8 bits and three channels.
const DEFAULT_MAX_BYTES: u64 = 512 << 20;

fn default_max_bytes() -> u64 {
    DEFAULT_MAX_BYTES
}

impl Default for Reading {
    /// Values as their files have them, black behind transparent pixels, at most 512 MiB.
    fn default() -> Self {
        Self { values: ValueRange::Auto, background: [0; 3], max_bytes: DEFAULT_MAX_BYTES }
    }
}

/// The values of a file that become black and white. Files of 8 bits are not scaled.
///
/// The texts are `auto`, `12-bit` and `0,1`: the lowest and the highest value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ValueRange {
    /// The depth that the training images use: the smallest of [`ValueRange::DEPTHS`] that holds
    /// the highest value of all 16-bit files. A single 16-bit file is scaled from all 16 bits.
    #[default]
    Auto,
    /// 16-bit files hold values of this depth, one of [`ValueRange::DEPTHS`].
    Bits(u8),
    /// Files of 16 bits and of floating-point numbers hold values from `low` to `high`.
    Between {
        /// The value that becomes black.
        low: f64,
        /// The value that becomes white, above `low`.
        high: f64,
    },
}

impl ValueRange {
    /// Depths of camera data in bits.
    pub const DEPTHS: [u8; 5] = [8, 10, 12, 14, 16];

    /// The depth that holds `highest`, a value of a 16-bit file.
    pub fn for_highest(highest: u16) -> Self {
        let fits = |bits: &u8| u32::from(highest) < 1 << bits;
        Self::Bits(Self::DEPTHS.into_iter().find(fits).unwrap_or(16))
    }
}

/// A text is no range of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no range of values; use auto, a depth such as 12-bit, or LOW,HIGH such as 0,1")]
pub struct ValueRangeError {
    text: String,
}

impl FromStr for ValueRange {
    type Err = ValueRangeError;

    fn from_str(text: &str) -> Result<Self, ValueRangeError> {
        let error = || ValueRangeError { text: text.to_owned() };
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if let Some(bits) = text.strip_suffix("-bit") {
            let bits = bits.parse().ok().filter(|bits| Self::DEPTHS.contains(bits));
            return bits.map(Self::Bits).ok_or_else(error);
        }
        let (low, high) = text.split_once(',').ok_or_else(error)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low < high => Ok(Self::Between { low, high }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Bits(bits) => write!(f, "{bits}-bit"),
            Self::Between { low, high } => write!(f, "{low},{high}"),
        }
    }
}

impl TryFrom<String> for ValueRange {
    type Error = ValueRangeError;

    fn try_from(text: String) -> Result<Self, ValueRangeError> {
        text.parse()
    }
}

impl From<ValueRange> for String {
    fn from(range: ValueRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_ranges_come_back_and_others_are_refused() {
        for text in ["auto", "8-bit", "12-bit", "16-bit", "0,1", "-10.5,300"] {
            assert_eq!(text.parse::<ValueRange>().unwrap().to_string(), text);
        }
        for text in ["", "12", "11-bit", "1,0", "0,0", "0,inf", "0,nan", "a,b", "1"] {
            let refused = text.parse::<ValueRange>().unwrap_err().to_string();
            assert!(refused.contains("12-bit"), "{refused}");
        }
    }

    #[test]
    fn the_depth_is_the_smallest_that_holds_the_highest_value() {
        for (highest, bits) in
            [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16)]
        {
            assert_eq!(ValueRange::for_highest(highest), ValueRange::Bits(bits));
        }
        assert_eq!(ValueRange::for_highest(u16::MAX), ValueRange::Bits(16));
    }
}
