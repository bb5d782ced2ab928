//! The verdict on an image that is too large to be held in memory, tile by tile.

use std::path::Path;

use fmam_core::{AnomalyMap, Mask, Preparation, Progress, RgbImage};
use fmam_datasets::{Regions, open_rows};
use fmam_inspection::{Overview, Region, RegionScanner, Threshold};
use fmam_methods::{Detector, MethodError, Prediction, ScannedRows};

use crate::Error;

/// Images of more pixels are not held in memory by a detector with tiles.
pub(crate) const LARGE: usize = 16_000_000;

/// Pixels of the picture of a large image, at most.
const OVERVIEW: usize = 4_000_000;

/// The score of a large image, and a small picture of it.
pub(crate) struct Scanned {
    /// The image score, and the map reduced by [`Scanned::reduction`]: of a block the largest
    /// score.
    pub(crate) prediction: Prediction,
    /// The image, reduced by as much.
    pub(crate) image: RgbImage,
    /// Pixels of the image along each side of a pixel of the picture.
    pub(crate) reduction: usize,
    /// The places above the contour of the threshold, in pixels of the image.
    pub(crate) regions: Vec<Region>,
}

/// Scores the image file `path` by a detector with tiles, some rows at a time.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read, and those of [`Detector::scan`].
pub(crate) fn scan_file(
    detector: &Detector,
    path: &Path,
    threshold: Option<Threshold>,
    progress: &dyn Progress,
) -> Result<Scanned, Error> {
    let preparation: Preparation = detector.card().preparation();
    let mut rows = open_rows(path, &preparation.reading)?;
    let size = rows.size();
    let regions = Regions::new(&preparation.region, preparation.reading.max_bytes);
    let region: Option<Mask> = regions.of(path, size)?;
    let mut overview = Overview::new(size, OVERVIEW);
    let contour = threshold.map_or(f32::INFINITY, |threshold| threshold.contour);
    let mut places = RegionScanner::new(size.width, contour);
    let is_whole = region.is_none();
    let mut sink = |rows: ScannedRows<'_>| {
        if is_whole {
            overview.push(rows.pixels, rows.scores);
        } else {
            overview.push(&filled(rows), rows.scores);
        }
        places.push(rows.scores);
    };
    let scan = detector.scan(rows.as_mut(), region.as_ref(), progress, &mut sink)?;
    let reduction = overview.factor();
    let (image, anomaly_map): (RgbImage, AnomalyMap) = overview.finish().map_err(MethodError::from)?;
    let prediction = Prediction { image_score: scan.image_score, anomaly_map };
    Ok(Scanned { prediction, image, reduction, regions: places.finish() })
}

/// The pixels of `rows` with one colour outside of the region of interest, as a network sees them.
fn filled(rows: ScannedRows<'_>) -> Vec<u8> {
    let mut pixels = rows.pixels.to_vec();
    for (pixel, score) in pixels.chunks_exact_mut(3).zip(rows.scores) {
        if *score == f32::NEG_INFINITY {
            pixel.copy_from_slice(&Preparation::FILL);
        }
    }
    pixels
}
