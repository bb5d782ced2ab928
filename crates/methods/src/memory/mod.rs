//! Methods that keep or model the features of normal images and train no network.
//!
//! One file a method: [`teacher`] (the mean feature), [`padim`] (a Gaussian at each position),
//! [`spade`] (the nearest training images), [`patchcore`] (a coreset of patches). Their parts:
//! [`embedding`] (feature vectors from a pyramid), [`training_images`] (the pass over them),
//! [`gaussians`], [`nearest`] and [`distance`] (exact neighbours), [`coreset`], [`memory_bank`].

mod coreset;
mod distance;
pub(crate) mod embedding;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod gaussians;
pub(crate) mod memory_bank;
mod nearest;
pub(crate) mod padim;
pub(crate) mod patchcore;
pub(crate) mod spade;
pub(crate) mod teacher;
pub(crate) mod training_images;

pub use embedding::{Alignment, PatchEmbedding, neighbourhood_mean};
pub use padim::{PadimConfig, padim};
pub use patchcore::{PatchCoreConfig, PatchDistance, patchcore};
pub use spade::{SpadeConfig, spade};
pub use teacher::{TeacherConfig, teacher};
pub use training_images::each_training_image;
