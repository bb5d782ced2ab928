//! The shape of a defect: Perlin noise above a threshold, inside the region where a defect may lie.

use std::f64::consts::TAU;

use fmam_core::{ImageSize, Mask, Seed};
use noise::{NoiseFn, Perlin};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::SynthesisConfig;
use crate::field::Field;

/// Noise fields that are tried for a shape of the configured area before its threshold gives way.
const ATTEMPTS: u64 = 4;

/// Fewest noise samples in a lattice cell; between them the field is interpolated.
const SAMPLES_PER_CELL: usize = 4;

/// Draws a shape inside `allowed`, which must not be empty. The result is never empty, and its area
/// keeps to the configured bounds (rounded to whole pixels, one at least).
pub(crate) fn draw_shape(allowed: &Mask, config: &SynthesisConfig, seed: Seed) -> Mask {
    let n_allowed = allowed.area() as f64;
    let least = (config.min_area * n_allowed).ceil().max(1.0) as usize;
    let most = ((config.max_area * n_allowed) as usize).max(least);

    for attempt in 0..ATTEMPTS {
        let mut rng = seed.derive_index(attempt).rng();
        let noise = perlin_field(allowed.size(), config, &mut rng);
        let mut regions = connected_regions(allowed, &noise, config.threshold as f32);
        regions.shuffle(&mut rng);
        let n_regions = log_uniform(1, config.max_regions, &mut rng);

        let mut pixels = Vec::new();
        let mut taken = 0;
        for region in regions {
            if taken < n_regions && pixels.len() + region.len() <= most {
                pixels.extend(region);
                taken += 1;
            }
        }
        if pixels.len() >= least {
            return mask_of(allowed.size(), &pixels);
        }
    }

    // The threshold asks too much of this region (too small, say): take the pixels of the highest
    // noise.
    let mut rng = seed.derive_index(ATTEMPTS).rng();
    let noise = perlin_field(allowed.size(), config, &mut rng);
    let mut pixels: Vec<usize> = (0..noise.data.len()).filter(|&i| allowed.data()[i] != 0).collect();
    pixels.sort_by(|&a, &b| noise.data[b].total_cmp(&noise.data[a]).then(a.cmp(&b)));
    pixels.truncate(log_uniform(least, most, &mut rng));
    mask_of(allowed.size(), &pixels)
}

/// Perlin noise with its own frequency along each of two perpendicular axes, turned by a random
/// angle.
fn perlin_field(size: ImageSize, config: &SynthesisConfig, rng: &mut impl Rng) -> Field {
    let noise = Perlin::new(rng.random());
    let mut cells = || 1_usize << rng.random_range(config.min_octave..=config.max_octave);
    let cells = [cells(), cells()];
    let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
    let offset = [rng.random_range(0.0..256.0), rng.random_range(0.0..256.0)];

    let side = size.height.max(size.width);
    let step = (side / (cells[0].max(cells[1]) * SAMPLES_PER_CELL)).clamp(1, 8);
    let frequency = cells.map(|n| n as f64 / side as f64);
    let n_samples = |pixels: usize| (pixels - 1).div_ceil(step) + 1;
    let coarse = Field::from_fn(n_samples(size.height), n_samples(size.width), |i, j| {
        let (y, x) = ((i * step) as f64, (j * step) as f64);
        let u = (cos * x - sin * y) * frequency[0] + offset[0];
        let v = (sin * x + cos * y) * frequency[1] + offset[1];
        noise.get([u, v]) as f32
    });
    if step == 1 { coarse } else { coarse.upsample(size.height, size.width, step, 0.0) }
}

/// The 8-connected regions of allowed pixels above the threshold, in raster order of their first
/// pixels.
fn connected_regions(allowed: &Mask, noise: &Field, threshold: f32) -> Vec<Vec<usize>> {
    let mut open: Vec<bool> =
        allowed.data().iter().zip(&noise.data).map(|(&a, &n)| a != 0 && n > threshold).collect();
    let mut regions = Vec::new();
    for start in 0..open.len() {
        if !std::mem::take(&mut open[start]) {
            continue;
        }
        let mut region = vec![start];
        let mut next = 0;
        while let Some(&pixel) = region.get(next) {
            next += 1;
            let (y, x) = (pixel / noise.width, pixel % noise.width);
            for ny in y.saturating_sub(1)..(y + 2).min(noise.height) {
                for nx in x.saturating_sub(1)..(x + 2).min(noise.width) {
                    let neighbour = ny * noise.width + nx;
                    if std::mem::take(&mut open[neighbour]) {
                        region.push(neighbour);
                    }
                }
            }
        }
        regions.push(region);
    }
    regions
}

