use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fmam_core::{
    ImageRows, ImageSize, Label, Mask, Original, Preparation, Reading, RgbImage, Sample, SampleSource,
    SourceError, ValueRange,
};

use super::decode::decode_rgb;
use super::depth::{ImageInput, TrainingDepth};
use super::header::{ImageHeader, image_header};
use super::mask::{MaskFormat, MaskedImage, load_union};
use super::mask_image::check_mask_size;
use super::prepare::{inside_of, prepare_image, prepare_mask, within};
use super::regions::Regions;
use super::rows::open_rows;
use super::squeeze::SqueezeNotice;
use super::stream::open;
use crate::told::first_time;
use crate::{Choice, DatasetError};

/// A [`SampleSource`] that decodes image files on request.
pub(crate) struct FileSource {
    samples: Vec<Sample>,
    preparation: Preparation,
    masks: MaskFormat,
    regions: Regions,
    depth: Arc<TrainingFiles>,
    squeeze: SqueezeNotice,
    /// True once a mask with soft edges was told of.
    told_soft: AtomicBool,
}

/// The training images of a data set and the depth of their 16-bit files.
struct TrainingFiles {
    paths: Vec<PathBuf>,
    depth: TrainingDepth,
}

impl TrainingFiles {
    fn input(&self, index: usize) -> Option<ImageInput<'_>> {
        Some(ImageInput::File(&self.paths[index]))
    }

    /// The reading of an image with `header`, by what is known of these files.
    fn reading(&self, reading: &Reading, header: &ImageHeader) -> Result<Reading, DatasetError> {
        self.depth.reading(reading, header, self.paths.len(), |index| self.input(index))
    }
}

impl FileSource {
    /// Checks that every mask has its image's size, by the files' headers. 16-bit files are scaled
    /// by the depth of `samples`.
    pub(crate) fn new(
        samples: Vec<Sample>,
        preparation: &Preparation,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for sample in &samples {
            for mask in &sample.mask_paths {
                check_mask_size(mask, &sample.image_path)?;
            }
        }
        let paths = samples.iter().map(|sample| sample.image_path.clone()).collect();
        let depth = TrainingFiles { paths, depth: TrainingDepth::default() };
        Ok(Self {
            samples,
            preparation: preparation.clone(),
            masks,
            regions: Regions::new(&preparation.region, preparation.reading.max_bytes),
            depth: Arc::new(depth),
            squeeze: SqueezeNotice::default(),
            told_soft: AtomicBool::new(false),
        })
    }

    /// This source with the depth of the training images `train`.
    pub(crate) fn with_depth_of(self, train: &Self) -> Self {
        Self { depth: Arc::clone(&train.depth), ..self }
    }

    /// This source without a warning of images that lose their aspect ratio.
    pub(crate) fn of_any_shape(self) -> Self {
        Self { squeeze: SqueezeNotice::silent(), ..self }
    }

    /// The header of an image that keeps the limit: a size that it states may be any number.
    ///
    /// # Errors
    /// [`DatasetError::TooLarge`], otherwise as [`image_header`].
    fn header(&self, index: usize) -> Result<ImageHeader, DatasetError> {
        let path = &self.samples[index].image_path;
        let header = image_header(path)?;
        header.check_limit(path, self.preparation.reading.max_bytes)?;
        Ok(header)
    }

    fn prepared(&self, index: usize) -> Result<RgbImage, DatasetError> {
        let path = &self.samples[index].image_path;
        let mut stream = open(path)?;
        let header = ImageHeader::read(&mut stream, path)?;
        header.check_limit(path, self.preparation.reading.max_bytes)?;
        let reading = self.depth.reading(&self.preparation.reading, &header)?;
        let region = self.regions.of(path, header.size())?;
        self.squeeze.look(&self.preparation, path, header.size());
        let pixels = decode_rgb(stream, &header, path, &reading)?;
        Ok(prepare_image(pixels, path, &self.preparation, region.as_ref())?.image)
    }

