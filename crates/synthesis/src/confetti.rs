use fmam_core::{RgbImage, Seed};
use rand::Rng;

/// Squares in one image, at most.
const MAX_SQUARES: usize = 4;

/// Smallest and largest side of a square, as shares of the image's shorter side.
const SIDES: std::ops::RangeInclusive<f64> = 8.0 / 224.0..=54.0 / 224.0;

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
