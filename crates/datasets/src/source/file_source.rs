use fmam_core::{Label, Mask, Preparation, RgbImage, Sample, SampleSource, SourceError};

use super::decode::{MaskFormat, check_mask_size, decode_image, decode_mask, read};
use crate::DatasetError;

/// A [`SampleSource`] that decodes image files on request.
pub(crate) struct FileSource {
    samples: Vec<Sample>,
    preparation: Preparation,
    masks: MaskFormat,
}

impl FileSource {
    /// Checks that every mask has its image's size, by the files' headers.
    pub(crate) fn new(
        samples: Vec<Sample>,
        preparation: &Preparation,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for sample in &samples {
            if let Some(mask) = &sample.mask_path {
                check_mask_size(mask, &sample.image_path)?;
            }
        }
        Ok(Self { samples, preparation: preparation.clone(), masks })
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
        Ok(decode_image(&read(path)?, path, Some(self.preparation.size))?)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let sample = &self.samples[index];
        let path = match (sample.label, &sample.mask_path) {
            (Label::Normal, _) => return Ok(Some(Mask::empty(self.preparation.size))),
            (Label::Anomalous, None) => return Ok(None),
            (Label::Anomalous, Some(path)) => path,
        };
        check_mask_size(path, &sample.image_path)?;
        match decode_mask(self.masks, &read(path)?, path, self.preparation.size) {
            Err(DatasetError::BlankMask { mask, .. }) if self.masks == MaskFormat::BinaryOrBlank => {
                tracing::warn!(mask = %mask.display(), "the mask of an anomalous image has no anomalous pixel");
                Ok(Some(Mask::empty(self.preparation.size)))
            }
            loaded => Ok(Some(loaded?)),
        }
    }
}
