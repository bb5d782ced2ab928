//! The registered backbones. To add one: one file here, its `mod` line, and its line in [`BACKBONES`].

mod dinov2;
mod lite0;
mod resnet;
mod tiny;
mod vgg;

pub use lite0::import_lite0;

use fmam_core::Seed;
use fmam_ops::Activation;

use crate::{ModelError, Params, Preprocess};

/// Every backbone, by name.
pub static BACKBONES: &[&BackboneEntry] = &[
    &lite0::ENTRY,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &resnet::RESNET50,
    &resnet::WIDE_RESNET50_2,
    &vgg::VGG16,
    &dinov2::SMALL,
    &tiny::ENTRY,
];

/// A registered backbone.
pub struct BackboneEntry {
    /// What a user calls it.
    pub name: &'static str,
    /// One line on what it is.
    pub summary: &'static str,
    /// Where its weights come from when no file is given.
    pub weights: Weights,
    pub(crate) architecture: &'static dyn Architecture,
}

/// Where a backbone's weights come from when no file is given.
#[derive(Debug, Clone, Copy)]
pub enum Weights {
    /// A safetensors file inside the program.
    Embedded(&'static [u8]),
    /// Drawn at random, always the same: features without meaning, for smoke tests.
    Seeded(Seed),
    /// Nowhere: a file must be given.
    File,
}

impl BackboneEntry {
    pub(crate) fn named(name: &str) -> Result<&'static Self, ModelError> {
        BACKBONES.iter().copied().find(|entry| entry.name == name).ok_or_else(|| {
            ModelError::UnknownBackbone {
                name: name.to_owned(),
                known: BACKBONES.iter().map(|entry| entry.name).collect(),
            }
        })
    }
}

/// What a backbone is made of: an encoder, and the reverse path that mirrors it.
pub(crate) trait Architecture: Send + Sync {
    /// See [`crate::Backbone::channels`].
    fn channels(&self) -> &[usize];

    /// See [`crate::Backbone::strides`].
    fn strides(&self) -> &[usize];

    /// See [`crate::Backbone::preprocess`].
    fn preprocess(&self) -> Preprocess;

    /// The network from image to features: frozen the teacher, trainable the symmetric student.
    fn encoder(&self, params: &Params) -> Result<Box<dyn Encoder>, ModelError>;

    /// The network from features to features: the reverse student.
    fn decoder(&self, params: &Params) -> Result<Box<dyn Decoder>, ModelError>;

    /// The place of the encoder's last block among its [`Params`]: what gives the coarsest scale from its own size.
    fn last_block(&self) -> String;

    /// See [`crate::LoadedBackbone::has_signed_features`].
    fn has_signed_features(&self) -> bool;

    /// See [`crate::LoadedBackbone::has_students`].
    fn has_students(&self) -> bool {
        true
    }

    /// Whether it computes in f32 whatever the precision.
    fn is_f32_only(&self) -> bool {
        false
    }

    /// See [`crate::LoadedBackbone::largest_side`].
    fn largest_side(&self) -> Option<usize> {
        None
    }

    /// Whether a full checkpoint has the tensor `key` for a part that features do not need. The counters
    /// `num_batches_tracked` are told by the normalisation that they belong to.
    fn is_unused_key(&self, key: &str) -> bool;
}

/// Whether `name` is one of the tensors of a batch normalisation that take part in its result.
fn is_norm_tensor(name: &str) -> bool {
    matches!(name, "weight" | "bias" | "running_mean" | "running_var")
}

/// Whether `text` is one of `numbers` as checkpoints write it.
fn is_number_in(mut numbers: std::ops::Range<usize>, text: &str) -> bool {
    numbers.any(|number| number.to_string() == text)
}

/// From images (N, 3, H, W) to features, finest scale first.
pub(crate) trait Encoder: Send + Sync {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError>;
}

/// From features to features of the same shapes, both finest scale first.
pub(crate) trait Decoder: Send + Sync {
    /// `scales` has as many elements as the architecture has channels.
    fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError>;
}
