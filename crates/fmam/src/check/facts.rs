use std::path::PathBuf;

use fmam_core::{ImageSize, Split};
use serde::Serialize;

use super::finding::{Finding, Severity};
use super::subject::TakenFor;

/// The facts of a data set.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// The folder that was checked.
    pub folder: PathBuf,
    /// The layout that the folder was read as.
    pub taken_for: TakenFor,
    /// Each category that could be listed.
    pub categories: Vec<CheckedCategory>,
    /// Faults and peculiarities, errors first.
    #[serde(serialize_with = "super::finding::with_text")]
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Number of faults that a fit or an evaluation would refuse.
    pub fn n_errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Error).count()
    }
}

/// The facts of a category.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckedCategory {
    /// The name of the category.
    pub name: String,
    /// Depth in bits that the 16-bit files of the training images use; `None` without such files.
    pub bits: Option<u8>,
    /// Training images first, then normal test images, then each defect type.
    pub classes: Vec<CheckedClass>,
}

/// The facts of the images of one split and class.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckedClass {
    /// Training or test.
    pub split: Split,
    /// `normal`, or the type of the defect.
    pub class: String,
    /// Number of images.
    pub n_images: usize,
    /// Images that cannot be read.
    pub n_refused: usize,
    /// Sizes of the upright images, the most common first.
    pub sizes: Vec<Counted<ImageSize>>,
    /// Formats and depths, the most common first: `PNG, 8-bit grey`.
    pub files: Vec<Counted<String>>,
    /// EXIF orientations other than 1, the most common first.
    pub orientations: Vec<Counted<u8>>,
    /// Images with alpha.
    pub n_alpha: usize,
    /// Images whose files hold further frames or pages.
    pub n_more_frames: usize,
    /// The largest factor by which resizing to one size changes the aspect ratio, at least 1;
    /// `None` without a readable image.
    pub squeeze: Option<f64>,
    /// Images that another one has the pixels of.
    pub n_repeated: usize,
    /// Anomalous images with a mask.
    pub n_masks: usize,
    /// Masks that are read by half of their range, because they have soft edges.
    pub n_soft: usize,
    /// Masks without an anomalous pixel.
    pub n_blank: usize,
    /// Areas of the defects, 8-connected regions of the masks; `None` without masks.
    pub areas: Option<Areas>,
    /// The defects that are gone once an image is resized to a square; empty without masks.
    pub vanishing: Vec<Vanishing>,
}

/// A value and the number of images that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted<T> {
    /// The value.
    pub value: T,
    /// The number of images.
    pub n: usize,
}

/// Areas of regions in pixels of the image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Areas {
    /// Number of regions.
    pub n_regions: usize,
    /// The smallest region.
    pub smallest: usize,
    /// The lower median.
    pub median: usize,
    /// The largest region.
    pub largest: usize,
}

/// Masks that have no pixel left at a size: resized by area, a pixel is anomalous where at least
/// half of what it covers is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vanishing {
    /// The size.
    #[serde(with = "fmam_core::sides")]
    pub size: ImageSize,
    /// Anomalous images without an anomalous pixel at that size.
    pub n_images: usize,
    /// Regions that no anomalous pixel of that size covers.
    pub n_regions: usize,
    /// The first images, a few.
    pub first: Vec<PathBuf>,
}

/// `values` counted, the most common first and equal counts in the order of the values.
pub(super) fn counted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<Counted<T>> {
    let mut counts = std::collections::BTreeMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    let mut counted: Vec<_> = counts.into_iter().map(|(value, n)| Counted { value, n }).collect();
    counted.sort_by_key(|counted| std::cmp::Reverse(counted.n));
    counted
}
