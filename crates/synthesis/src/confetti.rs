use fmam_core::{Mask, RgbImage, Seed};
use rand::Rng;

use crate::SynthesisError;
use crate::synthesizer::check_region;

/// Squares in one image, at most.
const MAX_SQUARES: usize = 4;

/// Smallest and largest side of a square, as shares of the image's shorter side.
const SIDES: std::ops::RangeInclusive<f64> = 8.0 / 224.0..=54.0 / 224.0;

/// Draws of squares, until one of them lies in a region.
const ATTEMPTS: u64 = 16;

/// [`confetti()`] within the pixels of `image` that are 1 in `inside`; the others stay as they are.
/// Squares that miss the region are drawn again from the next derived seed, up to 16 times; then
/// all pixels of the region are inverted.
///
/// # Errors
/// [`SynthesisError::RegionSize`] for a mask of another size, [`SynthesisError::NothingInside`] for
/// one without a pixel.
pub fn confetti_within(image: &RgbImage, inside: &Mask, seed: Seed) -> Result<RgbImage, SynthesisError> {
    check_region(inside, image.size())?;
    for attempt in 0..ATTEMPTS {
        let mut noisy = confetti(image, seed.derive_index(attempt));
        let pixels = noisy.data_mut().chunks_exact_mut(3).zip(image.data().chunks_exact(3));
        for ((pixel, before), inside) in pixels.zip(inside.data()) {
            if *inside == 0 {
                pixel.copy_from_slice(before);
            }
        }
        if noisy != *image {
            return Ok(noisy);
        }
    }
    let mut inverted = image.clone();
    for (pixel, inside) in inverted.data_mut().chunks_exact_mut(3).zip(inside.data()) {
        if *inside != 0 {
            pixel.iter_mut().for_each(|value| *value = !*value);
        }
    }
    Ok(inverted)
}

/// Confetti noise: a few turned squares at random places, each of which makes every channel darker,
/// or every one brighter, by a random amount of its own.
///
/// # Source
/// The outlier exposure of Liznerski et al., ICLR 2021 (FCDD), on MVTec AD. Deviation: one to four
/// squares an image, never none, with hard edges.
pub fn confetti(image: &RgbImage, seed: Seed) -> RgbImage {
    let mut rng = seed.rng();
    let (size, mut noisy) = (image.size(), image.clone());
    let shorter = size.height.min(size.width) as f64;
    for _ in 0..rng.random_range(1..=MAX_SQUARES) {
        let half = 0.5 * shorter * rng.random_range(SIDES);
        let centre = (rng.random_range(0.0..size.height as f64), rng.random_range(0.0..size.width as f64));
        let (sin, cos) = rng.random_range(0.0..std::f64::consts::FRAC_PI_2).sin_cos();
        let sign = if rng.random::<bool>() { 1 } else { -1 };
        let change: [i32; 3] = std::array::from_fn(|_| sign * rng.random_range(0..=255));
        for y in 0..size.height {
            for x in 0..size.width {
                let (dy, dx) = (y as f64 + 0.5 - centre.0, x as f64 + 0.5 - centre.1);
                if (dy * cos - dx * sin).abs() > half || (dy * sin + dx * cos).abs() > half {
                    continue;
                }
                let pixel = noisy.pixel(y, x);
                let add = |c: usize| (i32::from(pixel[c]) + change[c]).clamp(0, 255) as u8;
                noisy.set_pixel(y, x, std::array::from_fn(add));
            }
        }
    }
    noisy
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn squares_within_a_region_change_nothing_outside() {
        let size = ImageSize::new(96, 128);
        let image = RgbImage::filled(size, [120, 130, 140]);
        let region = Mask::from_fn(size, |y, x| y > 80 && x > 110);
        for seed in 0..30 {
            let noisy = confetti_within(&image, &region, Seed::new(seed)).unwrap();
            let pairs = image.data().chunks_exact(3).zip(noisy.data().chunks_exact(3));
            let outside = pairs.zip(region.data()).filter(|((a, b), inside)| **inside == 0 && a != b);
            assert!(noisy != image && outside.count() == 0, "seed {seed}");
        }
        let corner = Mask::from_fn(size, |y, x| y == 0 && x == 0);
        for seed in 0..30 {
            let noisy = confetti_within(&image, &corner, Seed::new(seed)).unwrap();
            assert!(noisy.pixel(0, 0) != image.pixel(0, 0) && noisy.pixel(0, 1) == image.pixel(0, 1));
        }
        let nothing = confetti_within(&image, &Mask::empty(size), Seed::new(0));
        assert!(matches!(nothing, Err(SynthesisError::NothingInside(_))), "{nothing:?}");
    }

    #[test]
    fn some_pixels_change_and_most_do_not() {
        let image = RgbImage::filled(ImageSize::new(96, 128), [120, 130, 140]);
        for seed in 0..50 {
            let noisy = confetti(&image, Seed::new(seed));
            assert_eq!(noisy, confetti(&image, Seed::new(seed)));
            let pairs = image.data().chunks_exact(3).zip(noisy.data().chunks_exact(3));
            let changed = pairs.filter(|(a, b)| a != b).count() as f64 / image.size().pixels() as f64;
            // The largest square covers a quarter of the shorter side.
            assert!(changed > 0.0 && changed < 4.0 * 0.06, "seed {seed}: {changed}");
        }
    }
}
