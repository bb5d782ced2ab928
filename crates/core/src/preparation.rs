use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Frame, ImageSize, Mask, Reading};

/// The way from an image file to the pixels that a detector sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// The size that the detector sees; with [`Placing::Tiles`] that of a tile.
    pub size: ImageSize,
    /// The values of the file.
    pub reading: Reading,
    /// The place of an image of another size.
    pub placing: Placing,
    /// The part of the image that is looked at.
    pub region: RegionOfInterest,
}

impl Preparation {
    /// All of an image, resized to `size`.
    pub fn new(size: ImageSize) -> Self {
        Self { size, reading: Reading::default(), placing: Placing::Squeeze, region: RegionOfInterest::Whole }
    }

    /// The colour of padding and of what lies outside of the region of interest: the mean of
    /// ImageNet, which is about 0 after the normalisation of a backbone.
    pub const FILL: [u8; 3] = [124, 116, 104];

    /// The place of an image of `original`.
    pub fn frame(&self, original: ImageSize) -> Frame {
        match self.placing {
            Placing::Squeeze => Frame::filling(original, self.size),
            Placing::KeepAspect => Frame::keeping_aspect(original, self.size),
            Placing::Tiles { .. } => Frame::filling(original, original),
        }
    }

    /// True if no image has a pixel that counts nowhere: there are no region and no padding.
    pub fn counts_every_pixel(&self) -> bool {
        self.region.is_whole() && self.placing != Placing::KeepAspect
    }

    /// The overlap of tiles in pixels; `None` for a detector that sees the whole image at once.
    pub fn tile_overlap(&self) -> Option<usize> {
        match self.placing {
            Placing::Tiles { overlap } => Some(overlap),
            Placing::Squeeze | Placing::KeepAspect => None,
        }
    }
}

impl From<ImageSize> for Preparation {
    fn from(size: ImageSize) -> Self {
        Self::new(size)
    }
}

/// The place of an image of another size than the detector's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placing {
    /// The image is resized; its aspect ratio is not kept.
    #[default]
    Squeeze,
    /// The image is resized in its aspect ratio and padded.
    KeepAspect,
    /// The image keeps its size and is cut into tiles.
    Tiles {
        /// Pixels that neighbouring tiles share at least.
        overlap: usize,
    },
}

impl Placing {
    /// True for [`Placing::Squeeze`].
    pub fn is_squeeze(&self) -> bool {
        *self == Self::Squeeze
    }
}

/// The part of an image that is looked at: pixels outside get one colour before a detector sees the
/// image, and count in no score and in no figure.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionOfInterest {
    /// All of the image.
    #[default]
    Whole,
    /// One region for all images, 1 inside. It is resized to the size of each image.
    One(Mask),
    /// A folder of masks: the one of the same stem belongs to an image.
    Each(PathBuf),
}

impl RegionOfInterest {
    /// True for [`RegionOfInterest::Whole`].
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}
