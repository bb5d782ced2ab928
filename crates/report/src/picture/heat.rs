//! The colours of a map alone, to be laid over its image.

use fmam_core::AnomalyMap;
use png::{BitDepth, ColorType};

use crate::ReportError;
use crate::picture::colours::MapColours;
use crate::picture::large_png;

/// A map as PNG of 8-bit colour and alpha, in its own size: a layer over the image.
///
/// A pixel is transparent in the lower half of the range, that of good images, and opaque at the
/// upper end; between them its opacity rises linearly. A viewer that draws the layer at 55 % of its
/// opacity shows the colours of [`overlay_in_colour`](crate::overlay_in_colour).
///
/// # Errors
/// [`ReportError::Png`] for a map without pixels.
pub fn encode_heat_png(map: &AnomalyMap, colours: MapColours) -> Result<Vec<u8>, ReportError> {
    let scale = colours.scale();
    let mut pixels = vec![0; 4 * map.data().len()];
    for (pixel, &score) in pixels.as_chunks_mut::<4>().0.iter_mut().zip(map.data()) {
        if colours.is_coloured(score) {
            let position = colours.position(score);
            let [red, green, blue] = scale(position);
            let alpha = (255.0 * (2.0 * position - 1.0).clamp(0.0, 1.0)).round() as u8;
            *pixel = [red, green, blue, alpha];
        }
    }
    large_png::in_memory(map.size(), (ColorType::Rgba, BitDepth::Eight), &pixels, &[])
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::picture::colormap::inferno;

    #[test]
    fn good_scores_are_transparent_and_the_highest_are_opaque() {
        let map = AnomalyMap::new(ImageSize::new(1, 5), vec![0.0, 2.0, 3.0, 4.0, 9.0]).unwrap();
        let png = encode_heat_png(&map, MapColours::calibrated((0.0, 4.0), 2.0)).unwrap();
        let layer = image::load_from_memory(&png).unwrap();
        assert_eq!(layer.color(), image::ColorType::Rgba8);
        let layer = layer.to_rgba8();
        let pixels: Vec<[u8; 4]> = layer.pixels().map(|pixel| pixel.0).collect();
        let [r, g, b] = inferno(0.75);
        let [bright_r, bright_g, bright_b] = inferno(1.0);
        let top = [bright_r, bright_g, bright_b, 255];
        assert_eq!(pixels, [[0; 4], [0; 4], [r, g, b, 128], top, top]);
    }

    #[test]
    fn a_map_without_pixels_is_an_error() {
        let map = AnomalyMap::new(ImageSize::new(0, 0), Vec::new());
        if let Ok(map) = map {
            assert!(encode_heat_png(&map, MapColours::uncalibrated(&map)).is_err());
        }
    }
}
