//! KolektorSDD2 (Božič, Tabernik and Skočaj, *Computers in Industry* 2021): surfaces with a mask
//! beside each image, in its own layout. An image is anomalous where its mask has an anomalous
//! pixel; the anomalous images among the training images are left out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split, ordered_map};

use super::files::{EXTENSIONS, Tree, files_in, sample, stem_of};
use super::masks::{masked_samples, without_suffix};
use crate::source::{MaskFormat, is_blank};
use crate::told::tell;
use crate::{
    Category, CategoryFiles, Choice, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile,
    FileLayout,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "kolektor-sdd2",
    summary: "KolektorSDD2: train and test with NNNNN.png and its mask NNNNN_GT.png; one category",
    layout: Some(FileLayout {
        holders: &["kolektor-sdd2", "KolektorSDD2", "kolektor_sdd2"],
        expected: "train/NNNNN_GT.png or KolektorSDD2/train/NNNNN_GT.png",
        example: Example {
            files: &[
                ("train/10000.png", ExampleFile::Image),
                ("train/10000_GT.png", ExampleFile::BlankMask),
                ("train/10001.png", ExampleFile::Image),
                ("train/10001_GT.png", ExampleFile::BlankMask),
                ("test/20000.png", ExampleFile::Image),
                ("test/20000_GT.png", ExampleFile::Mask),
                ("test/20001.png", ExampleFile::Image),
                ("test/20001_GT.png", ExampleFile::BlankMask),
            ],
            counts: &[("kolektor-sdd2", Counts::new(2, 1, 1))],
        },
    }),
    // Of the 2331 training images 246 are anomalous.
    published: &[("kolektor-sdd2", Counts::new(2085, 894, 110))],
    open: |options| Ok(Box::new(KolektorSdd2 { folder: options.find(&ENTRY, found_in)? })),
};

/// The end of the stem of a second copy. The published archive has `10301 (copy).png` and
/// `10301_GT (copy).png`.
const COPY: &str = " (copy)";

struct KolektorSdd2 {
    folder: PathBuf,
}

/// `folder`, where it holds a split with masks.
fn found_in(folder: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let mut has_masks = false;
    for split in ["train", "test"].map(|split| folder.join(split)).iter().filter(|split| split.is_dir()) {
        has_masks |= files_in(split, &EXTENSIONS)?.iter().any(|file| is_mask(file));
    }
    Ok(has_masks.then(|| folder.to_owned()))
}

fn is_mask(file: &Path) -> bool {
    without_suffix(&stem_of(file)).is_some()
}

/// Leaves out the second copies of files, and tells of them. A copy without its original stays.
fn leave_out_copies(images: &mut Tree) {
    let place = |file: &Path, stem: &str| (file.parent().map(Path::to_owned), stem.to_owned());
    let there: HashSet<_> = images.files.iter().map(|file| place(file, &stem_of(file))).collect();
    let is_copy = |file: &mut PathBuf| {
        let stem = stem_of(file);
        stem.strip_suffix(COPY).is_some_and(|original| there.contains(&place(file, original)))
    };
    let copies: Vec<_> = images.files.extract_if(.., is_copy).collect();
    if let Some(first) = copies.first() {
        tell(Choice::Copies, first, copies.len(), None);
    }
}

