use std::path::PathBuf;

use fmam_core::{Frame, ImageSize, RgbImage};
use fmam_inspection::{Inspection, Look, Warning};
use fmam_methods::Prediction;

/// A detector's verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Position of the image among those given, from 0.
    pub index: usize,
    /// The path of the image, or its name.
    pub name: String,
    /// The file of the image; `None` for bytes and pixels.
    pub path: Option<PathBuf>,
    /// The image in the detector's size; for a detector with tiles in its own size, reduced by
    /// [`Verdict::reduction`].
    pub image: RgbImage,
    /// The size of the image as it was given.
    pub original_size: ImageSize,
    /// Pixels of the image as it was given along each side of a pixel of `image` and of the map,
    /// where the image is too large to be held in memory; 1 for every other image.
    pub reduction: usize,
    /// The place of the image as it was given within `image`.
    pub frame: Frame,
    /// The image as it was given, where
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals) asked for it.
    pub original: Option<RgbImage>,
    /// The score of the image and of each of its pixels.
    pub prediction: Prediction,
    /// Good or defective, and why; `None` for a detector that was not calibrated, without a
    /// threshold.
    pub inspection: Option<Inspection>,
    /// Traits of the image that no training image showed: the verdict may not hold for it.
    pub warnings: Vec<Warning>,
    /// The traits of the image that warnings go by; `None` for a detector that was not calibrated.
    pub look: Option<Look>,
    /// Seconds that decoding and scoring took; an image of a batch has its share.
    pub seconds: f64,
}
