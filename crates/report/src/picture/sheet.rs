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
/// The bar shows the range of `colours` from foot to head. Ticks beside it mark the lowest and
/// highest score of this map, and a line across it in the colour of the contour marks the
/// threshold where it lies in the range. The sheet is as high as the image, usually that in the
/// detector's size.
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
    let (low, high) = colours.range();
    if let Some(contour) = colours.contour().filter(|contour| (low..=high).contains(contour)) {
        mark_threshold(&mut sheet, Layout::new(size), colours.position(contour));
    }
    Ok(sheet)
}

/// A line across the colour bar at `position` in 0..=1, with a dark halo above and below.
fn mark_threshold(sheet: &mut RgbImage, layout: Layout, position: f32) {
    let size = sheet.size();
    let last = size.height.saturating_sub(1);
    let middle = ((1.0 - position) * last as f32).round() as usize;
    let half = thickness(size) + 1;
    let left = layout.left(3);
    for y in middle.saturating_sub(half)..=(middle + half).min(last) {
        let colour = if y.abs_diff(middle) < half { CONTOUR } else { HALO };
        for x in left..(left + 2 * layout.bar).min(size.width) {
            sheet.set_pixel(y, x, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::picture::colormap::{blue, inferno};

    /// An image of 9x6, and a map whose scores are 4 in its lower right corner and 1 elsewhere.
    fn tiny() -> (RgbImage, AnomalyMap) {
        let size = ImageSize::new(9, 6);
        let score = |at: usize| if at % 6 > 3 && at / 6 > 6 { 4.0 } else { 1.0 };
        let map = AnomalyMap::new(size, (0..54).map(score).collect()).unwrap();
        (RgbImage::filled(size, [90; 3]), map)
    }

    #[test]
    fn the_panels_are_the_image_the_overlay_and_the_map() {
        let (image, map) = tiny();
        let colours = MapColours::calibrated((0.0, 4.0), 2.0);
        let sheet = sheet(&image, &map, colours).unwrap();
        // Three panels of 6, three gaps of 2, bar and ticks of 3.
        assert_eq!(sheet.size(), ImageSize::new(9, 3 * 8 + 6));
        let overlay = overlay_in_colour(&image, &map, colours).unwrap();
        for (y, x) in (0..9).flat_map(|y| (0..6).map(move |x| (y, x))) {
            assert_eq!(sheet.pixel(y, x), [90; 3]);
            assert_eq!(sheet.pixel(y, 8 + x), overlay.pixel(y, x));
        }
        let map_row = [16, 17, 18, 19, 20, 21].map(|x| sheet.pixel(8, x));
        let (low, high) = (inferno(0.25), inferno(1.0));
        assert_eq!(map_row, [low, low, HALO, CONTOUR, high, high]);
    }

    #[test]
    fn a_line_across_the_bar_marks_the_threshold() {
        let (image, map) = tiny();
        let bar = |colours: MapColours| {
            let sheet = sheet(&image, &map, colours).unwrap();
            [0, 2, 3, 4, 5, 6, 8].map(|y| [sheet.pixel(y, 24), sheet.pixel(y, 29)])
        };
        let rows = bar(MapColours::calibrated((0.0, 4.0), 2.0));
        // The middle of nine rows is row 4.
        assert_eq!(rows[1..6], [[HALO; 2], [CONTOUR; 2], [CONTOUR; 2], [CONTOUR; 2], [HALO; 2]]);
        assert_eq!([rows[0][0], rows[6][0]], [inferno(1.0), inferno(0.0)]);
        // Another threshold, another place.
        assert_eq!(bar(MapColours::calibrated((0.0, 4.0), 3.0))[0][0], HALO);
        // None for a threshold beyond the range.
        assert_eq!(bar(MapColours::calibrated((0.0, 4.0), 5.0))[0][0], inferno(1.0));
        let uncalibrated = bar(MapColours::uncalibrated(&map));
        assert_eq!([uncalibrated[0][0], uncalibrated[3][0]], [blue(1.0), blue(0.5)]);
    }
}
