use std::collections::HashMap;
use std::hash::Hash;

use fmam_core::{ImageSize, OneLarge, Progress, RgbImage, Sample, SourceError, StageId, ordered_map};
use fmam_files::Hasher;

use crate::{Category, DatasetError};

/// Two samples of a category with the same pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Id of the first sample, in the order of the training and then of the test images.
    pub first: String,
    /// Id of the other.
    pub second: String,
    /// The consequence.
    pub kind: DuplicateKind,
}

/// The consequence of a picture that is in a data set twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DuplicateKind {
    /// Trained and tested on: the score of the test image is too low.
    TrainAndTest,
    /// Normal and anomalous in the test split: one of both labels is wrong.
    BothLabels,
    /// Twice in one split under one label: it counts twice.
    SameClass,
}

/// The pairs of samples of `category` whose decoded pixels are the same, whatever their files are
/// called and however they are encoded. Of several samples with the same pixels, each one after
/// the first is paired with the first of each split and label before it. Pixels are compared by
/// their SHA-256, in the size of the category: larger images that differ in less than that size
/// shows count as the same. Images are decoded on `threads` threads; at most `2 * threads` are in
/// memory beside those that the category caches.
///
/// # Errors
/// The errors of the images, and [`DatasetError::Cancelled`].
pub fn duplicates(
    category: &Category,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Duplicate>, SourceError> {
    let sources = [&*category.train, &*category.test];
    progress.start(&StageId::READING, sources.iter().map(|source| source.len() as u64).sum());
    let (mut repeated, mut found, mut n_read) = (Repeated::default(), Vec::new(), 0);
    let large = OneLarge::default();
    for source in sources {
        let work = |index| {
            let _alone = large.enter(source, index);
            source.image(index).map(|image| PixelDigest::of(&image))
        };
        ordered_map(source.len(), threads, 2 * threads, work, |index, digest| -> Result<(), SourceError> {
            if progress.cancelled() {
                return Err(DatasetError::Cancelled.into());
            }
            found.extend(repeated.add(source.sample(index), digest?));
            n_read += 1;
            progress.update(n_read, "");
            Ok(())
        })?;
    }
    progress.finish();
    Ok(found)
}

/// SHA-256 over the size and the pixels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelDigest([u8; 32]);

impl PixelDigest {
    /// The digest of `image`.
    pub fn of(image: &RgbImage) -> Self {
        let ImageSize { height, width } = image.size();
        let mut digest = Hasher::default();
        digest.update((height as u64).to_le_bytes());
        digest.update((width as u64).to_le_bytes());
        digest.update(image.data());
        Self(*digest.finish().as_bytes())
    }
}

/// The samples of a category that were seen, by a digest of their pixels.
#[derive(Debug)]
pub struct Repeated<'a, D = PixelDigest> {
    first: HashMap<D, Vec<&'a Sample>>,
}

impl<D> Default for Repeated<'_, D> {
    fn default() -> Self {
        Self { first: HashMap::new() }
    }
}

impl<'a, D: Eq + Hash> Repeated<'a, D> {
    /// Adds `sample` and gives its pairs with earlier samples of the same pixels, as
    /// [`duplicates`](fn@duplicates) has them.
    pub fn add(&mut self, sample: &'a Sample, digest: D) -> Vec<Duplicate> {
        let earlier = self.first.entry(digest).or_default();
        let pair = |first: &&Sample| Duplicate {
            first: first.id.clone(),
            second: sample.id.clone(),
            kind: kind(first, sample),
        };
        let pairs = earlier.iter().map(pair).collect();
        let class = |sample: &Sample| (sample.split, sample.label);
        if !earlier.iter().any(|first| class(first) == class(sample)) {
            earlier.push(sample);
        }
        pairs
    }
}

fn kind(first: &Sample, second: &Sample) -> DuplicateKind {
    match (first.split == second.split, first.label == second.label) {
        (false, _) => DuplicateKind::TrainAndTest,
        (true, false) => DuplicateKind::BothLabels,
        (true, true) => DuplicateKind::SameClass,
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Silent;

    use super::*;
    use crate::dataset;
    use crate::{DatasetOptions, Example, ExampleFile};

    /// Copies `from` to `to` as an image file of the format that the name says.
    fn copy(root: &std::path::Path, from: &str, to: &str) {
        image::open(root.join(from)).unwrap().save(root.join(to)).unwrap();
    }

    fn opened(root: &std::path::Path) -> Category {
        let options = DatasetOptions::new(Some(root.to_owned()), ()).unwrap();
        let opened = (dataset("folder").unwrap().open)(&options).unwrap();
        opened.category(&opened.categories()[0], &ImageSize::new(10, 12).into()).unwrap()
    }

    #[test]
    fn pairs_are_found_by_their_pixels() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let tree = Example {
            files: &[
                ("train/normal/a.png", ExampleFile::Image),
                ("train/normal/b.png", ExampleFile::Image),
                ("test/normal/c.png", ExampleFile::Image),
                ("test/normal/d.png", ExampleFile::Image),
                ("test/anomalous/e.png", ExampleFile::Image),
            ],
            counts: &[],
        };
        tree.write(root).unwrap();
        assert_eq!(duplicates(&opened(root), 2, &Silent).unwrap(), []);
        copy(root, "train/normal/b.png", "train/normal/z.tiff");
        copy(root, "train/normal/b.png", "test/normal/x.bmp");
        copy(root, "test/normal/d.png", "test/anomalous/y.png");
        let pair =
            |first: &str, second: &str, kind| Duplicate { first: first.into(), second: second.into(), kind };
        let expected = [
            pair("train/normal/b", "train/normal/z", DuplicateKind::SameClass),
            pair("train/normal/b", "test/normal/x", DuplicateKind::TrainAndTest),
            pair("test/normal/d", "test/anomalous/y", DuplicateKind::BothLabels),
        ];
        for threads in [1, 3] {
            assert_eq!(duplicates(&opened(root), threads, &Silent).unwrap(), expected);
        }
        std::fs::write(root.join("test/normal/x.bmp"), "no image").unwrap();
        assert!(duplicates(&opened(root), 2, &Silent).unwrap_err().to_string().contains("x.bmp"));
    }
}
