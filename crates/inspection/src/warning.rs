//! Traits of an image, and warnings for one that is outside of what the training images showed.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// A trait of an image that does not tell whether the part is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trait {
    /// Mean grey value, 0..=255 (luma of ITU-R BT.601).
    Brightness,
    /// Standard deviation of the grey values, in grey levels.
    Contrast,
    /// Root mean square of the Laplacian over the standard deviation of the grey values: 0 without
    /// edges, 4.5 for white noise. A constant factor on the grey values cancels out.
    Sharpness,
    /// Number of pixels of the original image.
    Size,
    /// Width over height of the original image.
    Aspect,
    /// Mean of red minus mean of green, over the mean grey value.
    RedGreen,
    /// Mean of blue minus mean of green, over the mean grey value.
    BlueGreen,
    /// Correlation of the image with the mean training image, -1..=1, both 32 by 32 pixels and
    /// grey.
    Position,
}

impl Trait {
    /// Every trait, in the order of warnings.
    pub const ALL: [Self; 8] = [
        Self::Brightness,
        Self::Contrast,
        Self::Sharpness,
        Self::Size,
        Self::Aspect,
        Self::RedGreen,
        Self::BlueGreen,
        Self::Position,
    ];

    /// A value for people, with `more` decimals than usual.
    pub(crate) fn shown(self, value: f32, more: usize) -> String {
        match self {
            Self::Brightness | Self::Size => format!("{value:.more$}"),
            Self::Contrast => format!("{value:.*}", 1 + more),
            Self::Sharpness | Self::Aspect | Self::Position => format!("{value:.*}", 2 + more),
            Self::RedGreen | Self::BlueGreen => format!("{:.more$} %", 100.0 * value),
        }
    }

    /// The comparison with the training images for a value below them, the comparison for one above
    /// them, and the likely causes.
    pub(crate) fn words(self) -> [&'static str; 3] {
        match self {
            Self::Brightness => ["darker", "brighter", "the exposure or the light"],
            Self::Contrast => {
                ["of less contrast", "of more contrast", "the exposure, the light or another product"]
            }
            Self::Sharpness => {
                ["less sharp", "sharper or noisier", "the focus, motion, the gain or another camera"]
            }
            Self::Size => ["smaller", "larger", "another camera, another crop or an image resized before"],
            Self::Aspect => ["narrower", "wider", "another camera or another crop"],
            Self::RedGreen => ["less red", "redder", "the white balance, the light or another product"],
            Self::BlueGreen => ["less blue", "bluer", "the white balance, the light or another product"],
            Self::Position => ["less like the mean image", "more like the mean image", {
                "another product, or the camera or the part has moved"
            }],
        }
    }

    /// The name of the numbers, where the comparison does not tell it.
    pub(crate) fn quantity(self) -> &'static str {
        match self {
            Self::Size => "pixels ",
            Self::Aspect => "width over height ",
            Self::RedGreen => "red minus green ",
            Self::BlueGreen => "blue minus green ",
            Self::Position => "correlation ",
            Self::Brightness | Self::Contrast | Self::Sharpness => "",
        }
    }
}

/// An image is outside of what the training images showed. [`Display`](fmt::Display) says in words
/// how, and what the likely cause is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warning {
    /// The trait.
    pub of: Trait,
    /// Its value in the image.
    pub value: f32,
    /// Its least value among the training images.
    pub low: f32,
    /// Its largest value among the training images.
    pub high: f32,
}

impl fmt::Display for Warning {
    /// `darker than every training image: 170 against 185 to 201 (…)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [below, above, causes] = self.of.words();
        let comparison = if self.value < self.low { below } else { above };
        let all = |more| [self.value, self.low, self.high].map(|value| self.of.shown(value, more));
        // As many decimals as tell the image from the training images.
        let differs = |[value, low, high]: &[String; 3]| value != low && value != high;
        let [value, low, high] = (0..6).map(all).find(differs).unwrap_or_else(|| all(6));
        write!(f, "{comparison} than every training image: {}{value} against {low}", self.of.quantity())?;
        if low != high {
            write!(f, " to {high}")?;
        }
        write!(f, " ({causes}?)")
    }
}

impl Serialize for Warning {
    /// `{"trait": …, "value": …, "low": …, "high": …, "text": …}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut warning = serializer.serialize_struct("Warning", 5)?;
        warning.serialize_field("trait", &self.of)?;
        warning.serialize_field("value", &self.value)?;
        warning.serialize_field("low", &self.low)?;
        warning.serialize_field("high", &self.high)?;
        warning.serialize_field("text", &self.to_string())?;
        warning.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: Trait, value: f32, low: f32, high: f32) -> String {
        Warning { of, value, low, high }.to_string()
    }

    #[test]
    fn a_warning_says_how_an_image_differs_and_why() {
        assert_eq!(
            text(Trait::Brightness, 170.2, 185.0, 200.8),
            "darker than every training image: 170 against 185 to 201 (the exposure or the light?)"
        );
        assert_eq!(
            text(Trait::Size, 90_000.0, 1_048_576.0, 1_048_576.0),
            "smaller than every training image: pixels 90000 against 1048576 (another camera, another \
             crop or an image resized before?)"
        );
        assert_eq!(
            text(Trait::RedGreen, 0.25, -0.01, 0.02),
            "redder than every training image: red minus green 25 % against -1 % to 2 % (the white \
             balance, the light or another product?)"
        );
        // Decimals are added until the numbers differ.
        let close = text(Trait::Aspect, 1.0005, 1.0, 1.0);
        assert!(close.contains("width over height 1.0005 against 1.0000 ("), "{close}");
    }

    #[test]
    fn json_has_the_numbers_and_the_text() {
        let warning = Warning { of: Trait::BlueGreen, value: 0.5, low: 0.0, high: 0.25 };
        let json = serde_json::to_value(warning).unwrap();
        let expected = serde_json::json!({
            "trait": "blue-green", "value": 0.5, "low": 0.0, "high": 0.25, "text": warning.to_string(),
        });
        assert_eq!(json, expected);
    }
}
