//! The sheet of an image: all panels of one prediction in a picture.

use fmam_core::{AnomalyMap, RgbImage};
use fmam_record::resized;

use crate::ReportError;
use crate::picture::colours::MapColours;
use crate::picture::contour::{draw_contour, thickness};
use crate::picture::original::{above, overlay_in_colour};
use crate::picture::overlay::{CONTOUR, HALO, Layout, side_by_side};

/// The image, the overlay of its map and the map alone side by side, then a colour bar.
///
/// The bar shows the range of `colours` from foot to head; ticks beside it mark the lowest and
/// highest score of this map, and a line across it in the colour of the contour marks the threshold.
/// The sheet is as high as the image, usually that in the detector's size.
///
/// # Errors
/// As [`map_in_size`](crate::map_in_size).
pub fn sheet(image: &RgbImage, map: &AnomalyMap, colours: MapColours) -> Result<RgbImage, ReportError> {
    let size = image.size();
    let full = resized(map, size)?;
    let blend = overlay_in_colour(image, &full, colours)?;
    let scale = colours.scale();
    let mut heat = RgbImage::from_fn(size, |y, x| scale(colours.position(full.at(y, x))));
    if let Some(contour) = colours.contour() {
        draw_contour(&mut heat, &above(&full, contour));
    }
    let ticks = [map.min(), map.max()].map(|score| colours.position(score));
    let mut sheet = side_by_side(&[image.clone(), blend, heat], scale, ticks);
    if let Some(contour) = colours.contour() {
        mark_threshold(&mut sheet, Layout::new(size), colours.position(contour));
    }
    Ok(sheet)
}

/// A line across the colour bar at `position` in 0..=1, with a dark halo above and below.
fn mark_threshold(sheet: &mut RgbImage, layout: Layout, position: f32) {
    let size = sheet.size();
    let last = size.height.saturating_sub(1);
    let middle = ((1.0 - position) * last as f32).round() as usize;
    let half = thickness(size) / 2 + 1;
    let left = layout.left(3);
    for y in middle.saturating_sub(half)..=(middle + half).min(last) {
        let colour = if y.abs_diff(middle) < half { CONTOUR } else { HALO };
        for x in left..(left + 2 * layout.bar).min(size.width) {
            sheet.set_pixel(y, x, colour);
        }
    }
}
