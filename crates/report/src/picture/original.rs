//! Pictures of a map in the size of the original image.

use fmam_core::{AnomalyMap, ImageSize, Mask, RgbImage};
use fmam_record::resized;

use crate::ReportError;
use crate::picture::colormap::mix;
use crate::picture::colours::MapColours;
use crate::picture::contour::draw_contour;

/// The map in the size of the original image: bilinear between pixel centres, edges clamped, as
/// [`fmam_record::resized`] does.
///
/// The other functions of this module bring a map to the right size by themselves. Where several of
/// them are called for one image, a call of this one before saves time: a map of the right size is
/// used as it is.
///
/// # Errors
/// [`fmam_record::RecordError::Resize`] for a map or a size without pixels.
pub fn map_in_size(map: &AnomalyMap, size: ImageSize) -> Result<AnomalyMap, ReportError> {
    Ok(resized(map, size)?.into_owned())
}

/// The original image, faded to the colours of its scores where they are high, with a line around
/// the pixels whose score is above the contour.
///
/// In the lower half of the range, that of good images, the picture is the original to the bit.
/// Above it the share of the colours rises from none to 65 % at the upper end. The line lies outside
/// the pixels above the contour and hides none of them, and its thickness is one pixel for each 320
/// of the shorter side. The picture depends on this image, its map and `colours` only.
///
/// # Errors
/// As [`map_in_size`].
pub fn overlay_in_colour(
    original: &RgbImage,
    map: &AnomalyMap,
    colours: MapColours,
) -> Result<RgbImage, ReportError> {
    let map = resized(map, original.size())?;
    let mut picture = original.clone();
    let scale = colours.scale();
    let (pixels, _) = picture.data_mut().as_chunks_mut::<3>();
    for (pixel, &score) in pixels.iter_mut().zip(map.data()) {
        let position = colours.position(score);
        let density = MapColours::density(position);
        if density > 0.0 {
            *pixel = mix(*pixel, scale(position), density);
        }
    }
    if let Some(contour) = colours.contour() {
        draw_contour(&mut picture, &above(&map, contour));
    }
    Ok(picture)
}

/// The pixels of the original whose score is above `contour`, those that
/// [`overlay_in_colour`] draws a line around.
///
/// A region of one or two pixels of the detector's map that is barely above the contour can lie
/// between the centres of the original's pixels and be absent here.
///
/// # Errors
/// As [`map_in_size`].
pub fn defect_mask(map: &AnomalyMap, contour: f32, size: ImageSize) -> Result<Mask, ReportError> {
    let map = resized(map, size)?;
    Ok(above(&map, contour))
}

pub(super) fn above(map: &AnomalyMap, contour: f32) -> Mask {
    let width = map.size().width;
    Mask::from_fn(map.size(), |y, x| map.data()[y * width + x] > contour)
}
