//! Verdicts as C reads them.

use fmam::Outcome;
use fmam_record::map_at_original;
use fmam_report::defect_mask;

use crate::status::Failure;

/// The part is good: its score is at or below the threshold.
pub const FMAM_OK: u32 = 0;
/// The part is defective: its score is above the threshold.
pub const FMAM_DEFECT: u32 = 1;
/// The model has no threshold: `fmam calibrate` gives it one.
pub const FMAM_UNKNOWN: u32 = 2;

/// A place of an image whose map is above the contour, in pixels of the image as it was given.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FmamRegion {
    /// Left edge of the box, in pixels from the left edge of the image.
    pub x: usize,
    /// Upper edge of the box, in pixels from the upper edge of the image.
    pub y: usize,
    /// Width of the box in pixels.
    pub width: usize,
    /// Height of the box in pixels.
    pub height: usize,
    /// Pixels of the region.
    pub area: usize,
    /// Largest score of the map within it.
    pub peak: f32,
    /// Mean score of the map within it.
    pub mean: f32,
}

/// The verdict on an image. It belongs to the caller until `fmam_verdict_free`; its arrays belong
/// to the verdict.
#[repr(C)]
#[derive(Debug)]
pub struct FmamVerdict {
    /// `FMAM_OK`, `FMAM_DEFECT`, or `FMAM_UNKNOWN` for a model without a threshold.
    pub outcome: u32,
    /// The score of the image; higher is more anomalous.
    pub score: f32,
    /// The image is a defect where its score is above this; NaN without a threshold.
    pub threshold: f32,
    /// The limit of map scores: the mask and the regions lie above it. NaN without a threshold. It
    /// is `threshold` where the score of an image is the largest of its map.
    pub contour: f32,
    /// The share of good parts that score at least as high (conformal p-value, 0 to 1); NaN without
    /// a calibration.
    pub p_value: f64,
    /// Rows of the map and the mask, those of the image.
    pub height: usize,
    /// Columns of the map and the mask, those of the image.
    pub width: usize,
    /// The anomaly map, row by row: `map[y * width + x]`, higher is more anomalous.
    pub map: *const f32,
    /// 1 where the map is above the contour, else 0, row by row; all 0 without a threshold.
    pub mask: *const u8,
    /// Number of regions.
    pub n_regions: usize,
    /// The places above the contour, the highest peak first; null where there is none.
    pub regions: *const FmamRegion,
}

/// A verdict with the arrays that it points to. C sees its first field.
#[repr(C)]
pub(crate) struct Kept {
    verdict: FmamVerdict,
    map: Vec<f32>,
    mask: Vec<u8>,
    regions: Vec<FmamRegion>,
}

impl Kept {
    /// The verdict of the library, in the size of the image.
    pub(crate) fn new(verdict: &fmam::Verdict) -> Result<Box<Self>, Failure> {
        let map =
            map_at_original(&verdict.prediction.anomaly_map, &verdict.frame).map_err(fmam::Error::from)?;
        let map = map.into_owned();
        let (size, inspection) = (map.size(), verdict.inspection.as_ref());
        let mask = match inspection {
            None => vec![0; size.pixels()],
            Some(inspection) => {
                let mask =
                    defect_mask(&map, inspection.threshold.contour, size).map_err(fmam::Error::from)?;
                mask.data().to_vec()
            }
        };
        let regions = inspection.map_or(&[][..], |inspection| &inspection.regions);
        let region = |region: &fmam::Region| {
            let &fmam::Region { x, y, width, height, area, peak, mean } = region;
            FmamRegion { x, y, width, height, area, peak, mean }
        };
        let regions: Vec<FmamRegion> = regions.iter().map(region).collect();
        let map = map.into_data();
        let outcome = match inspection.map(|inspection| inspection.outcome) {
            Some(Outcome::Ok) => FMAM_OK,
            Some(Outcome::Defect) => FMAM_DEFECT,
            None => FMAM_UNKNOWN,
        };
        let verdict = FmamVerdict {
            outcome,
            score: verdict.prediction.image_score,
            threshold: inspection.map_or(f32::NAN, |inspection| inspection.threshold.score),
            contour: inspection.map_or(f32::NAN, |inspection| inspection.threshold.contour),
            p_value: inspection.and_then(|inspection| inspection.p_value).unwrap_or(f64::NAN),
            height: size.height,
            width: size.width,
            // The memory of a vector stays where it is when the vector is moved.
            map: map.as_ptr(),
            mask: mask.as_ptr(),
            n_regions: regions.len(),
            regions: if regions.is_empty() { std::ptr::null() } else { regions.as_ptr() },
        };
        Ok(Box::new(Self { verdict, map, mask, regions }))
    }

    /// The verdict for C, which frees it.
    pub(crate) fn into_raw(self: Box<Self>) -> *mut FmamVerdict {
        debug_assert_eq!(self.verdict.map, self.map.as_ptr());
        debug_assert_eq!(self.verdict.mask, self.mask.as_ptr());
        debug_assert_eq!(self.verdict.n_regions, self.regions.len());
        Box::into_raw(self).cast()
    }
}

/// Frees a verdict and its arrays. A null pointer is nothing to free.
///
/// # Safety
/// `verdict` is null, or came from `fmam_detector_predict` and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fmam_verdict_free(verdict: *mut FmamVerdict) {
    if !verdict.is_null() {
        // SAFETY: the pointer came from `Kept::into_raw`, of which the verdict is the first field
        // (`repr(C)`), and the caller gives it up.
        drop(unsafe { Box::from_raw(verdict.cast::<Kept>()) });
    }
}