impl KolektorSdd2 {
    /// The normal and the anomalous samples of a split.
    fn samples(&self, name: &str, split: Split) -> Result<(Vec<Sample>, Vec<Sample>), DatasetError> {
        if name != ENTRY.name {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        let folder = self.folder.join(match split {
            Split::Train => "train",
            Split::Test => "test",
        });
        let mut images = Tree::required(&folder, "the images and masks of this split", &EXTENSIONS)?;
        leave_out_copies(&mut images);
        let masks = images.files.extract_if(.., |file| is_mask(file)).collect();
        let masks = Tree { root: folder, files: masks };
        let joined = masked_samples(&images, &masks, "_GT", "defect")?;
        let mut is_normal = Vec::with_capacity(joined.len());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let look = |index: usize| is_blank(&joined[index].mask_paths[0]);
        ordered_map(joined.len(), threads, 2 * threads, look, |_, blank| {
            is_normal.push(blank?);
            Ok::<(), DatasetError>(())
        })?;
        let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
        for (of_image, is_normal) in joined.into_iter().zip(is_normal) {
            if is_normal {
                normal.push(sample(
                    split,
                    "normal",
                    &images.name(&of_image.image_path),
                    of_image.image_path,
                    None,
                ));
            } else {
                anomalous.push(of_image);
            }
        }
        Ok((normal, anomalous))
    }

    fn train_samples(&self, name: &str) -> Result<Vec<Sample>, DatasetError> {
        let (normal, anomalous) = self.samples(name, Split::Train)?;
        if let Some(first) = anomalous.first() {
            tell(Choice::AnomalousTraining, &first.image_path, anomalous.len(), None);
        }
        if normal.is_empty() {
            Err(DatasetError::NoImages { folder: self.folder.join("train") })
        } else {
            Ok(normal)
        }
    }
}

impl Dataset for KolektorSdd2 {
    fn categories(&self) -> Vec<String> {
        vec![ENTRY.name.to_owned()]
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let train = self.train_samples(name)?;
        let (mut test, anomalous) = self.samples(name, Split::Test)?;
        test.extend(anomalous);
        Ok(CategoryFiles { folder: self.folder.clone(), train, test, masks: MaskFormat::Binary })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(self.train_samples(name)?, size)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fmam_core::ImageSize;

    use super::*;
    use crate::DatasetOptions;

    fn example() -> (tempfile::TempDir, Box<dyn Dataset>) {
        let dir = tempfile::tempdir().unwrap();
        ENTRY.layout.as_ref().unwrap().example.write(dir.path()).unwrap();
        let opened = (ENTRY.open)(&DatasetOptions::new(Some(dir.path().to_owned()), ()).unwrap()).unwrap();
        (dir, opened)
    }

    fn open(dataset: &dyn Dataset) -> Result<Category, DatasetError> {
        dataset.category(ENTRY.name, &ImageSize::square(8).into())
    }

    #[test]
    fn anomalous_training_images_and_copies_are_left_out() {
        let (dir, dataset) = example();
        let copy = |from: &str, to: &str| {
            fs::copy(dir.path().join(from), dir.path().join(to)).unwrap();
        };
        copy("train/10000.png", "train/10002.png");
        copy("test/20000_GT.png", "train/10002_GT.png");
        copy("train/10000.png", "train/10000 (copy).png");
        copy("train/10000_GT.png", "train/10000_GT (copy).png");
        let category = open(&*dataset).unwrap();
        assert_eq!(Counts::of(&category), Counts::new(2, 1, 1));
        let ids = |source: &dyn SampleSource| {
            (0..source.len()).map(|index| source.sample(index).id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&*category.train), ["train/normal/10000", "train/normal/10001"]);
        assert_eq!(ids(&*category.test), ["test/normal/20001", "test/defect/20000"]);
    }

    #[test]
    fn a_copy_without_its_original_is_not_dropped() {
        let (dir, dataset) = example();
        let test = dir.path().join("test");
        fs::copy(test.join("20000.png"), test.join("20009 (copy).png")).unwrap();
        let error = open(&*dataset).unwrap_err();
        assert!(error.to_string().contains("20009 (copy)"), "{error}");
    }

    #[test]
    fn a_missing_and_a_surplus_mask_are_told() {
        let (dir, dataset) = example();
        let test = dir.path().join("test");
        fs::rename(test.join("20001_GT.png"), test.join("20003_GT.png")).unwrap();
        assert!(matches!(
            open(&*dataset).unwrap_err(),
            DatasetError::MisnamedMask { expected, .. } if expected.ends_with("test/20001_GT.png")
        ));
        fs::remove_file(test.join("20003_GT.png")).unwrap();
        assert!(matches!(
            open(&*dataset).unwrap_err(),
            DatasetError::MissingMask { expected, .. } if expected.ends_with("test/20001_GT.png")
        ));
        fs::remove_file(test.join("20001.png")).unwrap();
        assert_eq!(Counts::of(&open(&*dataset).unwrap()), Counts::new(2, 0, 1));
        fs::remove_file(test.join("20000.png")).unwrap();
        assert!(open(&*dataset).is_err());
    }
}