/// An integer of `low..=high` whose logarithm is about uniform.
fn log_uniform(low: usize, high: usize, rng: &mut impl Rng) -> usize {
    let (from, to) = ((low as f64).ln(), ((high + 1) as f64).ln());
    (rng.random_range(from..to).exp() as usize).clamp(low, high)
}

fn mask_of(size: ImageSize, pixels: &[usize]) -> Mask {
    let mut mask = Mask::empty(size);
    for &pixel in pixels {
        mask.set(pixel / size.width, pixel % size.width, true);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everywhere(height: usize, width: usize) -> Mask {
        Mask::from_fn(ImageSize::new(height, width), |_, _| true)
    }

    fn check_area(allowed: &Mask, config: &SynthesisConfig, n_seeds: u64) {
        let n = allowed.area() as f64;
        for seed in 0..n_seeds {
            let shape = draw_shape(allowed, config, Seed::new(seed));
            let area = shape.area() as f64;
            assert!(area >= 1.0 && area >= config.min_area * n, "seed {seed}: {area} of {n}");
            assert!(area <= (config.max_area * n).max(1.0), "seed {seed}: {area} of {n}");
            assert!(shape.data().iter().zip(allowed.data()).all(|(s, a)| s <= a));
        }
    }

    #[test]
    fn the_area_keeps_to_its_bounds() {
        let config = SynthesisConfig::default();
        check_area(&everywhere(64, 48), &config, 100);
        check_area(
            &everywhere(64, 64),
            &SynthesisConfig { min_area: 0.1, max_area: 0.12, ..config.clone() },
            30,
        );
        check_area(
            &everywhere(5, 200),
            &SynthesisConfig { min_area: 0.9, max_area: 1.0, ..config.clone() },
            30,
        );
        let one_pixel = Mask::from_fn(ImageSize::new(40, 40), |y, x| (y, x) == (17, 3));
        check_area(&one_pixel, &config, 30);
        check_area(&everywhere(1, 1), &config, 3);
        check_area(&everywhere(64, 64), &SynthesisConfig { threshold: 0.999, ..config }, 30);
    }

    #[test]
    fn the_number_of_regions_is_bounded() {
        let config = SynthesisConfig { max_regions: 2, min_octave: 3, min_area: 1e-6, ..Default::default() };
        let size = ImageSize::square(96);
        for seed in 0..30 {
            let shape = draw_shape(&everywhere(96, 96), &config, Seed::new(seed));
            let field = Field { height: 96, width: 96, data: vec![1.0; size.pixels()] };
            assert!(connected_regions(&shape, &field, 0.0).len() <= 2);
        }
    }

    #[test]
    fn diagonal_neighbours_are_connected() {
        let mask = Mask::new(ImageSize::new(3, 4), vec![1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1]).unwrap();
        let field = Field { height: 3, width: 4, data: vec![1.0; 12] };
        assert_eq!(connected_regions(&mask, &field, 0.5), [vec![0, 5], vec![3], vec![11]]);
    }

    #[test]
    fn interpolated_noise_is_close_to_noise_at_every_pixel() {
        // Both draw the same numbers from the stream; only the size of the lattice cell in pixels
        // differs.
        let config = SynthesisConfig { min_octave: 2, max_octave: 2, ..Default::default() };
        let fine = perlin_field(ImageSize::square(32), &config, &mut Seed::new(5).rng());
        let coarse = perlin_field(ImageSize::square(256), &config, &mut Seed::new(5).rng());
        // Samples of both, at every second pixel of the one and every sixteenth of the other.
        for y in (0..32).step_by(2) {
            for x in (0..32).step_by(2) {
                let difference = fine.data[y * 32 + x] - coarse.data[y * 8 * 256 + x * 8];
                assert!(difference.abs() < 1e-5, "({y}, {x})");
            }
        }
    }
}
