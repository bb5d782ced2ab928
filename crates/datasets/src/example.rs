use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::{Counts, DatasetError};

/// The layout of a data set on disk.
#[derive(Debug)]
pub struct FileLayout {
    /// Names under which the data set's folder is found within the data root.
    pub holders: &'static [&'static str],
    /// Paths that would have been recognised, for a person whose data root holds nothing of the
    /// kind.
    pub expected: &'static str,
    /// The smallest data set in this layout, with which the layout is tested.
    pub example: Example,
}

/// A tiny data set.
#[derive(Debug)]
pub struct Example {
    /// Paths within the data set's folder, separated by `/`, and the content of each.
    pub files: &'static [(&'static str, ExampleFile)],
    /// Its categories, in the order of [`Dataset::categories`](crate::Dataset::categories), and
    /// their images.
    pub counts: &'static [(&'static str, Counts)],
}

/// Content of a file of an [`Example`]. Images and masks are 12 pixels wide and 10 high, in the
/// format that the extension names.
#[derive(Debug, Clone, Copy)]
pub enum ExampleFile {
    /// A colour gradient, another one for each path.
    Image,
    /// A mask whose left half is anomalous: 255, and 0 elsewhere.
    Mask,
    /// A mask whose left half holds the class indices 1 to 3, and 0 elsewhere.
    ClassMask,
    /// A mask without an anomalous pixel.
    BlankMask,
    /// This text.
    Text(&'static str),
}

/// Width and height of images and masks of examples.
const SIDES: (u32, u32) = (12, 10);

impl Example {
    /// Writes the files below `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`DatasetError::Write`], [`DatasetError::Encode`].
    pub fn write(&self, folder: &Path) -> Result<(), DatasetError> {
        for (path, content) in self.files {
            let level = path.bytes().fold(0_u8, u8::wrapping_add) / 2;
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|source| DatasetError::Write { path: parent.to_owned(), source })?;
            }
            content.write(&path, level)?;
        }
        Ok(())
    }
}

impl ExampleFile {
    /// `level` is the least red of an image, below 128.
    fn write(self, path: &Path, level: u8) -> Result<(), DatasetError> {
        let (width, height) = SIDES;
        let is_anomalous = |x: u32| 2 * x < width;
        let encoded = match self {
            Self::Text(text) => {
                return std::fs::write(path, text)
                    .map_err(|source| DatasetError::Write { path: path.to_owned(), source });
            }
            Self::Image => {
                let pixel = |x: u32, y: u32| Rgb([level + x as u8, 40 + 3 * y as u8, 120]);
                RgbImage::from_fn(width, height, pixel).save(path)
            }
            Self::Mask => {
                let pixel = |x, _| Luma([if is_anomalous(x) { 255 } else { 0 }]);
                GrayImage::from_fn(width, height, pixel).save(path)
            }
            Self::BlankMask => GrayImage::new(width, height).save(path),
            Self::ClassMask => {
                let pixel = |x, y| Luma([if is_anomalous(x) { 1 + ((x + y) % 3) as u8 } else { 0 }]);
                GrayImage::from_fn(width, height, pixel).save(path)
            }
        };
        encoded.map_err(|source| DatasetError::Encode { path: path.to_owned(), source })
    }
}
