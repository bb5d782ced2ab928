use std::sync::Arc;

use fmam_core::{ImageSize, Label, Mask, RgbImage, Sample, SampleSource, SourceError};

use super::decode::{MaskFormat, check_mask_size, decode_image, decode_mask, read};
use super::digest::FileDigests;
use crate::DatasetError;

/// A [`SampleSource`] that decodes image files on request.
pub(crate) struct FileSource {
    samples: Vec<Sample>,
    size: ImageSize,
    masks: MaskFormat,
    digests: Option<Arc<FileDigests>>,
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
        Ok(Self { samples, size, masks, digests: None })
    }

    /// Digests of the files, to which each file adds its own when it is first decoded.
    pub(crate) fn digests(&mut self) -> Arc<FileDigests> {
        Arc::clone(self.digests.get_or_insert_with(|| Arc::new(FileDigests::new(self.samples.len()))))
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
        let bytes = read(path)?;
        let image = decode_image(&bytes, path, Some(self.size))?;
        if let Some(digests) = &self.digests {
            digests.note_image(index, &bytes);
        }
        Ok(image)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let sample = &self.samples[index];
        let path = match (sample.label, &sample.mask_path) {
            (Label::Normal, _) => return Ok(Some(Mask::empty(self.size))),
            (Label::Anomalous, None) => return Ok(None),
            (Label::Anomalous, Some(path)) => path,
        };
        check_mask_size(path, &sample.image_path)?;
        let bytes = read(path)?;
        if let Some(digests) = &self.digests {
            digests.note_mask(index, &bytes);
        }
        match decode_mask(self.masks, &bytes, path, self.size) {
            Err(DatasetError::BlankMask { mask, .. }) if self.masks == MaskFormat::BinaryOrBlank => {
                tracing::warn!(mask = %mask.display(), "the mask of an anomalous image has no anomalous pixel");
                Ok(Some(Mask::empty(self.size)))
            }
            loaded => Ok(Some(loaded?)),
        }
    }
}
