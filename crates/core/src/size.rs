use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Height and width of an image in pixels; height first everywhere, as tensors have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// `height` rows by `width` columns.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// A square of `side` by `side` pixels.
    pub const fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }

    /// Number of pixels.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }
}

impl From<usize> for ImageSize {
    /// The square of this side.
    fn from(side: usize) -> Self {
        Self::square(side)
    }
}

impl std::fmt::Display for ImageSize {
    /// Writes `HEIGHTxWIDTH`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// A text is no size of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image size; use a side such as 256, or HEIGHTxWIDTH such as 160x768")]
pub struct SizeError {
    text: String,
}

impl FromStr for ImageSize {
    type Err = SizeError;

    /// Reads `HEIGHTxWIDTH`, or the side of a square.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError { text: text.to_owned() };
        let side = |text: &str| text.trim().parse::<usize>().map_err(|_| error());
        match text.split_once('x') {
            None => Ok(Self::square(side(text)?)),
            Some((height, width)) => Ok(Self::new(side(height)?, side(width)?)),
        }
    }
}

/// The form of an image size in configurations: the side of a square as a number, another size as
/// the text `HEIGHTxWIDTH`. For `#[serde(with = "fmam_core::sides")]`.
pub mod sides {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ImageSize;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Sides {
        Side(usize),
        Both(String),
    }

    /// Writes the side of a square, or `HEIGHTxWIDTH`.
    ///
    /// # Errors
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(size: &ImageSize, serializer: S) -> Result<S::Ok, S::Error> {
        let is_square = size.height == size.width;
        if is_square { Sides::Side(size.height) } else { Sides::Both(size.to_string()) }.serialize(serializer)
    }

    /// Reads a number or a text.
    ///
    /// # Errors
    /// The errors of the deserializer; one of its own for a text that is no size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ImageSize, D::Error> {
        match Sides::deserialize(deserializer)? {
            Sides::Side(side) => Ok(ImageSize::square(side)),
            Sides::Both(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_side_or_both_sides() {
        assert_eq!("256".parse(), Ok(ImageSize::square(256)));
        assert_eq!("160x768".parse(), Ok(ImageSize::new(160, 768)));
        for text in ["", "x", "160x", "160x768x3", "-1", "large", "1.5"] {
            let refused = text.parse::<ImageSize>().unwrap_err().to_string();
            assert!(refused.contains("160x768"), "{refused}");
        }
    }

    #[test]
    fn a_square_is_written_as_a_number() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Config {
            #[serde(with = "sides")]
            size: ImageSize,
        }
        for (size, text) in
            [(ImageSize::square(64), r#"{"size":64}"#), (ImageSize::new(2, 3), r#"{"size":"2x3"}"#)]
        {
            assert_eq!(serde_json::to_string(&Config { size }).unwrap(), text);
            assert_eq!(serde_json::from_str::<Config>(text).unwrap(), Config { size });
        }
        assert!(serde_json::from_str::<Config>(r#"{"size":"large"}"#).is_err());
    }
}
