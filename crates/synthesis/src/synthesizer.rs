use std::ops::Range;
use std::sync::Arc;

use fmam_core::{ImageSize, Mask, RgbImage, SampleSource, Seed};

use crate::blend::blend;
use crate::fill::Fill;
use crate::foreground::estimate_foreground;
use crate::shape::draw_shape;
use crate::{Foreground, SynthesisConfig, SynthesisError};

/// Draws of fill and opacity for one shape, until enough of it is visible.
const ATTEMPTS: u64 = 4;

/// The source of the textures of texture anomalies.
#[derive(Clone)]
pub enum Textures {
    /// Procedural textures of our own, which need no data.
    Generated,
    /// The images of a source, DTD say; their size may differ from that of the images they go into.
    Images(Arc<dyn SampleSource>),
}

/// A defective image and where its defect lies. All three have the size of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticAnomaly {
    /// The image with its defect.
    pub image: RgbImage,
    /// The pixels that the fill went into, never none; outside of it the image is unchanged, byte
    /// for byte.
    pub mask: Mask,
    /// The masked pixels that were visibly changed: mean absolute change over the channels, blurred
    /// with sigma 1.5, above 12 of 255. May be empty.
    pub visible: Mask,
}

/// Makes synthetic anomalies. It holds no state that changes: what it makes depends on the image,
/// the seed, the configuration and the textures alone, whichever thread asks.
#[derive(Clone)]
pub struct Synthesizer {
    config: SynthesisConfig,
    textures: Textures,
}

impl Synthesizer {
    /// Checks the configuration and the texture source.
    ///
    /// # Errors
    /// The [`SynthesisError`] of the first bad value; [`SynthesisError::NoTextures`] for an empty
    /// source.
    pub fn new(config: SynthesisConfig, textures: Textures) -> Result<Self, SynthesisError> {
        config.validate()?;
        if matches!(&textures, Textures::Images(source) if source.is_empty()) {
            return Err(SynthesisError::NoTextures);
        }
        Ok(Self { config, textures })
    }

    /// The configuration.
    pub fn config(&self) -> &SynthesisConfig {
        &self.config
    }

    /// Puts one defect into `image`, a normal image of any size.
    ///
    /// # Errors
    /// [`SynthesisError::EmptyImage`] for an image without pixels; [`SynthesisError::Texture`] when
    /// a texture image cannot be read, and [`SynthesisError::EmptyTexture`] when it has no pixels.
    pub fn synthesize(&self, image: &RgbImage, seed: Seed) -> Result<SyntheticAnomaly, SynthesisError> {
        self.synthesize_within(image, None, seed)
    }

    /// Puts one defect into the pixels of `image` that are 1 in `inside`; the others stay as they
    /// are. Without `inside` all of the image may have it, as with [`Synthesizer::synthesize`]. The
    /// foreground is estimated within `inside` where that is a rectangle, since padding and filled
    /// surroundings look like a background; any other `inside` is allowed as a whole.
    ///
    /// # Errors
    /// As [`Synthesizer::synthesize`]; [`SynthesisError::RegionSize`] for a mask of another size,
    /// and [`SynthesisError::NothingInside`] for one without a pixel.
    pub fn synthesize_within(
        &self,
        image: &RgbImage,
        inside: Option<&Mask>,
        seed: Seed,
    ) -> Result<SyntheticAnomaly, SynthesisError> {
        let size = image.size();
        if size.pixels() == 0 {
            return Err(SynthesisError::EmptyImage(size));
        }
        if let Some(inside) = inside {
            check_region(inside, size)?;
        }
        let object = match (self.config.foreground, inside) {
            (Foreground::None, _) => None,
            (Foreground::Auto, None) => estimate_foreground(image),
            (Foreground::Auto, Some(inside)) => estimate_within(image, inside),
        };
        let allowed = object.or_else(|| inside.cloned()).unwrap_or_else(|| Mask::from_fn(size, |_, _| true));
        let mask = draw_shape(&allowed, &self.config, seed.derive("shape"));

        let enough = self.config.min_visible * mask.area() as f64;
        let grey = is_grey(image);
        let draw = |attempt: u64| -> Result<SyntheticAnomaly, SynthesisError> {
            let source = seed.derive("source").derive_index(attempt);
            let fill = Fill::draw(image, grey, &self.config, &self.textures, source)?;
            Ok(blend(image, &mask, &fill, &self.config, seed.derive("blend").derive_index(attempt)))
        };
        let mut best = draw(0)?;
        let mut most = best.visible.area();
        for attempt in 1..ATTEMPTS {
            if most as f64 >= enough {
                break;
            }
            let next = draw(attempt)?;
            let visible = next.visible.area();
            if visible > most {
                (best, most) = (next, visible);
            }
        }
        Ok(best)
    }
}

