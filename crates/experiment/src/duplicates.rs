use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fmam_core::{RgbImage, Sample, Split};

use crate::image_digest;

/// Images of the same pixels, found while they are decoded, from any number of threads.
#[derive(Debug, Default)]
pub(crate) struct DuplicateImages {
    /// The samples of each image: the digest of its pixels, training first, then by id.
    by_pixels: Mutex<BTreeMap<String, Vec<(bool, String)>>>,
}

impl DuplicateImages {
    pub(crate) fn add(&self, sample: &Sample, image: &RgbImage) {
        let digest = image_digest(image);
        let mut by_pixels = self.by_pixels.lock().unwrap_or_else(PoisonError::into_inner);
        by_pixels.entry(digest).or_default().push((sample.split == Split::Test, sample.id.clone()));
    }

    /// The first sample of each image that has several with each of the others, unless both are for
    /// training; sorted. A test image that was learnt from, or is counted twice, makes figures wrong.
    pub(crate) fn pairs(self) -> Vec<[String; 2]> {
        let by_pixels = self.by_pixels.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = Vec::new();
        for mut samples in by_pixels.into_values() {
            samples.sort_unstable();
            let mut samples = samples.into_iter();
            let Some((_, first)) = samples.next() else { continue };
            let of_test = samples.filter(|(is_test, _)| *is_test);
            pairs.extend(of_test.map(|(_, other)| [first.clone(), other]));
        }
        pairs.sort_unstable();
        if let Some([first, second]) = pairs.first() {
            tracing::warn!(
                pairs = pairs.len(),
                first = first.as_str(),
                second = second.as_str(),
                "test images have the pixels of other images: figures with them are too good"
            );
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fmam_core::{ImageSize, Label};

    use super::*;

    #[test]
    fn a_test_image_that_was_learnt_from_is_found_by_its_pixels() {
        let images = DuplicateImages::default();
        for (id, split, shade) in [
            ("test/a", Split::Test, 1),
            ("train/x", Split::Train, 1),
            ("train/y", Split::Train, 2),
            ("train/z", Split::Train, 2),
            ("test/b", Split::Test, 3),
            ("test/c", Split::Test, 3),
            ("test/d", Split::Test, 4),
        ] {
            let sample = Sample {
                id: id.to_owned(),
                split,
                label: Label::Normal,
                defect_type: None,
                image_path: PathBuf::new(),
                mask_path: None,
            };
            images.add(&sample, &RgbImage::filled(ImageSize::square(2), [shade; 3]));
        }
        let expected = [["test/b", "test/c"], ["train/x", "test/a"]];
        assert_eq!(images.pairs(), expected.map(|pair| pair.map(str::to_owned)));
    }
}
