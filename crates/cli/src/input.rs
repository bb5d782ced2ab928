//! Options that say how image files become the pixels of a network.

use std::path::PathBuf;

use fmam::{ImageSize, InputConfig, ValueRange};

/// The share of a tile that neighbours have in common where nothing else is said.
const OVERLAP: usize = 8;

#[derive(clap::Args)]
pub(crate) struct InputArgs {
    /// Size that images are resized to, a side in pixels or HEIGHTxWIDTH; multiples
    /// of 32, or of 14 for DINOv2
    #[arg(long, value_name = "SIZE", conflicts_with = "tile")]
    pub(crate) image_size: Option<ImageSize>,
    /// Keep the aspect ratio of images and pad them; the padding counts nowhere
    #[arg(long, conflicts_with = "tile")]
    pub(crate) keep_aspect: bool,
    /// Look at images in their own size, in tiles of this size
    #[arg(long, value_name = "SIZE")]
    pub(crate) tile: Option<ImageSize>,
    /// Pixels that neighbouring tiles share [default: an eighth of the tile]
    #[arg(long, value_name = "PIXELS", requires = "tile")]
    pub(crate) overlap: Option<usize>,
    /// Look only where this mask image is white; a folder holds a mask of the same stem for each
    /// image
    #[arg(long, value_name = "MASK")]
    pub(crate) roi: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) files: FileArgs,
}

#[derive(clap::Args)]
pub(crate) struct FileArgs {
    /// Values that become black and white in files of 16 bits and of floats: a depth such as
    /// 12-bit, or LOW,HIGH such as 0,1 [default: the depth that the training images use]
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) value_range: Option<ValueRange>,
    /// Colour behind transparent pixels: red, green and blue, 0 to 255 each [default: 0,0,0]
    #[arg(long, value_name = "R,G,B", value_parser = colour)]
    pub(crate) background: Option<[u8; 3]>,
    /// Memory that a decoded image may take, in MiB [default: 512]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) max_image_mib: Option<u64>,
}

impl InputArgs {
    /// The size of what networks see, where one is given.
    pub(crate) fn size(&self) -> Option<ImageSize> {
        self.tile.or(self.image_size)
    }

    /// The overlap of tiles, where there are some.
    pub(crate) fn tile_overlap(&self) -> Option<usize> {
        let tile = self.tile?;
        Some(self.overlap.unwrap_or(tile.height.min(tile.width) / OVERLAP))
    }

    /// The whole configuration.
    pub(crate) fn config(&self) -> InputConfig {
        let default = InputConfig::default();
        InputConfig {
            keep_aspect: self.keep_aspect,
            tile_overlap: self.tile_overlap(),
            roi: self.roi.clone(),
            value_range: self.files.value_range.unwrap_or(default.value_range),
            background: self.files.background.unwrap_or(default.background),
            max_image_bytes: self.files.max_bytes().unwrap_or(default.max_image_bytes),
        }
    }
}

impl FileArgs {
    /// Bytes that a decoded image may take, where they are given.
    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.max_image_mib.map(|mib| mib << 20)
    }
}

fn colour(text: &str) -> Result<[u8; 3], String> {
    let values: Option<Vec<u8>> = text.split(',').map(|value| value.trim().parse().ok()).collect();
    values
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| format!("`{text}` is no colour; use three numbers from 0 to 255, such as 255,255,255"))
}