/// The foreground of the part of `image` that is 1 in `inside`. `None` where there is no
/// foreground, or the part is no rectangle.
fn estimate_within(image: &RgbImage, inside: &Mask) -> Option<Mask> {
    let size = image.size();
    let rows = extent(size.height, |y| (0..size.width).any(|x| inside.at(y, x)));
    let columns = extent(size.width, |x| (0..size.height).any(|y| inside.at(y, x)));
    if inside.area() != rows.len() * columns.len() {
        return None;
    }
    let part = ImageSize::new(rows.len(), columns.len());
    let part = RgbImage::from_fn(part, |y, x| image.pixel(rows.start + y, columns.start + x));
    let object = estimate_foreground(&part)?;
    Some(Mask::from_fn(size, |y, x| inside.at(y, x) && object.at(y - rows.start, x - columns.start)))
}

/// From the first to the last of the indices below `n` that are `used`.
fn extent(n: usize, used: impl Fn(usize) -> bool) -> Range<usize> {
    let first = (0..n).find(|&index| used(index)).unwrap_or(n);
    let last = (first..n).rfind(|&index| used(index)).map_or(first, |last| last + 1);
    first..last
}

/// Checks that a region fits an image of `size` and has a pixel.
pub(crate) fn check_region(region: &Mask, size: ImageSize) -> Result<(), SynthesisError> {
    if region.size() != size {
        return Err(SynthesisError::RegionSize { image: size, region: region.size() });
    }
    if region.is_empty() { Err(SynthesisError::NothingInside(size)) } else { Ok(()) }
}

fn is_grey(image: &RgbImage) -> bool {
    image.data().chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2])
}

#[cfg(test)]
mod tests {
    use fmam_core::{Label, Sample, SourceError, Split};

    use super::*;
    use crate::Source;

    /// Textures by index: a red and a green one, and one that cannot be read.
    struct Colours {
        samples: Vec<Sample>,
        broken: bool,
    }

    impl Colours {
        fn textures(n: usize, broken: bool) -> Textures {
            let sample = Sample {
                id: String::new(),
                split: Split::Train,
                label: Label::Normal,
                defect_type: None,
                image_path: std::path::PathBuf::new(),
                mask_paths: Vec::new(),
            };
            Textures::Images(Arc::new(Self { samples: vec![sample; n], broken }))
        }
    }

    impl SampleSource for Colours {
        fn len(&self) -> usize {
            self.samples.len()
        }

        fn sample(&self, index: usize) -> &Sample {
            &self.samples[index]
        }

        fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
            if self.broken {
                return Err("truncated.jpg: end of file".into());
            }
            Ok(RgbImage::filled(ImageSize::new(7, 5), [[250, 0, 0], [0, 250, 0]][index]))
        }

