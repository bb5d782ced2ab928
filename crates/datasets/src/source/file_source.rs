use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fmam_core::{Label, Mask, Preparation, RgbImage, Sample, SampleSource, SourceError};

use super::area::resize_mask;
use super::decode::{check_mask_size, decode_image, read};
use super::mask::{MaskFormat, load_union};
use crate::DatasetError;

/// A [`SampleSource`] that decodes image files on request.
pub(crate) struct FileSource {
    samples: Vec<Sample>,
    preparation: Preparation,
    masks: MaskFormat,
    /// True once a mask with soft edges was told of.
    told_soft: AtomicBool,
}

impl FileSource {
    /// Checks that every mask has its image's size, by the files' headers.
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
        Ok(Self { samples, preparation: preparation.clone(), masks, told_soft: AtomicBool::new(false) })
    }

    /// Tells once of a mask that is read by half of its range.
    fn tell_soft(&self, mask: &Path) {
        if self.masks == MaskFormat::Binary && !self.told_soft.swap(true, Ordering::Relaxed) {
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
        let path = &self.samples[index].image_path;
        Ok(decode_image(&read(path)?, path, Some(self.preparation.size))?)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let sample = &self.samples[index];
        if sample.label == Label::Normal {
            return Ok(Some(Mask::empty(self.preparation.size)));
        }
        if sample.mask_paths.is_empty() {
            return Ok(None);
        }
        let tell_soft = |mask: &Path| self.tell_soft(mask);
        match load_union(self.masks, &sample.mask_paths, &sample.image_path, tell_soft) {
            Err(DatasetError::BlankMask { mask }) if self.masks == MaskFormat::SoftOrBlank => {
                tracing::warn!(mask = %mask.display(), "the mask of an anomalous image has no anomalous pixel");
                Ok(Some(Mask::empty(self.preparation.size)))
            }
            loaded => Ok(Some(resize_mask(&loaded?, self.preparation.size))),
        }
    }
}
