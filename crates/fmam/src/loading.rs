//! From images to what a detector sees, apart from the scoring.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fmam_core::{ImageSize, Preparation, RgbImage, ordered_map};
use fmam_datasets::{DatasetError, Prepared, Regions, image_size, prepare_image};
use fmam_methods::Detector;

use crate::large::LARGE;
use crate::{Error, Image};

/// The way from images to what one detector sees: decoded, resized, padded, within the region of
/// interest. A server loads images as they come, on any thread, and scores them together by
/// [`Session::score`](crate::Session::score); [`Session::predict`](crate::Session::predict) does
/// both.
#[derive(Debug, Clone)]
pub struct Loader {
    preparation: Preparation,
    regions: Arc<Regions>,
    keeps_originals: bool,
}

/// An image on the way to its verdict: its pixels as the detector sees them, or the error that they
/// could not be read.
#[derive(Debug)]
pub struct LoadedImage {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) path: Option<PathBuf>,
    pub(crate) pixels: Result<Pixels, Error>,
    pub(crate) seconds: f64,
}

#[derive(Debug)]
pub(crate) enum Pixels {
    /// The pixels, as the detector sees them, and the image as it was given where it is kept.
    Whole(Prepared, Option<RgbImage>),
    /// An image file that is scored while it is read.
    Large(PathBuf, ImageSize),
}

impl LoadedImage {
    /// The error of an image that could not be read.
    pub fn error(&self) -> Option<&Error> {
        self.pixels.as_ref().err()
    }

    /// True for an image file that is scored while it is read.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self.pixels, Ok(Pixels::Large(..)))
    }
}

impl Loader {
    /// The loader of the images of `detector`.
    pub fn of(detector: &Detector) -> Self {
        let preparation = detector.card().preparation();
        let regions = Arc::new(Regions::new(&preparation.region, preparation.reading.max_bytes));
        Self { preparation, regions, keeps_originals: false }
    }

    /// The loader that keeps images as they were given, see
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals).
    #[must_use]
    pub fn with_originals(self) -> Self {
        Self { keeps_originals: true, ..self }
    }

    /// Loads one image, which is number `index`, from 0, for its verdict and for errors.
    pub fn load(&self, image: &Image, index: usize) -> LoadedImage {
        let start = Instant::now();
        let name = image.name().unwrap_or_else(|| format!("image {index}"));
        let pixels = self.pixels(image, &name).map_err(Error::from);
        let path = image.path().map(PathBuf::from);
        LoadedImage { index, name, path, pixels, seconds: start.elapsed().as_secs_f64() }
    }

    /// The pixels of `image` as it was given, upright, in 8 bits, read as the detector reads them.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an image that cannot be read.
    pub fn original(&self, image: &Image) -> Result<RgbImage, Error> {
        let name = image.name().unwrap_or_else(|| "image in memory".to_owned());
        Ok(image.read(&name, &self.preparation.reading)?)
    }

    /// Loads `images`, the first of which is number `first`, on `threads` threads.
    pub(crate) fn load_all(&self, images: &[Image], first: usize, threads: usize) -> Vec<LoadedImage> {
        let mut loaded = Vec::with_capacity(images.len());
        let work = |at: usize| self.load(&images[at], first + at);
        let collected = ordered_map(images.len(), threads, images.len(), work, |_, image| {
            loaded.push(image);
            Ok::<(), std::convert::Infallible>(())
        });
        match collected {
            Ok(()) => loaded,
        }
    }

    fn pixels(&self, image: &Image, name: &str) -> Result<Pixels, DatasetError> {
        if let (Some(_), Some(path)) = (self.preparation.tile_overlap(), image.path()) {
            let size = image_size(path)?;
            if size.pixels() > LARGE {
                return Ok(Pixels::Large(path.to_owned(), size));
            }
        }
        let original = image.read(name, &self.preparation.reading)?;
        let region = self.regions.of(image.path().unwrap_or(Path::new(name)), original.size())?;
        let kept = self.keeps_originals.then(|| original.clone());
        Ok(Pixels::Whole(prepare_image(original, name, &self.preparation, region.as_ref())?, kept))
    }
}
