use fmam_core::{ImageSize, Label, Mask, RgbImage, Sample, SampleSource, SourceError};

use super::decode::{MaskFormat, check_mask_size, decode_image, decode_mask, read};
use crate::DatasetError;

/// A [`SampleSource`] that decodes image files on request.
pub(crate) struct FileSource {
    samples: Vec<Sample>,
    size: ImageSize,
    masks: MaskFormat,
}

impl FileSource {
    /// Checks that every mask has its image's size, by the files' headers.
    pub(crate) fn new(
        samples: Vec<Sample>,
        size: ImageSize,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for sample in &samples {
            if let Some(mask) = &sample.mask_path {
                check_mask_size(mask, &sample.image_path)?;
            }
        }
        Ok(Self { samples, size, masks })
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
        let path = &self.samples[index].image_path;
        Ok(decode_image(&read(path)?, path, Some(self.size))?)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let sample = &self.samples[index];
        let path = match (sample.label, &sample.mask_path) {
            (Label::Normal, _) => return Ok(Some(Mask::empty(self.size))),
            (Label::Anomalous, None) => return Ok(None),
            (Label::Anomalous, Some(path)) => path,
        };
        check_mask_size(path, &sample.image_path)?;
        match decode_mask(self.masks, &read(path)?, path, self.size) {
            Err(DatasetError::BlankMask { mask, .. }) if self.masks == MaskFormat::BinaryOrBlank => {
                tracing::warn!(mask = %mask.display(), "the mask of an anomalous image has no anomalous pixel");
                Ok(Some(Mask::empty(self.size)))
            }
            loaded => Ok(Some(loaded?)),
        }
    }
}
