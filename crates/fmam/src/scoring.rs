//! From loaded images to verdicts.

use std::time::Instant;

use fmam_core::{AnomalyMap, Frame, ImageSize, Mask, Progress, RgbImage};
use fmam_datasets::{Prepared, resize_image};
use fmam_inspection::{Calibration, Inspection, Look, Region, Threshold, regions};
use fmam_methods::{Detector, Prediction, TileProgress};
use fmam_record::without_padding;

use crate::large::{Scanned, scan_file};
use crate::loading::{LoadedImage, Pixels};
use crate::{Error, Verdict};

/// A scored image.
struct Scored {
    image: RgbImage,
    original: Option<RgbImage>,
    frame: Frame,
    reduction: usize,
    prediction: Prediction,
    /// The places above the contour, where they are known already.
    regions: Option<Vec<Region>>,
    /// The pixels that count; `None` where all do.
    inside: Option<Mask>,
}

/// The verdicts on a batch. An image that cannot be scored does not keep the others from theirs.
pub(crate) fn score(
    detector: &Detector,
    threshold: Option<Threshold>,
    progress: &dyn Progress,
    loaded: Vec<LoadedImage>,
) -> Vec<Result<Verdict, Error>> {
    let start = Instant::now();
    let whole = |image: &LoadedImage| match &image.pixels {
        Ok(Pixels::Whole(prepared, _)) => Some((prepared.image.clone(), prepared.inside.clone())),
        Ok(Pixels::Large(..)) | Err(_) => None,
    };
    let (images, insides): (Vec<RgbImage>, Vec<Option<Mask>>) = loaded.iter().filter_map(whole).unzip();
    let tiles = TileProgress::new(progress, loaded.first().map_or(0, |image| image.index as u64));
    let mut together = detector.score_watched(&images, &insides, &tiles).ok().map(Vec::into_iter);
    let share = start.elapsed().as_secs_f64() / images.len().max(1) as f64;
    let mut scored = |pixels: Pixels| -> Result<Scored, Error> {
        match pixels {
            Pixels::Large(path, size) => {
                let Scanned { prediction, image, reduction, regions } =
                    scan_file(detector, &path, threshold, progress)?;
                let (frame, regions) = (Frame::filling(size, image.size()), Some(regions));
                Ok(Scored { image, original: None, frame, reduction, prediction, regions, inside: None })
            }
            Pixels::Whole(Prepared { image, inside, frame, .. }, original) => {
                // A failed batch is scored image by image: only the image at fault has an error.
                let prediction = match &mut together {
                    Some(predictions) => predictions.next(),
                    None => detector
                        .score_watched(std::slice::from_ref(&image), std::slice::from_ref(&inside), &tiles)?
                        .pop(),
                };
                let prediction = prediction.ok_or(fmam_methods::MethodError::UndefinedScore { index: 0 })?;
                Ok(Scored { image, original, frame, reduction: 1, prediction, regions: None, inside })
            }
        }
    };
    let calibration = detector.calibration();
    let verdict = |LoadedImage { index, name, path, pixels, seconds }: LoadedImage| {
        let start = Instant::now();
        let scored = pixels.and_then(&mut scored).map_err(|source| Error::Image {
            index,
            name: name.clone(),
            source: Box::new(source),
        })?;
        let Scored { image, original, frame, reduction, prediction, regions, inside } = scored;
        let original_size = frame.original;
        let inspection = threshold.map(|threshold| {
            let Prediction { image_score, anomaly_map } = &prediction;
            let regions =
                regions.unwrap_or_else(|| regions_inside(anomaly_map, inside.as_ref(), threshold, &frame));
            Inspection::with_regions(threshold, calibration, *image_score, regions)
        });
        let profile = calibration.and_then(Calibration::images);
        let look = profile.map(|_| look_of(&image, &frame, detector.image_size()));
        let warnings = profile.zip(look.as_ref()).map(|(profile, look)| profile.warnings(look));
        let warnings = warnings.unwrap_or_default();
        let own = if reduction > 1 { start.elapsed().as_secs_f64() } else { share };
        Ok(Verdict {
            index,
            name,
            path,
            image,
            original_size,
            reduction,
            frame,
            original,
            prediction,
            inspection,
            warnings,
            look,
            seconds: seconds + own,
        })
    };
    loaded.into_iter().map(verdict).collect()
}

/// The places above the contour, in pixels of the image as it was given. Padding is cut off, and
/// pixels that do not count are in no place.
fn regions_inside(
    map: &AnomalyMap,
    inside: Option<&Mask>,
    threshold: Threshold,
    frame: &Frame,
) -> Vec<Region> {
    let counted = inside.and_then(|inside| {
        let score = |(score, counts): (&f32, &u8)| if *counts == 1 { *score } else { f32::NEG_INFINITY };
        let scores = map.data().iter().zip(inside.data()).map(score).collect();
        AnomalyMap::new(map.size(), scores).ok()
    });
    let map = counted.as_ref().unwrap_or(map);
    let content = without_padding(map, frame);
    regions(content.as_ref().unwrap_or(map), threshold.contour, frame.original)
}

/// The look of an image in the size that training images were compared in.
fn look_of(image: &RgbImage, frame: &Frame, size: ImageSize) -> Look {
    let resized = (image.size() != size).then(|| resize_image(image.clone(), "image", size).ok()).flatten();
    Look::of(resized.as_ref().unwrap_or(image), Some(frame.original))
}
