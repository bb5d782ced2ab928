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
/// Above it the share of the colours rises from none to 55 % at the upper end. The line lies
/// outside the pixels above the contour and hides none of them, and its thickness is one pixel for
/// each 320 of the shorter side. The picture depends on this image, its map and `colours` only.
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
        // Most pixels of most images are calm, and this comparison is all that they cost.
        if colours.is_coloured(score) {
            let position = colours.position(score);
            *pixel = mix(*pixel, scale(position), MapColours::density(position));
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

/// The pixels of `map` above `contour`.
pub(super) fn above(map: &AnomalyMap, contour: f32) -> Mask {
    let mut scores = map.data().iter();
    // Row by row, as the scores are.
    Mask::from_fn(map.size(), |_, _| scores.next().is_some_and(|score| *score > contour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::colormap::inferno;
    use crate::picture::overlay::{CONTOUR, HALO};

    fn photograph(size: ImageSize) -> RgbImage {
        RgbImage::from_fn(size, |y, x| [(40 * y) as u8, (15 * x) as u8, (7 * x + y) as u8])
    }

    fn map(size: ImageSize, scores: &[f32]) -> AnomalyMap {
        AnomalyMap::new(size, scores.to_vec()).unwrap()
    }

    #[test]
    fn a_good_image_is_shown_as_it_is() {
        let original = photograph(ImageSize::new(6, 16));
        // The highest score is the threshold itself.
        let good = map(ImageSize::new(2, 3), &[0.0, 1.0, 0.4, -5.0, 2.0, 0.9]);
        let picture = overlay_in_colour(&original, &good, MapColours::calibrated((0.0, 4.0), 2.0)).unwrap();
        assert_eq!(picture, original);
    }

    #[test]
    fn the_line_begins_where_the_map_crosses_the_contour() {
        let size = ImageSize::new(2, 16);
        let original = photograph(size);
        // Between the pixel centres at 3.5 and 11.5 the score grows by 1/8 a pixel.
        let ramp = map(ImageSize::new(1, 2), &[0.0, 1.0]);
        // (contour, first column above it): (column + 0.5) / 8 - 0.5 > contour.
        for (contour, first) in [(0.5, 8), (0.7, 10), (0.24, 6), (-0.1, 0)] {
            let colours = MapColours::calibrated((-1.0, 1.0), contour);
            let picture = overlay_in_colour(&original, &ramp, colours).unwrap();
            let mask = defect_mask(&ramp, contour, size).unwrap();
            for x in 0..16 {
                assert_eq!(mask.at(1, x), x >= first, "{contour} {x}");
                let is_line = x + 1 == first;
                assert_eq!(picture.pixel(1, x) == CONTOUR, is_line, "{contour} {x}");
                assert_eq!(picture.pixel(1, x) == HALO, x + 2 == first, "{contour} {x}");
            }
        }
        assert!(defect_mask(&ramp, 1.0, size).unwrap().is_empty());
    }

    #[test]
    fn high_scores_fade_to_their_colour() {
        let size = ImageSize::new(1, 4);
        let original = RgbImage::filled(size, [200, 100, 50]);
        let colours = MapColours::calibrated((0.0, 2.0), 9.0);
        let picture = overlay_in_colour(&original, &map(size, &[1.0, 1.5, 2.0, 7.0]), colours).unwrap();
        let expected = [
            [200, 100, 50],
            mix([200, 100, 50], inferno(0.75), 0.275),
            mix([200, 100, 50], inferno(1.0), 0.55),
            mix([200, 100, 50], inferno(1.0), 0.55),
        ];
        assert_eq!([0, 1, 2, 3].map(|x| picture.pixel(0, x)), expected);
    }

    #[test]
    fn equal_scores_have_equal_colours_whatever_else_the_image_shows() {
        let size = ImageSize::new(1, 8);
        let original = photograph(size);
        let colours = MapColours::calibrated((0.0, 2.0), 50.0);
        let alone = map(size, &[1.6; 8]);
        let beside = map(size, &[1.6, 1.6, 1.6, 1.6, 40.0, -3.0, f32::NAN, 1.7]);
        let [alone, beside] = [alone, beside].map(|map| overlay_in_colour(&original, &map, colours).unwrap());
        for x in 0..4 {
            assert_eq!(alone.pixel(0, x), beside.pixel(0, x));
            assert_ne!(alone.pixel(0, x), original.pixel(0, x));
        }
    }

    #[test]
    fn a_map_of_the_right_size_gives_the_same_pictures() {
        let size = ImageSize::new(9, 14);
        let original = photograph(size);
        let small = map(ImageSize::new(2, 2), &[0.0, 1.0, 3.0, 0.5]);
        let full = map_in_size(&small, size).unwrap();
        assert_eq!(full.size(), size);
        let colours = MapColours::calibrated((0.0, 2.0), 1.0);
        let of = |map: &AnomalyMap| overlay_in_colour(&original, map, colours).unwrap();
        assert_eq!(of(&small), of(&full));
        assert_ne!(of(&small), original);
        assert_eq!(defect_mask(&small, 1.0, size).unwrap(), defect_mask(&full, 1.0, size).unwrap());
    }

    #[test]
    fn without_a_calibration_there_is_no_line() {
        let size = ImageSize::new(4, 4);
        let scores: Vec<f32> = (0..16_u8).map(f32::from).collect();
        let map = map(size, &scores);
        let original = RgbImage::filled(size, [128; 3]);
        let picture = overlay_in_colour(&original, &map, MapColours::uncalibrated(&map)).unwrap();
        for (y, x) in (0..4).flat_map(|y| (0..4).map(move |x| (y, x))) {
            let [r, g, b] = picture.pixel(y, x);
            assert!(r <= g && g <= b, "{y} {x}: no warm colour and no green line");
        }
        assert_ne!(picture, original);
    }

    #[test]
    fn an_image_without_pixels_is_an_error() {
        let map = map(ImageSize::square(1), &[0.0]);
        let none = RgbImage::filled(ImageSize::new(0, 0), [0; 3]);
        let refused = overlay_in_colour(&none, &map, MapColours::uncalibrated(&map));
        let resize = |error| matches!(error, ReportError::Record(fmam_record::RecordError::Resize { .. }));
        assert!(resize(refused.unwrap_err()));
    }
}
