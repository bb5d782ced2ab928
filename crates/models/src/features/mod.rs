//! Multi-scale features: their type, the images that go in, and what adapts them to normal data.
//!
//! Modules in reading order: `pyramid` ([`FeaturePyramid`]), `batch` ([`Preprocess`],
//! [`to_batch`]), `whitening` ([`FeatureMoments`]), `mapping` ([`FeatureMapping`]), `output_affine`
//! ([`OutputAffine`]).

mod batch;
mod mapping;
mod output_affine;
mod pyramid;
mod whitening;

pub(crate) use batch::check_images;
pub use batch::{Preprocess, to_batch};
pub use mapping::{FeatureMapping, FeatureMappingConfig};
pub use output_affine::OutputAffine;
pub use pyramid::FeaturePyramid;
pub use whitening::FeatureMoments;
