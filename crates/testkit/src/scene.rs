use fmam_core::{ImageSize, Mask, MemorySource, RgbImage, Seed, Split};
use rand::Rng;

/// Stripe period in pixels.
const PERIOD: f32 = 8.0;

/// A normal scene: diagonal stripes 8 pixels apart, whose phase, contrast and noise the seed draws.
/// Cheap to make at any size, regular enough that a detector fitted for a few steps sees a defect
/// in it.
pub fn striped_scene(size: ImageSize, seed: Seed) -> RgbImage {
    let mut rng = seed.derive("striped-scene").rng();
    let phase = rng.random_range(0.0..PERIOD);
    let contrast = rng.random_range(50.0..60.0);
    RgbImage::from_fn(size, |y, x| {
        let position = ((y + 2 * x) as f32 / 2.0 + phase) % PERIOD / PERIOD;
        let triangle = 4.0 * (position - 0.5).abs() - 1.0;
        let value = 120.0 + contrast * triangle + rng.random_range(-6.0..6.0);
        [value as u8, (0.9 * value) as u8, (0.8 * value) as u8]
    })
}

/// [`striped_scene`] with a reddish square of a quarter of the shorter side at a place that the
/// seed draws, and the exact mask of that square.
///
/// # Panics
/// Panics if the shorter side is below 4 pixels.
#[track_caller]
pub fn striped_scene_with_square(size: ImageSize, seed: Seed) -> (RgbImage, Mask) {
    let side = size.height.min(size.width) / 4;
    assert!(side > 0, "a {size} scene has no room for a square");
    let mut rng = seed.derive("striped-square").rng();
    let top = rng.random_range(0..=size.height - side);
    let left = rng.random_range(0..=size.width - side);
    let mut image = striped_scene(size, seed);
    let mask = Mask::from_fn(size, |y, x| (top..top + side).contains(&y) && (left..left + side).contains(&x));
    for y in top..top + side {
        for x in left..left + side {
            image.set_pixel(y, x, [200 + rng.random_range(0..20), 40, 40]);
        }
    }
    (image, mask)
}

/// A training source of `n` normal striped scenes.
pub fn striped_train(n: usize, size: ImageSize, seed: Seed) -> MemorySource {
    let seed = seed.derive("train");
    let mut source = MemorySource::new(Split::Train);
    for index in 0..n {
        source.push_normal(striped_scene(size, seed.derive_index(index as u64)));
    }
    source
}

/// A test source of `n_normal` normal striped scenes followed by `n_anomalous` ones with a square.
///
/// # Panics
/// As [`striped_scene_with_square`].
#[track_caller]
pub fn striped_test(n_normal: usize, n_anomalous: usize, size: ImageSize, seed: Seed) -> MemorySource {
    let seed = seed.derive("test");
    let mut source = MemorySource::new(Split::Test);
    for index in 0..n_normal {
        source.push_normal(striped_scene(size, seed.derive_index(index as u64)));
    }
    for index in n_normal..n_normal + n_anomalous {
        let (image, mask) = striped_scene_with_square(size, seed.derive_index(index as u64));
        if let Err(error) = source.push_anomalous("square", image, Some(mask)) {
            panic!("{error}");
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use fmam_core::{Label, SampleSource};

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_scene_and_another_seed_another() {
        let size = ImageSize::new(20, 31);
        assert_eq!(striped_scene(size, Seed::new(1)), striped_scene(size, Seed::new(1)));
        assert_ne!(striped_scene(size, Seed::new(1)), striped_scene(size, Seed::new(2)));
    }

    #[test]
    fn the_square_is_the_only_change_and_its_mask_is_exact() {
        let size = ImageSize::new(64, 48);
        let (image, mask) = striped_scene_with_square(size, Seed::new(3));
        let normal = striped_scene(size, Seed::new(3));
        assert_eq!(mask.area(), 12 * 12);
        for y in 0..size.height {
            for x in 0..size.width {
                assert_eq!(image.pixel(y, x) != normal.pixel(y, x), mask.at(y, x), "at ({y}, {x})");
            }
        }
    }

    #[test]
    fn a_test_source_holds_both_classes() {
        let source = striped_test(2, 3, ImageSize::square(16), Seed::new(0));
        let labels: Vec<_> = (0..source.len()).map(|i| source.sample(i).label).collect();
        assert_eq!(labels, [[Label::Normal; 2].as_slice(), &[Label::Anomalous; 3]].concat());
        assert!(source.mask(0).unwrap().unwrap().is_empty());
        assert_eq!(source.mask(4).unwrap().unwrap().area(), 16);
        assert_eq!(striped_train(4, ImageSize::square(16), Seed::new(0)).len(), 4);
    }
}
