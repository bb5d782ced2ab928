use fmam_core::{RgbImage, Seed};
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};
use serde::Serialize;

use super::timing::median_and_min_ms;
use crate::Error;

/// The speed of the synthesis of defective images, on one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SynthesisSpeed {
    /// Images in a pass, each with its own defect.
    pub images: usize,
    /// Height and width of the first one in pixels.
    pub size: [usize; 2],
    /// The textures that fill defects: the number of images, or `null` for generated ones.
    pub texture_images: Option<usize>,
    /// Threads, always 1.
    pub threads: usize,
    /// Milliseconds of an image: the median of the passes over all images.
    pub median_ms: f64,
    /// The fastest pass.
    pub min_ms: f64,
    /// Share of the pixels that the masks cover, mean over the images.
    pub mask_share: f64,
}

/// Times the synthesis that FMAM trains with, in its default settings: each pass puts one defect
/// into each of `images`, by a seed of its own. There are `n_repeats` passes, at least one, after
/// one that is not measured and reads the textures.
///
/// # Errors
/// [`Error::NoImages`] without an image; [`Error::Synthesis`].
pub fn measure_synthesis(
    images: &[RgbImage],
    textures: Textures,
    n_repeats: usize,
) -> Result<SynthesisSpeed, Error> {
    let first = images.first().ok_or_else(|| Error::NoImages { path: std::path::PathBuf::new() })?;
    let (size, n) = (first.size(), images.len() as f64);
    let texture_images = match &textures {
        Textures::Generated => None,
        Textures::Images(source) => Some(source.len()),
    };
    let synthesizer = Synthesizer::new(SynthesisConfig::default(), textures).map_err(Error::Synthesis)?;
    let seed = Seed::new(0).derive("synthesis speed");
    let mut shares = 0.0;
    let mut pass = || -> Result<(), Error> {
        shares = 0.0;
        for (index, image) in images.iter().enumerate() {
            let defect = synthesizer.synthesize(image, seed.derive_index(index as u64));
            let mask = defect.map_err(Error::Synthesis)?.mask;
            shares += mask.area() as f64 / mask.size().pixels() as f64;
        }
        Ok(())
    };
    pass()?;
    let (median_ms, min_ms) = median_and_min_ms(n_repeats, pass)?;
    Ok(SynthesisSpeed {
        images: images.len(),
        size: [size.height, size.width],
        texture_images,
        threads: 1,
        median_ms: median_ms / n,
        min_ms: min_ms / n,
        mask_share: shares / n,
    })
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;
    use fmam_testkit::striped_scene;

    use super::*;

    #[test]
    fn every_image_gets_its_defect() {
        let images: Vec<RgbImage> =
            (0..3).map(|index| striped_scene(ImageSize::new(40, 48), Seed::new(index))).collect();
        let speed = measure_synthesis(&images, Textures::Generated, 2).unwrap();
        assert_eq!((speed.images, speed.size, speed.texture_images), (3, [40, 48], None));
        assert!(0.0 < speed.min_ms && speed.min_ms <= speed.median_ms);
        // The default settings bound the area of a defect.
        let SynthesisConfig { min_area, max_area, .. } = SynthesisConfig::default();
        assert!((min_area..=max_area).contains(&speed.mask_share), "{}", speed.mask_share);
    }

    #[test]
    fn no_image_is_an_error() {
        let none = measure_synthesis(&[], Textures::Generated, 1);
        assert!(matches!(none, Err(Error::NoImages { .. })));
    }
}
