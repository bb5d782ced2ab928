//! The object before a plain background, found without learning: colour distance from the border,
//! split by Otsu.

use fmam_core::{Mask, RgbImage};

use crate::field::Field;

/// The foreground is estimated on a grid of about this many cells along the shorter side of the
/// image.
const GRID: usize = 64;

/// Smallest and largest share of the image that an object covers.
const COVERAGE: std::ops::RangeInclusive<f64> = 0.02..=0.9;

/// Smallest difference of the classes' mean distances, of 255, that counts as an object.
const MIN_SEPARATION: f64 = 20.0;

/// Largest mean distance of the background, as a share of the object's: a plain background differs
/// little from its own median colour. Screws of MVTec AD have 0.1, defect-free magnetic tiles 0.25
/// and more.
const MAX_BACKGROUND_SPREAD: f64 = 0.2;

/// The object of `image`, or `None` where it shows none: the estimate covers nearly everything or
/// nearly nothing, hardly differs from the background, lies before an uneven background, or fills
/// the border of the image as it fills the inside, as on a texture.
pub(crate) fn estimate_foreground(image: &RgbImage) -> Option<Mask> {
    let size = image.size();
    let step = (size.height.min(size.width) / GRID).max(1);
    let (height, width) = (size.height.div_ceil(step), size.width.div_ceil(step));
    let colours = cell_means(image, step);

    let on_border = |i: usize| {
        let (y, x) = (i / width, i % width);
        y == 0 || x == 0 || y + 1 == height || x + 1 == width
    };
    let border: Vec<usize> = (0..colours.len()).filter(|&i| on_border(i)).collect();
    let background = [0, 1, 2].map(|channel| {
        let mut values: Vec<f32> = border.iter().map(|&i| colours[i][channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    });
    let distance: Vec<f32> = colours
        .iter()
        .map(|c| {
            let squares: f32 = c.iter().zip(background).map(|(c, b)| (c - b).powi(2)).sum();
            (squares / 3.0).sqrt()
        })
        .collect();

    let Classes { threshold, mean_below, mean_above } = otsu(&distance)?;
    if mean_above - mean_below < MIN_SEPARATION || mean_below > MAX_BACKGROUND_SPREAD * mean_above {
        return None;
    }
    let share = |cells: &[usize]| {
        cells.iter().filter(|&&i| distance[i] > threshold).count() as f64 / cells.len() as f64
    };
    let inside: Vec<usize> = (0..distance.len()).collect();
    let coverage = share(&inside);
    if !COVERAGE.contains(&coverage) || share(&border) > 0.5 * coverage {
        return None;
    }
    let field = Field { height, width, data: distance };
    let smooth = field.upsample(size.height, size.width, step, (step - 1) as f32 / 2.0);
    let mask = Mask::from_fn(size, |y, x| smooth.data[y * size.width + x] > threshold);
    (!mask.is_empty()).then_some(mask)
}

/// Mean colours of the `step` by `step` cells of the image; cells at its far edges may be smaller.
fn cell_means(image: &RgbImage, step: usize) -> Vec<[f32; 3]> {
    let size = image.size();
    let (height, width) = (size.height.div_ceil(step), size.width.div_ceil(step));
    let mut sums = vec![[0_u32; 3]; height * width];
    for (y, row) in image.data().chunks_exact(size.width * 3).enumerate() {
        let cells = &mut sums[y / step * width..][..width];
        for (pixels, sum) in row.chunks(step * 3).zip(cells) {
            for pixel in pixels.chunks_exact(3) {
                for (s, &p) in sum.iter_mut().zip(pixel) {
                    *s += u32::from(p);
                }
            }
        }
    }
    let extent = |cell: usize, pixels: usize| step.min(pixels - cell * step);
    let mean = |(i, sum): (usize, &[u32; 3])| {
        let n = extent(i / width, size.height) * extent(i % width, size.width);
        sum.map(|s| s as f32 / n as f32)
    };
    sums.iter().enumerate().map(mean).collect()
}

/// Two classes of values.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Classes {
    /// The upper class lies above it.
    threshold: f32,
    /// Mean of the lower class.
    mean_below: f64,
    /// Mean of the upper class.
    mean_above: f64,
}

/// The split that maximises the variance between the two classes (Otsu 1979), of values in 0..=255
/// rounded down, or `None` when all are equal.
fn otsu(values: &[f32]) -> Option<Classes> {
    let mut histogram = [0_u32; 256];
    for &value in values {
        histogram[(value as usize).min(255)] += 1;
    }
    let n = values.len() as f64;
    let total: f64 = histogram.iter().enumerate().map(|(v, &count)| v as f64 * f64::from(count)).sum();
    let (mut below, mut sum_below, mut largest) = (0.0, 0.0, 0.0);
    let mut best = None;
    for (value, &count) in histogram[..255].iter().enumerate() {
        below += f64::from(count);
        sum_below += value as f64 * f64::from(count);
        let above = n - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let (mean_below, mean_above) = (sum_below / below, (total - sum_below) / above);
        let between = below * above * (mean_above - mean_below).powi(2);
        if between > largest {
            largest = between;
            // A value v falls into bin floor(v), so that the classes part at the bin's upper end.
            best = Some(Classes { threshold: value as f32 + 1.0, mean_below, mean_above });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn an_object_before_a_plain_background_is_found() {
        let inside = |y: usize, x: usize| (y as f32 - 60.0).powi(2) + (x as f32 - 80.0).powi(2) < 900.0;
        let image = RgbImage::from_fn(ImageSize::new(128, 160), |y, x| {
            let grain = ((y * 7 + x * 13) % 9) as u8;
            if inside(y, x) { [60 + grain, 40, 50] } else { [200 + grain, 205, 210] }
        });
        let found = estimate_foreground(&image).unwrap();
        let truth = Mask::from_fn(image.size(), inside);
        let common = found.data().iter().zip(truth.data()).filter(|(a, b)| **a == 1 && **b == 1).count();
        let union = found.data().iter().zip(truth.data()).filter(|(a, b)| **a == 1 || **b == 1).count();
        assert!(common as f64 > 0.95 * union as f64, "{common} of {union}");
    }

    #[test]
    fn textures_and_flat_images_have_no_foreground() {
        let size = ImageSize::square(128);
        assert!(estimate_foreground(&RgbImage::filled(size, [90; 3])).is_none());
        let stripes = RgbImage::from_fn(size, |_, x| [if x / 16 % 2 == 0 { 40 } else { 200 }; 3]);
        assert!(estimate_foreground(&stripes).is_none());
        // Uneven, with a dark inside, as a shaded surface is.
        let shaded = RgbImage::from_fn(size, |y, x| {
            let middle = (y as f32 - 64.0).hypot(x as f32 - 64.0);
            [(60.0 + 2.0 * middle) as u8; 3]
        });
        assert!(estimate_foreground(&shaded).is_none());
        let speck = RgbImage::from_fn(size, |y, x| [if y / 4 == 15 && x / 4 == 15 { 0 } else { 200 }; 3]);
        assert!(estimate_foreground(&speck).is_none());
        assert!(estimate_foreground(&RgbImage::filled(ImageSize::new(1, 1), [3; 3])).is_none());
    }

    #[test]
    fn otsu_parts_two_clusters() {
        let values: Vec<f32> = [10.0, 11.5, 12.0].repeat(20).into_iter().chain([90.0, 99.0]).collect();
        let split = otsu(&values).unwrap();
        assert!((12.0..=90.0).contains(&split.threshold), "{split:?}");
        assert!(
            (split.mean_below - 11.0).abs() < 1e-9 && (split.mean_above - 94.5).abs() < 1e-9,
            "{split:?}"
        );
        assert_eq!(otsu(&[5.0; 30]), None);
    }
}
