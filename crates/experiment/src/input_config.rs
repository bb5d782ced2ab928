use std::path::PathBuf;

use fmam_core::{ImageSize, Placing, Preparation, Reading, RegionOfInterest, ValueRange};
use fmam_datasets::load_region;
use serde::{Deserialize, Serialize};

use crate::{ExperimentError, content};

/// The way from image files to the pixels that networks see, beside their size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// True to keep the aspect ratio of images and to pad them.
    pub keep_aspect: bool,
    /// Pixels that neighbouring tiles share at least; absent for images that are seen whole. Tiles
    /// have the image size of the experiment, and images keep theirs.
    pub tile_overlap: Option<usize>,
    /// The region of interest: a mask for all images, or a folder with a mask of the same stem for
    /// each.
    pub roi: Option<PathBuf>,
    /// The values of 16-bit and floating-point files that become black and white.
    pub value_range: ValueRange,
    /// The colour behind transparent pixels, red, green and blue.
    pub background: [u8; 3],
    /// Bytes that a decoded image may take.
    pub max_image_bytes: u64,
}

impl Default for InputConfig {
    fn default() -> Self {
        let Reading { values, background, max_bytes } = Reading::default();
        Self {
            keep_aspect: false,
            tile_overlap: None,
            roi: None,
            value_range: values,
            background,
            max_image_bytes: max_bytes,
        }
    }
}

impl InputConfig {
    /// The place of an image of another size than `size`.
    ///
    /// # Errors
    /// [`ExperimentError::TileOverlap`] for an overlap that is not below the sides of a tile,
    /// [`ExperimentError::TilesKeepAspect`] for tiles with padding.
    pub fn placing(&self, size: ImageSize) -> Result<Placing, ExperimentError> {
        match (self.tile_overlap, self.keep_aspect) {
            (None, false) => Ok(Placing::Squeeze),
            (None, true) => Ok(Placing::KeepAspect),
            (Some(_), true) => Err(ExperimentError::TilesKeepAspect),
            (Some(overlap), false) if overlap < size.height.min(size.width) => Ok(Placing::Tiles { overlap }),
            (Some(overlap), false) => Err(ExperimentError::TileOverlap { overlap, tile: size }),
        }
    }

    /// The reading of files.
    pub fn reading(&self) -> Reading {
        let Self { value_range, background, max_image_bytes, .. } = *self;
        Reading { values: value_range, background, max_bytes: max_image_bytes }
    }

    /// SHA-256 of the names and contents of the region's files; `None` for whole images.
    ///
    /// # Errors
    /// [`ExperimentError::Read`] naming a file that cannot be read.
    pub(crate) fn roi_sha256(&self) -> Result<Option<String>, ExperimentError> {
        self.roi.as_deref().map(content::files_sha256).transpose()
    }

    /// The whole way to pixels of `size`, with the region of interest read from its file.
    ///
    /// # Errors
    /// As [`InputConfig::placing`], and [`ExperimentError::Dataset`] for a region that cannot be
    /// read.
    pub fn preparation(&self, size: ImageSize) -> Result<Preparation, ExperimentError> {
        let (placing, reading) = (self.placing(size)?, self.reading());
        let region = match &self.roi {
            None => RegionOfInterest::Whole,
            Some(folder) if folder.is_dir() => RegionOfInterest::Each(folder.clone()),
            Some(file) => RegionOfInterest::One(load_region(file, reading.max_bytes)?),
        };
        Ok(Preparation { size, reading, placing, region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_squeezed_padded_or_cut() {
        let size = ImageSize::new(64, 128);
        let placing = |keep_aspect, tile_overlap| {
            InputConfig { keep_aspect, tile_overlap, ..InputConfig::default() }.placing(size)
        };
        assert_eq!(placing(false, None).unwrap(), Placing::Squeeze);
        assert_eq!(placing(true, None).unwrap(), Placing::KeepAspect);
        assert_eq!(placing(false, Some(63)).unwrap(), Placing::Tiles { overlap: 63 });
        assert!(matches!(placing(false, Some(64)), Err(ExperimentError::TileOverlap { overlap: 64, .. })));
        assert!(matches!(placing(true, Some(0)), Err(ExperimentError::TilesKeepAspect)));
    }
}
