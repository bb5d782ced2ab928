//! Backbones, students, one-class embedding, decoders and feature mapping, and the loading of their
//! weights.
//!
//! Every network is built from [`Params`], which decide whether it is trained or frozen. Each of
//! the registered [`BACKBONES`] is a [`BackboneSpec`], from whose one encoder come the frozen
//! teacher ([`load_backbone`]) and the symmetric student ([`LoadedBackbone::symmetric_student`]);
//! the reverse student ([`LoadedBackbone::reverse_student`]) follows from channels and strides, or
//! is the backbone's own.
//!
//! This crate knows nothing of data sets, losses, methods or training loops. Networks are built on
//! [`fmam_ops`], never on candle's own convolutions.
//!
//! Modules in reading order: `backbone` (the trait), `backbones` (the table, one file for each
//! network), `loaded` (a backbone with its weights), `student`, `beside` (a teacher with its
//! student), `features` (what networks give and what adapts it), `layers` (the blocks), `params`,
//! `checkpoint` (files of weights).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use fmam_core::Seed;
//! use fmam_models::{Backbone, Params, load_backbone};
//!
//! # fn main() -> Result<(), fmam_models::ModelError> {
//! let teacher = load_backbone("tiny", None, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 3, 64, 32), DType::F32, &Device::Cpu)?;
//! let features = teacher.features(&images)?;
//! assert_eq!(features.scales[0].dims(), [2, teacher.channels()[0], 16, 8]);
//!
//! let params = Params::trainable(Seed::new(0).derive("student"), &Device::Cpu);
//! let student = teacher.symmetric_student(&params)?;
//! assert_eq!(student.forward(&images)?.scales[2].dims(), features.scales[2].dims());
//! # Ok(())
//! # }
//! ```

mod anomaly_head;
mod backbone;
mod backbones;
mod beside;
mod checkpoint;
mod cloner;
mod error;
mod features;
mod import_lite0;
mod init;
pub mod layers;
mod loaded;
mod params;
mod precision;
#[cfg(test)]
#[path = "../tests/suite/reference.rs"]
mod reference;
mod student;
mod unet;

pub use anomaly_head::AnomalyHead;
pub use backbone::Backbone;
pub use backbones::{BACKBONES, BackboneSpec, PublishedWeights, Students, Weights, backbone};
pub use checkpoint::{
    MAX_BYTES, check_finite, is_finite, load_tensors, read_state_dict, save_tensors, tensors_digest,
    tensors_in,
};
pub use error::ModelError;
pub use features::{
    FeatureMapping, FeatureMappingConfig, FeatureMoments, FeaturePyramid, OutputAffine, Preprocess, to_batch,
};
pub use import_lite0::import_lite0;
pub use init::Init;
pub use loaded::{LoadedBackbone, backbone_from_tensors, load_backbone, random_backbone};
pub use params::Params;
pub use precision::Precision;
pub use student::{AnyStudent, ReverseStudent, Student};
pub use unet::UNet;
