use serde::{Deserialize, Serialize};

use crate::SynthesisError;

/// The content of the shape of a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Structure with [`SynthesisConfig::structure_probability`], else texture.
    Both,
    /// A foreign texture: an image of the texture source, or a generated pattern.
    Texture,
    /// Shuffled patches of the image itself.
    Structure,
}

/// The region of the image in which a defect may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Foreground {
    /// Anywhere.
    None,
    /// On the object, where the image shows one before a plain background; anywhere otherwise.
    Auto,
}

/// The settings of synthetic anomalies, checked by [`crate::Synthesizer::new`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthesisConfig {
    /// The content of the shape.
    pub source: Source,
    /// Share of structure anomalies under [`Source::Both`], in 0..=1.
    pub structure_probability: f64,
    /// Smallest octave k: Perlin noise has 2^k lattice cells along the longer side of the image. At
    /// most 10.
    pub min_octave: u32,
    /// Largest octave, inclusive; drawn for each of the two noise axes on its own. At most 10.
    pub max_octave: u32,
    /// A pixel belongs to the shape where the noise, which lies in -1..=1, is above this; within
    /// -1..1.
    pub threshold: f64,
    /// Most connected regions in one shape, at least 1; the number is drawn log-uniformly from 1 to
    /// this.
    pub max_regions: usize,
    /// Smallest area of the shape, as a fraction of the pixels where a defect may lie. Above 0; one
    /// pixel is always allowed.
    pub min_area: f64,
    /// Largest area of the shape, as a fraction of the same; at most 1.
    pub max_area: f64,
    /// Smallest opacity b of the fill, where the image becomes `(1 - b) image + b fill`; above 0.
    pub min_opacity: f64,
    /// Largest opacity, at most 1.
    pub max_opacity: f64,
    /// Largest sigma in pixels of the Gaussian that fades the fill out towards the edge of the
    /// shape, 0 to 16; drawn uniformly from 0 to this. 0 gives hard edges.
    pub edge_sigma: f64,
    /// Patches along each side of the grid that structure anomalies shuffle, 2 to 64.
    pub patch_grid: usize,
    /// Strength of the random change of contrast, brightness and colour of the fill, in 0..=1; 0 is
    /// none.
    pub colour_jitter: f64,
    /// The region in which a defect may lie.
    pub foreground: Foreground,
    /// Share of the shape that should be visibly changed, in 0..=1. Fill and opacity are drawn up
    /// to four times until it is; the most visible draw is kept.
    pub min_visible: f64,
}

impl Default for SynthesisConfig {
    fn default() -> Self {
        Self {
            source: Source::Both,
            structure_probability: 0.5,
            min_octave: 0,
            max_octave: 5,
            threshold: 0.5,
            max_regions: 16,
            min_area: 0.002,
            max_area: 0.3,
            min_opacity: 0.2,
            max_opacity: 1.0,
            edge_sigma: 1.5,
            patch_grid: 8,
            colour_jitter: 0.3,
            foreground: Foreground::Auto,
            min_visible: 0.6,
        }
    }
}

impl SynthesisConfig {
    /// Checks every value; not-a-number fails each check.
    pub(crate) fn validate(&self) -> Result<(), SynthesisError> {
        let fraction = |value: f64| (0.0..=1.0).contains(&value);
        if !fraction(self.structure_probability) {
            return Err(SynthesisError::StructureProbability(self.structure_probability));
        }
        if self.min_octave > self.max_octave || self.max_octave > 10 {
            return Err(SynthesisError::Octaves { min: self.min_octave, max: self.max_octave });
        }
        if !(self.threshold > -1.0 && self.threshold < 1.0) {
            return Err(SynthesisError::Threshold(self.threshold));
        }
        if self.max_regions == 0 {
            return Err(SynthesisError::NoRegions);
        }
        if !(self.min_area > 0.0 && self.min_area <= self.max_area && self.max_area <= 1.0) {
            return Err(SynthesisError::Area { min: self.min_area, max: self.max_area });
        }
        if !(self.min_opacity > 0.0 && self.min_opacity <= self.max_opacity && self.max_opacity <= 1.0) {
            return Err(SynthesisError::Opacity { min: self.min_opacity, max: self.max_opacity });
        }
        if !(0.0..=16.0).contains(&self.edge_sigma) {
            return Err(SynthesisError::EdgeSigma(self.edge_sigma));
        }
        if !(2..=64).contains(&self.patch_grid) {
            return Err(SynthesisError::PatchGrid(self.patch_grid));
        }
        if !fraction(self.colour_jitter) {
            return Err(SynthesisError::ColourJitter(self.colour_jitter));
        }
        if !fraction(self.min_visible) {
            return Err(SynthesisError::MinVisible(self.min_visible));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut SynthesisConfig), expected: &str) {
        let mut config = SynthesisConfig::default();
        change(&mut config);
        let error = config.validate().unwrap_err();
        let variant = format!("{error:?}");
        assert!(variant.starts_with(expected), "{variant} is not {expected}");
    }

    #[test]
    fn the_defaults_are_valid() {
        SynthesisConfig::default().validate().unwrap();
    }

    #[test]
    fn each_bad_value_has_its_own_error() {
        check(|c| c.structure_probability = 1.1, "StructureProbability");
        check(|c| c.structure_probability = f64::NAN, "StructureProbability");
        check(|c| c.min_octave = 6, "Octaves");
        check(|c| c.max_octave = 11, "Octaves");
        check(|c| c.threshold = 1.0, "Threshold");
        check(|c| c.threshold = -1.0, "Threshold");
        check(|c| c.threshold = f64::NAN, "Threshold");
        check(|c| c.max_regions = 0, "NoRegions");
        check(|c| c.min_area = 0.0, "Area");
        check(|c| c.min_area = 0.5, "Area");
        check(|c| c.max_area = 1.5, "Area");
        check(|c| c.max_area = f64::NAN, "Area");
        check(|c| c.min_opacity = 0.0, "Opacity");
        check(|c| (c.min_opacity, c.max_opacity) = (0.8, 0.5), "Opacity");
        check(|c| c.max_opacity = 1.5, "Opacity");
        check(|c| c.edge_sigma = -1.0, "EdgeSigma");
        check(|c| c.edge_sigma = f64::INFINITY, "EdgeSigma");
        check(|c| c.patch_grid = 1, "PatchGrid");
        check(|c| c.patch_grid = 65, "PatchGrid");
        check(|c| c.colour_jitter = -0.1, "ColourJitter");
        check(|c| c.min_visible = 2.0, "MinVisible");
    }

    #[test]
    fn toml_fills_in_defaults_and_refuses_unknown_keys() {
        let config: SynthesisConfig = toml::from_str("source = 'structure'\nforeground = 'none'").unwrap();
        let expected = SynthesisConfig {
            source: Source::Structure,
            foreground: Foreground::None,
            ..SynthesisConfig::default()
        };
        assert_eq!(config, expected);
        assert_eq!(toml::from_str::<SynthesisConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(toml::from_str::<SynthesisConfig>("opacity = 0.5").is_err());
    }
}
