use fmam_core::{ErrorKind, ImageSize, SourceError};

/// Synthesis was configured wrongly, or lacks what it needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthesisError {
    /// [`crate::SynthesisConfig::structure_probability`] is not a fraction.
    #[error("synthesis: structure_probability = {0} must lie in 0 to 1")]
    StructureProbability(f64),
    /// The octaves are out of order or too fine.
    #[error("synthesis: min_octave = {min} and max_octave = {max} must be in order and at most 10")]
    Octaves {
        /// The configured smallest octave.
        min: u32,
        /// The configured largest octave.
        max: u32,
    },
    /// [`crate::SynthesisConfig::threshold`] is outside the range of the noise.
    #[error("synthesis: threshold = {0} must lie between -1 and 1")]
    Threshold(f64),
    /// [`crate::SynthesisConfig::max_regions`] is zero.
    #[error("synthesis: max_regions must be at least 1")]
    NoRegions,
    /// The bounds of the area are out of order or not fractions.
    #[error("synthesis: min_area = {min} and max_area = {max} must be in order, above 0 and at most 1")]
    Area {
        /// The configured smallest area.
        min: f64,
        /// The configured largest area.
        max: f64,
    },
    /// The bounds of the opacity are out of order or not fractions.
    #[error("synthesis: min_opacity = {min} and max_opacity = {max} must be in order, above 0 and at most 1")]
    Opacity {
        /// The configured smallest opacity.
        min: f64,
        /// The configured largest opacity.
        max: f64,
    },
    /// [`crate::SynthesisConfig::edge_sigma`] is negative or too large.
    #[error("synthesis: edge_sigma = {0} must lie in 0 to 16 pixels")]
    EdgeSigma(f64),
    /// [`crate::SynthesisConfig::patch_grid`] is too small or too large.
    #[error("synthesis: patch_grid = {0} must lie in 2 to 64")]
    PatchGrid(usize),
    /// [`crate::SynthesisConfig::colour_jitter`] is not a fraction.
    #[error("synthesis: colour_jitter = {0} must lie in 0 to 1")]
    ColourJitter(f64),
    /// [`crate::SynthesisConfig::min_visible`] is not a fraction.
    #[error("synthesis: min_visible = {0} must lie in 0 to 1")]
    MinVisible(f64),
    /// The texture source has no image.
    #[error("the texture source is empty; give one with images, or use generated textures")]
    NoTextures,
    /// A texture image could not be read.
    #[error("texture image {index} cannot be read")]
    Texture {
        /// Index in the texture source.
        index: usize,
        /// Why; names the file.
        #[source]
        source: SourceError,
    },
    /// A texture image has no pixels.
    #[error("texture image {index} has no pixels ({size})")]
    EmptyTexture {
        /// Index in the texture source.
        index: usize,
        /// Its size.
        size: ImageSize,
    },
    /// The image has no pixels.
    #[error("cannot synthesise a defect in an image without pixels ({0})")]
    EmptyImage(ImageSize),
    /// The region that may have a defect is a mask of another size than the image.
    #[error("a defect within a region of {region} does not fit an image of {image}")]
    RegionSize {
        /// The size of the image.
        image: ImageSize,
        /// The size of the region.
        region: ImageSize,
    },
    /// The region that may have a defect has no pixel.
    #[error("no pixel of a {0} image lies within the region of interest: nothing may have a defect")]
    NothingInside(ImageSize),
}

impl SynthesisError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTextures
            | Self::Texture { .. }
            | Self::EmptyTexture { .. }
            | Self::EmptyImage(_)
            | Self::RegionSize { .. }
            | Self::NothingInside(_) => ErrorKind::Data,
            _ => ErrorKind::Usage,
        }
    }
}
