//! Synthetic anomalies: a normal image and a seed become a defective image and the mask of its
//! defect.
//!
//! This crate knows no tensors and no files; texture images reach it as a
//! [`fmam_core::SampleSource`].
//!
//! ```
//! use fmam_core::{ImageSize, RgbImage, Seed};
//! use fmam_synthesis::{SynthesisConfig, SynthesisError, Synthesizer, Textures};
//!
//! # fn main() -> Result<(), SynthesisError> {
//! let image = RgbImage::filled(ImageSize::square(64), [128, 128, 128]);
//! let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated)?;
//! let defect = synthesizer.synthesize(&image, Seed::new(7))?;
//! assert_eq!(defect.image.size(), image.size());
//! assert!(defect.mask.area() > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What the paper states
//! The poster of FMAM names three ingredients and no more: *structure* from shuffled patches of the
//! image, *texture* from the DTD data set, and *Perlin noise*.
//!
//! # What we decided
//! All else; see [`SynthesisConfig`] for the numbers. Ideas come from two published methods: DRAEM
//! (Zavrtanik, Kristan and Skočaj, ICCV 2021: thresholded Perlin noise with random frequencies, DTD
//! textures, random opacity) and MemSeg (Yang, Wu and Feng 2022: structure beside texture
//! anomalies, restriction to the foreground).
//!
//! 1. *Shape*: Perlin noise with 2^k lattice cells along each of two perpendicular axes, k drawn
//!    for each, turned by a random angle (round blobs when the axes agree, scratches when they do
//!    not), above a threshold. Of its connected regions a random few are kept, so that single
//!    defects occur beside scattered ones. The area is bounded; a field that misses the bounds is
//!    drawn again, and after four the highest values of one more are taken, so that a shape is
//!    never empty.
//! 2. *Foreground*: before a plain background, the shape stays on the object: colour distance from
//!    the median of the border, split by Otsu's threshold. An uneven background, an object that
//!    covers nearly all or nothing, or one that fills the border means no restriction, so that
//!    textures need no setting of their own.
//! 3. *Fill*: a crop of a texture image at a random place, scale (half to double) and orientation;
//!    a procedural texture where there are no images; or the image cut into a grid of patches that
//!    change places, each flipped and turned. Contrast, brightness and colour are jittered. On a
//!    grey image the fill is grey.
//! 4. *Blend*: `x + w b (fill - x)` with a random opacity b. The weight w fades towards the edge
//!    from within the mask, so that no pixel outside the mask changes; the mask is where w > 0.
//! 5. *Visibility*: masked pixels whose blurred change exceeds 12 of 255 count as visible. When too
//!    few are, fill and opacity are drawn again, four times at most, and the most visible draw is
//!    kept.
//!
//! Shape, source and blend draw from streams of their own, derived from the seed by name: one can
//! be changed without the others.
//!
//! Modules in reading order: [`SynthesisConfig`], [`Synthesizer`], shape, foreground, fill,
//! generated, blend, field, [`contact_sheet()`].

mod blend;
mod confetti;
mod config;
mod contact_sheet;
mod error;
mod field;
mod fill;
mod foreground;
mod generated;
mod shape;
mod synthesizer;

pub use confetti::{confetti, confetti_within};
pub use config::{Foreground, Source, SynthesisConfig};
pub use contact_sheet::contact_sheet;
pub use error::SynthesisError;
pub use synthesizer::{Synthesizer, SyntheticAnomaly, Textures};