    /// The mask of a sample at the size of its upright file, normal outside of `region`.
    fn mask_at_file(
        &self,
        index: usize,
        header: &ImageHeader,
        region: Option<&Mask>,
    ) -> Result<Option<Mask>, DatasetError> {
        let sample = &self.samples[index];
        if sample.label == Label::Normal {
            return Ok(Some(Mask::empty(header.size())));
        }
        if sample.mask_paths.is_empty() {
            return Ok(None);
        }
        let image =
            MaskedImage { path: &sample.image_path, header, limit: self.preparation.reading.max_bytes };
        match load_union(self.masks, &sample.mask_paths, &image, |mask| self.tell_soft(mask)) {
            Err(DatasetError::BlankMask { mask }) if self.masks == MaskFormat::SoftOrBlank => {
                if first_time(Choice::BlankMask, &mask) {
                    tracing::warn!(mask = %mask.display(), "the mask of an anomalous image has no anomalous pixel");
                }
                Ok(Some(Mask::empty(header.size())))
            }
            mask => Ok(Some(within(mask?, region))),
        }
    }

    /// Notes each mask that is read by half of its range, and tells of the first.
    fn tell_soft(&self, mask: &Path) {
        if self.masks != MaskFormat::Binary {
            return;
        }
        first_time(Choice::SoftMask, mask);
        if !self.told_soft.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                mask = %mask.display(),
                "the mask has soft edges: pixels above half of its range are anomalous, here and in masks like it"
            );
        }
    }
}

impl SampleSource for FileSource {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Ok(self.prepared(index)?)
    }

    /// The rows of an image that keeps its size, all pixels of which count.
    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        if self.preparation.tile_overlap().is_none() {
            return Ok(None);
        }
        let path = &self.samples[index].image_path;
        let header = self.header(index)?;
        if self.regions.of(path, header.size())?.is_some() {
            return Ok(None);
        }
        let reading = self.depth.reading(&self.preparation.reading, &header)?;
        Ok(Some(open_rows(path, &reading)?))
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let sample = &self.samples[index];
        let has_one_size = self.preparation.tile_overlap().is_none();
        match sample.label {
            Label::Normal if has_one_size => return Ok(Some(Mask::empty(self.preparation.size))),
            Label::Anomalous if sample.mask_paths.is_empty() => return Ok(None),
            Label::Normal | Label::Anomalous => {}
        }
        let header = self.header(index)?;
        let frame = self.preparation.frame(header.size());
        let region = self.regions.of(&sample.image_path, header.size())?;
        let Some(mask) = self.mask_at_file(index, &header, region.as_ref())? else { return Ok(None) };
        let inside = inside_of(&frame, region.as_ref(), &sample.image_path)?;
        let is_prepared = frame.is_filled() && frame.content == mask.size();
        let mask = if is_prepared { mask } else { prepare_mask(&mask, &frame) };
        Ok(Some(within(mask, inside.as_ref())))
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        match self.preparation.tile_overlap() {
            Some(_) => Ok(self.header(index)?.size()),
            None => Ok(self.preparation.size),
        }
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        if self.preparation.counts_every_pixel() {
            return Ok(None);
        }
        let path = &self.samples[index].image_path;
        let size = self.header(index)?.size();
        let region = self.regions.of(path, size)?;
        Ok(inside_of(&self.preparation.frame(size), region.as_ref(), path)?)
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        let header = self.header(index)?;
        let inside = self.regions.of(&self.samples[index].image_path, header.size())?;
        let mask = self.mask_at_file(index, &header, inside.as_ref())?;
        Ok(Some(Original { frame: self.preparation.frame(header.size()), mask, inside }))
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        let files = &self.depth;
        let n = files.paths.len();
        match self.preparation.reading.values {
            ValueRange::Auto => {
                let most = self.preparation.reading.max_bytes;
                Ok(files.depth.bits(n, most, |index| files.input(index))?)
            }
            ValueRange::Bits(bits) => {
                for path in &files.paths {
                    if image_header(path)?.is_16_bit() {
                        return Ok(Some(bits));
                    }
                }
                Ok(None)
            }
            ValueRange::Between { .. } => Ok(None),
        }
    }
}