        fn mask(&self, _index: usize) -> Result<Option<Mask>, SourceError> {
            Ok(None)
        }
    }

    fn scene() -> RgbImage {
        RgbImage::from_fn(ImageSize::new(96, 128), |y, x| {
            [(40 + y) as u8, (60 + (x * 3) % 90) as u8, (100 + (x * y) % 50) as u8]
        })
    }

    fn exact(source: Source) -> SynthesisConfig {
        SynthesisConfig {
            source,
            colour_jitter: 0.0,
            edge_sigma: 0.0,
            min_opacity: 1.0,
            max_opacity: 1.0,
            ..Default::default()
        }
    }

    #[test]
    fn one_seed_makes_the_same_anomaly_on_any_thread_and_another_seed_another() {
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        let (synthesizer, image) = (&synthesizer, &scene());
        let make = |seed| synthesizer.synthesize(image, Seed::new(seed)).unwrap();
        let here: Vec<_> = (0..12).map(make).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12).rev().map(|seed| (seed, scope.spawn(move || make(seed)))).collect();
            for (seed, thread) in threads {
                assert_eq!(thread.join().unwrap(), here[seed as usize]);
            }
        });
        for (a, b) in here.iter().zip(&here[1..]) {
            assert_ne!(a.mask, b.mask);
        }
    }

    #[test]
    fn only_masked_pixels_change_and_visible_ones_are_masked() {
        let image = scene();
        for source in [Source::Texture, Source::Structure, Source::Both] {
            let config = SynthesisConfig { source, edge_sigma: 4.0, ..Default::default() };
            let synthesizer = Synthesizer::new(config, Textures::Generated).unwrap();
            let mut visible = 0;
            for seed in 0..30 {
                let anomaly = synthesizer.synthesize(&image, Seed::new(seed)).unwrap();
                assert!(!anomaly.mask.is_empty());
                for (i, &masked) in anomaly.mask.data().iter().enumerate() {
                    let pixel = 3 * i..3 * i + 3;
                    let same = image.data()[pixel.clone()] == anomaly.image.data()[pixel];
                    assert!(same || masked == 1, "{source:?}, seed {seed}, pixel {i}");
                    assert!(anomaly.visible.data()[i] <= masked);
                }
                visible += usize::from(2 * anomaly.visible.area() > anomaly.mask.area());
            }
            assert!(3 * visible >= 2 * 30, "{source:?}: {visible} of 30 mostly visible");
        }
    }

    #[test]
    fn the_parts_draw_from_streams_of_their_own() {
        let image = scene();
        let make = |config| {
            let synthesizer = Synthesizer::new(config, Textures::Generated).unwrap();
            synthesizer.synthesize(&image, Seed::new(9)).unwrap()
        };
        let texture = make(exact(Source::Texture));
        assert_eq!(texture.mask, make(exact(Source::Structure)).mask);
        assert_eq!(
            texture.mask,
            make(SynthesisConfig { max_opacity: 0.4, min_opacity: 0.1, ..exact(Source::Texture) }).mask
        );
    }

    #[test]
    fn an_opaque_hard_texture_replaces_the_image() {
        let image = scene();
        let synthesizer = Synthesizer::new(exact(Source::Texture), Colours::textures(2, false)).unwrap();
        let mut seen = [false; 2];
        for seed in 0..20 {
            let anomaly = synthesizer.synthesize(&image, Seed::new(seed)).unwrap();
            let inside: Vec<&[u8]> = (anomaly.image.data().chunks_exact(3))
                .zip(anomaly.mask.data())
                .filter_map(|(pixel, &masked)| (masked == 1).then_some(pixel))
                .collect();
            let colour = usize::from(inside[0] == [0, 250, 0]);
            assert!(inside.iter().all(|&pixel| pixel == [[250, 0, 0], [0, 250, 0]][colour]));
            seen[colour] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn opaque_structure_shows_only_colours_of_the_image() {
        let image = scene();
        let known: std::collections::HashSet<&[u8]> = image.data().chunks_exact(3).collect();
        let synthesizer = Synthesizer::new(exact(Source::Structure), Textures::Generated).unwrap();
        for seed in 0..10 {
            let anomaly = synthesizer.synthesize(&image, Seed::new(seed)).unwrap();
            assert!(anomaly.image.data().chunks_exact(3).all(|pixel| known.contains(pixel)));
        }
    }

    #[test]
    fn a_grey_image_stays_grey() {
        let image = RgbImage::from_fn(ImageSize::square(64), |y, x| [(y + 2 * x) as u8; 3]);
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        for seed in 0..10 {
            assert!(is_grey(&synthesizer.synthesize(&image, Seed::new(seed)).unwrap().image));
        }
    }

    #[test]
    fn a_defect_lies_on_the_object_unless_told_otherwise() {
        let on_object = |y: usize, x: usize| (30..66).contains(&y) && (20..90).contains(&x);
        let image = RgbImage::from_fn(ImageSize::new(96, 128), |y, x| {
            if on_object(y, x) { [50, 60, (40 + x % 20) as u8] } else { [210; 3] }
        });
        let outside = |foreground| {
            let config = SynthesisConfig { foreground, ..Default::default() };
            let synthesizer = Synthesizer::new(config, Textures::Generated).unwrap();
            let masks = (0..20).map(|seed| synthesizer.synthesize(&image, Seed::new(seed)).unwrap().mask);
            masks
                .filter(|mask| {
                    (0..96 * 128).any(|i| mask.at(i / 128, i % 128) && !on_object(i / 128, i % 128))
                })
                .count()
        };
        assert_eq!(outside(Foreground::Auto), 0);
        assert!(outside(Foreground::None) > 10);
    }

    #[test]
    fn a_defect_within_a_region_changes_nothing_outside() {
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        let (image, size) = (scene(), ImageSize::new(96, 128));
        let disc = Mask::from_fn(size, |y, x| (y as f32 - 70.0).hypot(x as f32 - 90.0) < 20.0);
        let pixel = Mask::from_fn(size, |y, x| (y, x) == (3, 5));
        for region in [&disc, &pixel] {
            for seed in 0..20 {
                let made = synthesizer.synthesize_within(&image, Some(region), Seed::new(seed)).unwrap();
                assert!(!made.mask.is_empty());
                for (at, &inside) in region.data().iter().enumerate() {
                    let pixel = 3 * at..3 * at + 3;
                    let is_same = made.image.data()[pixel.clone()] == image.data()[pixel];
                    assert!(made.mask.data()[at] <= inside && (is_same || inside == 1), "seed {seed}");
                }
            }
        }
        let all = Mask::from_fn(size, |_, _| true);
        let within = synthesizer.synthesize_within(&image, Some(&all), Seed::new(3)).unwrap();
        assert_eq!(within, synthesizer.synthesize(&image, Seed::new(3)).unwrap());
        let refused = |region: &Mask| synthesizer.synthesize_within(&image, Some(region), Seed::new(0));
        assert!(matches!(refused(&Mask::empty(size)), Err(SynthesisError::NothingInside(_))));
        let other = refused(&Mask::empty(ImageSize::square(9)));
        assert!(matches!(other, Err(SynthesisError::RegionSize { .. })), "{other:?}");
    }

    #[test]
    fn padding_is_no_background() {
        let size = ImageSize::new(96, 128);
        let is_inside = |y: usize| (24..72).contains(&y);
        let inside = Mask::from_fn(size, |y, _| is_inside(y));
        let on_object = |y: usize, x: usize| (36..60).contains(&y) && (40..90).contains(&x);
        let image = RgbImage::from_fn(size, |y, x| match (is_inside(y), on_object(y, x)) {
            (false, _) => [0; 3],
            (true, false) => [210; 3],
            (true, true) => [50, 60, (40 + x % 20) as u8],
        });
        let object = estimate_within(&image, &inside).unwrap();
        assert!(object.at(48, 64) && !object.at(30, 10) && !object.at(5, 64));
        // No rectangle.
        let ring = Mask::from_fn(size, |y, x| is_inside(y) && !on_object(y, x));
        assert_eq!(estimate_within(&image, &ring), None);
    }

    #[test]
    fn images_of_any_size_are_served() {
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        for (height, width) in [(1, 1), (1, 300), (200, 3), (17, 19)] {
            let image = RgbImage::filled(ImageSize::new(height, width), [128; 3]);
            assert!(!synthesizer.synthesize(&image, Seed::new(0)).unwrap().mask.is_empty());
        }
        let nothing = RgbImage::filled(ImageSize::new(0, 5), [0; 3]);
        let error = synthesizer.synthesize(&nothing, Seed::new(0)).unwrap_err();
        assert!(matches!(error, SynthesisError::EmptyImage(_)));
    }

    #[test]
    fn textures_that_are_missing_or_broken_are_told() {
        let config = SynthesisConfig { source: Source::Texture, ..Default::default() };
        let missing = Synthesizer::new(config.clone(), Colours::textures(0, false));
        assert!(matches!(missing.err(), Some(SynthesisError::NoTextures)));
        let broken = Synthesizer::new(config, Colours::textures(1, true)).unwrap();
        let error = broken.synthesize(&scene(), Seed::new(0)).unwrap_err();
        assert!(matches!(error, SynthesisError::Texture { index: 0, .. }));
    }

    #[test]
    fn a_bad_configuration_is_refused() {
        let config = SynthesisConfig { max_regions: 0, ..Default::default() };
        assert!(matches!(
            Synthesizer::new(config, Textures::Generated).err(),
            Some(SynthesisError::NoRegions)
        ));
    }

    #[test]
    fn synthesizers_are_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<Synthesizer>();
    }
}
