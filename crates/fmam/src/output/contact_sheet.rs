use fmam_core::{ImageSize, RgbImage, SampleSource, Seed};
use fmam_experiment::ExperimentError;
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures, contact_sheet};

use crate::{Error, Image, Setting};

/// The settings of a synthesis: the defaults, overlaid with `settings`.
///
/// # Errors
/// [`Error::SynthesisSettings`] for an unknown key or a value of the wrong type.
pub fn synthesis_config(settings: &[Setting]) -> Result<SynthesisConfig, Error> {
    let mut table = toml::Table::new();
    settings.iter().for_each(|setting| setting.apply(&mut table));
    table.try_into().map_err(|error: toml::de::Error| Error::SynthesisSettings(error.into()))
}

/// `count` images of `size`; where there are fewer they come again.
///
/// # Errors
/// [`Error::Experiment`] naming an image that cannot be read.
pub fn repeated_images(images: &[Image], count: usize, size: ImageSize) -> Result<Vec<RgbImage>, Error> {
    let images: Vec<RgbImage> =
        images.iter().take(count).map(|image| image.load(Some(size))).collect::<Result<_, _>>()?;
    Ok(images.iter().cycle().take(count).cloned().collect())
}

/// `count` images of a source; where there are fewer they come again.
///
/// # Errors
/// [`Error::Experiment`] naming an image that cannot be read.
pub fn repeated_samples(source: &dyn SampleSource, count: usize) -> Result<Vec<RgbImage>, Error> {
    let image = |index: usize| {
        let id = || source.sample(index).id.clone();
        source.image(index).map_err(|source| ExperimentError::Sample { id: id(), source }.into())
    };
    (0..source.len()).cycle().take(count).map(image).collect()
}

/// Puts a synthetic defect into each of `images` and draws them: a row shows the image, the mask,
/// the defective image, and the change times four. The same seed gives the same sheet.
///
/// # Errors
/// [`Error::SynthesisSettings`] for a value out of its range, [`Error::Synthesis`].
pub fn draw_contact_sheet(
    images: Vec<RgbImage>,
    config: SynthesisConfig,
    textures: Textures,
    seed: u64,
) -> Result<RgbImage, Error> {
    let synthesizer =
        Synthesizer::new(config, textures).map_err(|error| Error::SynthesisSettings(error.into()))?;
    let seed = Seed::new(seed).derive("contact-sheet");
    let row = |(index, image): (usize, RgbImage)| {
        let anomaly = synthesizer.synthesize(&image, seed.derive_index(index as u64))?;
        Ok((image, anomaly))
    };
    let rows = images.into_iter().enumerate().map(row).collect::<Result<Vec<_>, Error>>()?;
    Ok(contact_sheet(&rows))
}
