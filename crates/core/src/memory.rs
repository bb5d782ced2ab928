use std::path::PathBuf;

use crate::{CoreError, ImageSize, Label, Mask, RgbImage, Sample, SampleSource, SourceError, Split};

/// A [`SampleSource`] over images that are held in memory. The images should have one size, as
/// those of every source; the one that fits or evaluates says which.
///
/// ```
/// use fmam_core::{ImageSize, Mask, MemorySource, RgbImage, SampleSource, Split};
///
/// let size = ImageSize::square(8);
/// let mut source = MemorySource::new(Split::Test);
/// source.push_normal(RgbImage::filled(size, [0; 3]));
/// let hole = Mask::from_fn(size, |y, _| y < 2);
/// source.push_anomalous("hole", RgbImage::filled(size, [9; 3]), Some(hole))?;
/// assert_eq!(source.len(), 2);
/// assert_eq!(source.sample(1).id, "test/hole/001");
/// # Ok::<(), fmam_core::CoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemorySource {
    split: Split,
    samples: Vec<Sample>,
    pictures: Vec<(RgbImage, Option<Mask>)>,
}

impl MemorySource {
    /// A source without samples; each one pushed belongs to `split`.
    pub fn new(split: Split) -> Self {
        Self { split, samples: Vec::new(), pictures: Vec::new() }
    }

    /// Adds a defect-free image; its mask is the empty one.
    pub fn push_normal(&mut self, image: RgbImage) {
        let mask = Mask::empty(image.size());
        self.push(None, image, Some(mask));
    }

    /// Adds an image with a defect; `mask` is `None` for a data set that has none.
    ///
    /// # Errors
    /// [`CoreError::MaskSize`] for a mask of another size than its image.
    pub fn push_anomalous(
        &mut self,
        defect_type: &str,
        image: RgbImage,
        mask: Option<Mask>,
    ) -> Result<(), CoreError> {
        if let Some(mask) = mask.as_ref().filter(|mask| mask.size() != image.size()) {
            return Err(CoreError::MaskSize { image: image.size(), mask: mask.size() });
        }
        self.push(Some(defect_type), image, mask);
        Ok(())
    }

    fn push(&mut self, defect_type: Option<&str>, image: RgbImage, mask: Option<Mask>) {
        let split = match self.split {
            Split::Train => "train",
            Split::Test => "test",
        };
        self.samples.push(Sample {
            id: format!("{split}/{}/{:03}", defect_type.unwrap_or("normal"), self.samples.len()),
            split: self.split,
            label: if defect_type.is_some() { Label::Anomalous } else { Label::Normal },
            defect_type: defect_type.map(str::to_owned),
            image_path: PathBuf::new(),
            mask_paths: Vec::new(),
        });
        self.pictures.push((image, mask));
    }
}

impl SampleSource for MemorySource {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Ok(self.pictures[index].0.clone())
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(self.pictures[index].1.clone())
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        Ok(self.pictures[index].0.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let mut source = MemorySource::new(Split::Test);
        let image = RgbImage::filled(ImageSize::square(4), [0; 3]);
        let refused = source.push_anomalous("hole", image, Some(Mask::empty(ImageSize::new(4, 5))));
        assert!(matches!(refused, Err(CoreError::MaskSize { .. })), "{refused:?}");
        assert!(source.is_empty());
    }
}
