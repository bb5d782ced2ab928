use std::path::{Path, PathBuf};

use fmam_core::{
    ImageSize, Label, Mask, Original, Preparation, Reading, RgbImage, Sample, SampleSource, SourceError,
    Split, ValueRange,
};
use fmam_datasets::{
    DatasetError, ImageHeader, ImageInput, Prepared, Regions, SqueezeNotice, TrainingDepth, decode_header,
    image_header, inside_of, prepare_image, prepare_mask, read_image, read_image_bytes, resize_image,
};

use crate::Error;

/// An image to fit on or to score: a file, the bytes of one (PNG, JPEG, BMP, TIFF, WebP, PNM, GIF),
/// or pixels in memory. An image of any size is resized to that of the detector, always with the
/// same filter.
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

    /// The bytes of the file that was given as such; `None` for a path and for pixels.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::File(_) | Self::Pixels(_) => None,
            Self::Named(_, image) => image.bytes(),
        }
    }

    /// Height and width after the EXIF orientation, from the header: no pixel is decoded.
    ///
    /// # Errors
    /// [`Error::Experiment`] for a file that is not an image, or of a kind that is not read.
    pub fn size(&self) -> Result<ImageSize, Error> {
        let name = self.name().unwrap_or_else(|| "image in memory".to_owned());
        match self.header(&name)? {
            Some(header) => Ok(header.size()),
            None => Ok(self.read(&name, &Reading::default())?.size()),
        }
    }

    /// The format of the file as people write it: `PNG`, `JPEG`, `TIFF`, `WebP`, `GIF`, `PNM` or
    /// `BMP`, by its header and not by its name; `PNG` for pixels, which have no file.
    ///
    /// # Errors
    /// As [`Image::size`].
    pub fn format(&self) -> Result<&'static str, Error> {
        let name = self.name().unwrap_or_else(|| "image in memory".to_owned());
        Ok(self.header(&name)?.map_or("PNG", |header| header.format()))
    }

    /// The pixels in `size`, or as they are.
    ///
    /// # Errors
    /// As [`fmam_datasets::load_image`] and [`fmam_datasets::resize_image`].
    pub fn load(&self, size: Option<ImageSize>) -> Result<RgbImage, DatasetError> {
        let name = self.name().unwrap_or_else(|| "image in memory".to_owned());
        let pixels = self.read(&name, &Reading::default())?;
        let size = size.unwrap_or(pixels.size());
        resize_image(pixels, &name, size)
    }

    /// The pixels as they are, upright, in 8 bits as `reading` says; `name` is that of an image
    /// without one in errors.
    ///
    /// # Errors
    /// As [`fmam_datasets::read_image`].
    pub(crate) fn read(&self, name: &str, reading: &Reading) -> Result<RgbImage, DatasetError> {
        match self {
            Self::File(path) => read_image(path, reading),
            Self::Bytes(bytes) => read_image_bytes(bytes, name, reading),
            Self::Pixels(pixels) => Ok(pixels.clone()),
            Self::Named(name, image) => image.read(name, reading),
        }
    }

    /// The header of the file; `None` for pixels.
    pub(crate) fn header(&self, name: &str) -> Result<Option<ImageHeader>, DatasetError> {
        match self {
            Self::File(path) => image_header(path).map(Some),
            Self::Bytes(bytes) => decode_header(bytes, name).map(Some),
            Self::Pixels(_) => Ok(None),
            Self::Named(name, image) => image.header(name),
        }
    }

    /// The file or its bytes; `None` for pixels.
    fn input<'a>(&'a self, name: &'a str) -> Option<ImageInput<'a>> {
        match self {
            Self::File(path) => Some(ImageInput::File(path)),
            Self::Bytes(bytes) => Some(ImageInput::Bytes(bytes, name)),
            Self::Pixels(_) => None,
            Self::Named(name, image) => image.input(name),
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

/// Normal training images, each decoded and prepared on request.
pub(crate) struct TrainImages {
    images: Vec<Image>,
    samples: Vec<Sample>,
    preparation: Preparation,
    regions: Regions,
    depth: TrainingDepth,
    squeeze: SqueezeNotice,
}

impl TrainImages {
    /// The images, each of which is prepared as `preparation` says.
    pub(crate) fn new(images: Vec<Image>, preparation: &Preparation) -> Self {
        let sample = |(index, image): (usize, &Image)| Sample {
            id: image.name().unwrap_or_else(|| format!("train/normal/{index:03}")),
            split: Split::Train,
            label: Label::Normal,
            defect_type: None,
            image_path: image.path().map(PathBuf::from).unwrap_or_default(),
            mask_paths: Vec::new(),
        };
        let samples = images.iter().enumerate().map(sample).collect();
        let regions = Regions::new(&preparation.region, preparation.reading.max_bytes);
        Self {
            images,
            samples,
            preparation: preparation.clone(),
            regions,
            depth: TrainingDepth::default(),
            squeeze: SqueezeNotice::default(),
        }
    }

    /// Image `index` as a detector sees it.
    pub(crate) fn prepared(&self, index: usize) -> Result<Prepared, DatasetError> {
        let (image, name) = (&self.images[index], &self.samples[index].id);
        let reading = match image.header(name)? {
            None => self.preparation.reading,
            Some(header) => {
                let input = |index: usize| self.images[index].input(&self.samples[index].id);
                self.depth.reading(&self.preparation.reading, &header, self.images.len(), input)?
            }
        };
        let pixels = image.read(name, &reading)?;
        self.squeeze.look(&self.preparation, Path::new(name), pixels.size());
        let region = self.regions.of(self.region_name(index), pixels.size())?;
        prepare_image(pixels, name, &self.preparation, region.as_ref())
    }

    /// The path by which the region of interest of image `index` is found.
    fn region_name(&self, index: usize) -> &Path {
        self.images[index].path().unwrap_or(Path::new(&self.samples[index].id))
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
        Ok(self.prepared(index)?.image)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(Some(Mask::empty(self.size(index)?)))
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        Ok(self.preparation.frame(self.original_size(index)?).size)
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        if self.preparation.counts_every_pixel() {
            return Ok(None);
        }
        let (name, size) = (self.region_name(index), self.original_size(index)?);
        let region = self.regions.of(name, size)?;
        Ok(inside_of(&self.preparation.frame(size), region.as_ref(), name)?)
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        if self.preparation.reading.values != ValueRange::Auto {
            return Ok(None);
        }
        let most = self.preparation.reading.max_bytes;
        Ok(self
            .depth
            .bits(self.images.len(), most, |index| self.images[index].input(&self.samples[index].id))?)
    }
}

impl TrainImages {
    /// The size of image `index` as it was given.
    pub(crate) fn original_size(&self, index: usize) -> Result<ImageSize, DatasetError> {
        let (image, name) = (&self.images[index], &self.samples[index].id);
        match image.header(name)? {
            Some(header) => Ok(header.size()),
            None => Ok(image.read(name, &self.preparation.reading)?.size()),
        }
    }
}

/// A source whose images become what a detector sees. Images that their source has prepared from
/// files stay as they are.
pub(crate) struct PreparedSource<'a> {
    source: &'a dyn SampleSource,
    preparation: Preparation,
    regions: Regions,
    /// True for a source of files, which prepares their images itself.
    is_prepared: bool,
}

impl<'a> PreparedSource<'a> {
    /// The images of `source`, prepared as `preparation` says.
    pub(crate) fn new(source: &'a dyn SampleSource, preparation: &Preparation) -> Self {
        let regions = Regions::new(&preparation.region, preparation.reading.max_bytes);
        // A file that cannot be read is told when its image is asked for.
        let is_prepared = !source.is_empty() && source.original(0).is_ok_and(|original| original.is_some());
        Self { source, preparation: preparation.clone(), regions, is_prepared }
    }

    /// True if the images of the source stay as they are.
    pub(crate) fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    fn prepared(&self, index: usize, pixels: RgbImage) -> Result<Prepared, SourceError> {
        let name = &self.source.sample(index).id;
        let region = self.regions.of(Path::new(name), pixels.size())?;
        Ok(prepare_image(pixels, name, &self.preparation, region.as_ref())?)
    }
}

impl SampleSource for PreparedSource<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.source.sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        let pixels = self.source.image(index)?;
        if self.is_prepared { Ok(pixels) } else { Ok(self.prepared(index, pixels)?.image) }
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let mask = self.source.mask(index)?;
        if self.is_prepared {
            return Ok(mask);
        }
        Ok(mask.map(|mask| prepare_mask(&mask, &self.preparation.frame(mask.size()))))
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        Ok(match self.preparation.tile_overlap() {
            None => self.preparation.size,
            Some(_) => self.source.size(index)?,
        })
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        if self.is_prepared {
            return self.source.inside(index);
        }
        if self.preparation.counts_every_pixel() {
            return Ok(None);
        }
        let (name, size) = (Path::new(&self.sample(index).id), self.source.size(index)?);
        let region = self.regions.of(name, size)?;
        Ok(inside_of(&self.preparation.frame(size), region.as_ref(), name)?)
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        if self.is_prepared {
            return self.source.original(index);
        }
        let size = self.source.size(index)?;
        let inside = self.regions.of(Path::new(&self.sample(index).id), size)?;
        let (frame, mask) = (self.preparation.frame(size), self.source.mask(index)?);
        Ok(Some(Original { frame, mask, inside }))
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
