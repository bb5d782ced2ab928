//! Places of an anomaly map above a threshold.

use fmam_core::{AnomalyMap, ImageSize};
use serde::Serialize;

/// A place of an image whose map scores are above a threshold, in pixels of the original image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Region {
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
    /// Largest map score.
    pub peak: f32,
    /// Mean map score.
    pub mean: f32,
}

/// The regions of `map` above `contour`, the highest peak first: pixels above it that touch along a
/// side or at a corner belong together. Boxes and areas are in pixels of an image of the size
/// `original`, from which the map's was resized; a box covers every original pixel that a map pixel
/// of the region reaches into.
pub fn regions(map: &AnomalyMap, contour: f32, original: ImageSize) -> Vec<Region> {
    let size = map.size();
    let above: Vec<u8> = map.data().iter().map(|&score| u8::from(score > contour)).collect();
    let scaled = |at: usize, own: usize, seen: usize| (at * seen) / own;
    let scaled_up = |at: usize, own: usize, seen: usize| (at * seen).div_ceil(own);
    let region = |pixels: Vec<usize>| {
        let rows = || pixels.iter().map(|pixel| pixel / size.width);
        let columns = || pixels.iter().map(|pixel| pixel % size.width);
        let bounds = |least: Option<usize>, last: Option<usize>, own, seen| {
            let start = scaled(least.unwrap_or_default(), own, seen);
            (start, scaled_up(last.unwrap_or_default() + 1, own, seen) - start)
        };
        let (y, height) = bounds(rows().min(), rows().max(), size.height, original.height);
        let (x, width) = bounds(columns().min(), columns().max(), size.width, original.width);
        let scores = || pixels.iter().map(|&pixel| map.data()[pixel]);
        let peak = scores().fold(f32::NEG_INFINITY, f32::max);
        let mean = (scores().map(f64::from).sum::<f64>() / pixels.len() as f64) as f32;
        let share = original.pixels() as f64 / size.pixels() as f64;
        let area = ((pixels.len() as f64 * share).round() as usize).max(1);
        Region { x, y, width, height, area, peak, mean }
    };
    let mut regions: Vec<Region> =
        fmam_metrics::components(&above, size.width).into_iter().map(region).collect();
    // Stable: of equal peaks the upper left one comes first.
    regions.sort_by(|a, b| b.peak.total_cmp(&a.peak));
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_and_areas_are_those_of_the_original() {
        let map = AnomalyMap::new(
            ImageSize::new(3, 4),
            vec![0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0, 9.0, 0.0, 0.0, 1.0],
        )
        .unwrap();
        let found = regions(&map, 1.0, ImageSize::new(6, 12));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], Region { x: 0, y: 4, width: 3, height: 2, area: 6, peak: 9.0, mean: 9.0 });
        // Two pixels that touch at a corner.
        assert_eq!(found[1], Region { x: 3, y: 0, width: 6, height: 4, area: 12, peak: 7.0, mean: 6.0 });
        // A box reaches as far as the pixels do where the sizes are no multiples.
        let uneven = regions(&map, 8.0, ImageSize::new(4, 5));
        assert_eq!((uneven[0].x, uneven[0].y, uneven[0].width, uneven[0].height), (0, 2, 2, 2));
        assert!(regions(&map, 9.0, ImageSize::new(3, 4)).is_empty());
    }
}
