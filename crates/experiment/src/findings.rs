//! Peculiarities of the images of a run or of an evaluation that bear on its figures.

use std::path::Path;

use fmam_datasets::{Category, Duplicate, DuplicateKind, Told, choices_told};
use fmam_record::{Findings, Notice};

use crate::Evaluation;

/// The findings of `evaluation`, which is one of the test images of `category`, but for the depth
/// and for pairs of images of the same pixels: vanished masks, and the choices that were made in
/// reading the images and masks so far. `region` is the file or folder of the region of interest.
pub fn findings(category: &Category, evaluation: &Evaluation, region: Option<&Path>) -> Findings {
    let id = |&index: &usize| category.test.sample(index).id.clone();
    Findings {
        bits: None,
        vanished: evaluation.vanished.iter().map(id).collect(),
        duplicates: Vec::new(),
        notices: notices(category, region),
    }
}

/// The choices that were made in listing `category` and in reading its files.
fn notices(category: &Category, region: Option<&Path>) -> Vec<Notice> {
    let sources = [&category.train, &category.test];
    let samples = sources.into_iter().flat_map(|source| (0..source.len()).map(|index| source.sample(index)));
    let paths = samples.flat_map(|sample| std::iter::once(&sample.image_path).chain(&sample.mask_paths));
    let of_files = choices_told(paths.map(std::path::PathBuf::as_path).chain(region));
    let notice =
        |told: &Told| Notice { choice: told.clause(), n: told.n, first: told.path.display().to_string() };
    category.told.iter().chain(&of_files).map(notice).collect()
}

/// Warns of pictures that are in a category twice, and make its figures wrong.
pub fn tell_duplicates(found: &[Duplicate]) {
    for (kind, consequence) in [
        (DuplicateKind::TrainAndTest, "test images are also training images: their scores are too low"),
        (DuplicateKind::BothLabels, "test images are both normal and anomalous: one of both labels is wrong"),
        (DuplicateKind::SameClass, "images are there twice: each counts twice"),
    ] {
        let of_kind: Vec<&Duplicate> = found.iter().filter(|pair| pair.kind == kind).collect();
        if let Some(Duplicate { first, second, .. }) = of_kind.first() {
            tracing::warn!(pairs = of_kind.len(), first, second, "{consequence}");
        }
    }
}
