//! The looks of images, and warnings for an image that does not look like those learnt from.

use std::fmt;

use fmam_core::{ImageSize, RgbImage};
use serde::{Deserialize, Serialize};

/// Measures of an image that do not depend on what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {}

impl Look {
    /// The look of `image`, which was resized from the size `original` where that is known.
    pub fn of(_image: &RgbImage, _original: Option<ImageSize>) -> Self {
        Self {}
    }
}

/// The looks of the images that a detector learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {}

impl Profile {
    /// The profile of at least one image; `None` for none.
    pub fn of(looks: &[Look]) -> Option<Self> {
        (!looks.is_empty()).then_some(Self {})
    }

    /// The traits in which an image is outside of what the profile has seen.
    pub fn warnings(&self, _look: &Look) -> Vec<Warning> {
        Vec::new()
    }
}

/// A trait of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trait {
    /// Mean grey value.
    Brightness,
}

/// An image is outside of what the training images showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warning {
    /// The trait.
    #[serde(rename = "trait")]
    pub of: Trait,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.of)
    }
}
