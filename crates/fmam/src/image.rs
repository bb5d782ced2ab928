use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, Label, Mask, Original, RgbImage, Sample, SampleSource, SourceError, Split};
use fmam_datasets::{DatasetError, decode_image, load_image, resize_image, resize_mask};

/// An image to fit on or to score: a file, the bytes of one (PNG, JPEG, BMP, TIFF), or pixels in
/// memory. An image of any size is resized to that of the detector, always with the same filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Image {
    /// An image file.
    File(PathBuf),
    /// The bytes of an image file.
    Bytes(Vec<u8>),
    /// Pixels.
    Pixels(RgbImage),
    /// An image with a name of its own, for errors and verdicts.
    Named(String, Box<Image>),
}

impl Image {
    /// This image under the name `name`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self::Named(name.into(), Box::new(self))
    }

    /// The name: what was given, else the path; `None` for bytes and pixels without a name.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::File(path) => Some(path.display().to_string()),
            Self::Bytes(_) | Self::Pixels(_) => None,
            Self::Named(name, _) => Some(name.clone()),
        }
    }

    /// The file; `None` for bytes and pixels.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Bytes(_) | Self::Pixels(_) => None,
            Self::Named(_, image) => image.path(),
        }
    }

    /// The pixels in `size`, or as they are.
    ///
    /// # Errors
    /// As [`fmam_datasets::load_image`] and [`fmam_datasets::resize_image`].
    pub fn load(&self, size: Option<ImageSize>) -> Result<RgbImage, DatasetError> {
        self.load_as("image in memory", size)
    }

    fn load_as(&self, name: &str, size: Option<ImageSize>) -> Result<RgbImage, DatasetError> {
        match self {
            Self::File(path) => load_image(path, size),
            Self::Bytes(bytes) => decode_image(bytes, name, size),
            Self::Pixels(pixels) => resize_image(pixels.clone(), name, size.unwrap_or(pixels.size())),
            Self::Named(name, image) => image.load_as(name, size),
        }
    }
}

impl From<PathBuf> for Image {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Image {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Image {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&str> for Image {
    /// The file of this path.
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<String> for Image {
    /// The file of this path.
    fn from(path: String) -> Self {
        Self::File(path.into())
    }
}

impl From<Vec<u8>> for Image {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Image {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

impl From<RgbImage> for Image {
    fn from(pixels: RgbImage) -> Self {
        Self::Pixels(pixels)
    }
}

impl From<&RgbImage> for Image {
    fn from(pixels: &RgbImage) -> Self {
        Self::Pixels(pixels.clone())
    }
}

impl From<&Image> for Image {
    fn from(image: &Image) -> Self {
        image.clone()
    }
}

/// Normal training images of one size, each decoded on request.
pub(crate) struct TrainImages {
    images: Vec<Image>,
    samples: Vec<Sample>,
    size: ImageSize,
}

impl TrainImages {
    /// The images, each of which becomes `size`.
    pub(crate) fn new(images: Vec<Image>, size: ImageSize) -> Self {
        let sample = |(index, image): (usize, &Image)| Sample {
            id: image.name().unwrap_or_else(|| format!("train/normal/{index:03}")),
            split: Split::Train,
            label: Label::Normal,
            defect_type: None,
            image_path: image.path().map(PathBuf::from).unwrap_or_default(),
            mask_paths: Vec::new(),
        };
        let samples = images.iter().enumerate().map(sample).collect();
        Self { images, samples, size }
    }
}

impl TrainImages {
    /// Image `index` in the common size, and the size that it was given in.
    pub(crate) fn with_original_size(&self, index: usize) -> Result<(RgbImage, ImageSize), DatasetError> {
        let name = &self.samples[index].id;
        let original = self.images[index].load_as(name, None)?;
        let size = original.size();
        Ok((resize_image(original, name, self.size)?, size))
    }
}

impl SampleSource for TrainImages {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Ok(self.images[index].load_as(&self.samples[index].id, Some(self.size))?)
    }

    fn mask(&self, _index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(Some(Mask::empty(self.size)))
    }
}

/// A source whose images and masks become one size, whatever size they have.
pub(crate) struct Resized<'a> {
    pub(crate) source: &'a dyn SampleSource,
    pub(crate) size: ImageSize,
}

impl SampleSource for Resized<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.source.sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Ok(resize_image(self.source.image(index)?, &self.sample(index).id, self.size)?)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(self.source.mask(index)?.map(|mask| resize_mask(&mask, self.size)))
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        self.source.inside(index)
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        self.source.original(index)
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        self.source.bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_its_bytes_and_its_pixels_are_one_image_at_every_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = RgbImage::from_fn(ImageSize::new(9, 6), |y, x| [20 * y as u8, 30 * x as u8, 7]);
        fmam_report::write_png(&path, &pixels).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for size in [None, Some(ImageSize::new(4, 8))] {
            let expected = Image::from(&path).load(size).unwrap();
            assert_eq!(Image::from(bytes.clone()).load(size).unwrap(), expected);
            assert_eq!(Image::from(&pixels).named("x").load(size).unwrap(), expected);
        }
        let broken = Image::from(&bytes[..20]).named("upload 7").load(None).unwrap_err();
        assert!(broken.to_string().contains("upload 7"), "{broken}");
    }
}
