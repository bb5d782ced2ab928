//! The registered backbones. To add one: one file here, its `mod` line, and its line in
//! [`BACKBONES`].

#[cfg(feature = "dinov2")]
mod dinov2;
#[cfg(feature = "dinov2")]
mod dinov2_traced;
mod key_pattern;
mod lite0;
mod mobilenet;
mod resnet;
mod spec;
mod tiny;
mod vgg;

pub use spec::{BackboneSpec, PublishedWeights, Students, Weights};

use crate::ModelError;

/// Every backbone, by name. DINOv2 is there with the feature `dinov2`, which is on by default.
pub static BACKBONES: &[&BackboneSpec] = &[
    &lite0::LITE0,
    &mobilenet::MOBILENET_V2,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &resnet::RESNET50,
    &resnet::WIDE_RESNET50_2,
    &vgg::VGG16,
    #[cfg(feature = "dinov2")]
    &dinov2::SMALL,
    &tiny::TINY,
];

/// The specification of the built-in backbone called `name`.
///
/// # Errors
/// [`ModelError::UnknownBackbone`].
pub fn backbone(name: &str) -> Result<&'static BackboneSpec, ModelError> {
    BACKBONES.iter().copied().find(|spec| spec.name == name).ok_or_else(|| ModelError::UnknownBackbone {
        name: name.to_owned(),
        known: BACKBONES.iter().map(|spec| spec.name).collect(),
    })
}
