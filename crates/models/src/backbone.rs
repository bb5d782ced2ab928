use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::student::{ReverseStudent, Student};
use crate::{FeaturePyramid, ModelError, Params, Precision, Preprocess};

/// A frozen feature extractor, and the origin of its students.
///
/// [`LoadedBackbone`](crate::LoadedBackbone) implements it for every
/// [`BackboneSpec`](crate::BackboneSpec).
/// A program may implement it for anything that gives features: the first four methods and
/// [`Backbone::name`] are enough for the methods that train nothing on top of the backbone. Only a
/// backbone of a registered specification is found again when a saved detector is loaded.
pub trait Backbone: Send + Sync {
    /// The name that records and saved detectors have it by.
    fn name(&self) -> &str;

    /// Features of preprocessed images.
    ///
    /// # Shapes and units
    /// `images`: `[N, 3, H, W]` f32, scaled as [`Backbone::preprocess`] says. H and W are multiples
    /// of the coarsest stride.
    ///
    /// # Errors
    /// [`ModelError`] for an image of another rank or size, or a failing device.
    fn features(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError>;

    /// Channels of each scale, finest first.
    fn channels(&self) -> &[usize];

    /// Pixels of the image per feature position at each scale, finest first.
    fn strides(&self) -> &[usize];

    /// The input scaling that the weights were trained with.
    fn preprocess(&self) -> Preprocess;

    /// True where features are signed, because no ReLU follows them, in the teacher and so in its
    /// students.
    fn has_signed_features(&self) -> bool {
        true
    }

    /// Height and width in pixels that an image may have at most; `None` for any.
    fn largest_side(&self) -> Option<usize> {
        None
    }

    /// The type of numbers that the network computes in.
    fn precision(&self) -> Precision {
        Precision::default()
    }

    /// The tensors that the features need, by their checkpoint names: the part of a saved detector
    /// from which the backbone is built again.
    ///
    /// # Errors
    /// [`ModelError::NotSaved`] for a backbone that has none to give.
    fn weights(&self) -> Result<&BTreeMap<String, Tensor>, ModelError> {
        Err(ModelError::NotSaved { backbone: self.name().to_owned() })
    }

    /// This backbone with other weights. `origin` is where `tensors` came from, for error messages.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`] for a backbone that cannot be trained.
    fn with_weights(
        &self,
        tensors: BTreeMap<String, Tensor>,
        origin: &str,
        device: &Device,
    ) -> Result<Arc<dyn Backbone>, ModelError> {
        let _ = (tensors, origin, device);
        Err(no_student(self.name()))
    }

    /// A copy whose last block is trained further while the rest stays frozen, and its parameters:
    /// those of the block to give to an optimizer, and all of them for [`Backbone::with_weights`].
    ///
    /// # Errors
    /// [`ModelError::NoStudent`]; [`ModelError::Tensor`] when the device fails.
    fn with_trainable_last_block(&self, device: &Device) -> Result<(Box<dyn Student>, Params), ModelError> {
        let _ = device;
        Err(no_student(self.name()))
    }

    /// This backbone as a network through which gradients reach the image, slower than
    /// [`Backbone::features`].
    ///
    /// # Errors
    /// [`ModelError::NoStudent`]; [`ModelError::Tensor`] when the device fails.
    fn passing_gradients(&self, device: &Device) -> Result<Box<dyn Student>, ModelError> {
        let _ = device;
        Err(no_student(self.name()))
    }

    /// A student of the same architecture, from image to features.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    fn symmetric_student(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        let _ = params;
        Err(no_student(self.name()))
    }

    /// The reverse path of this backbone, from features to features: fusion of the scales, an
    /// embedding at half the resolution of the coarsest, and a decoder that leads back to every
    /// scale.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    fn reverse_student(&self, params: &Params) -> Result<Box<dyn ReverseStudent>, ModelError> {
        let _ = params;
        Err(no_student(self.name()))
    }

    /// A small network from image to features of this backbone's shapes: the cloner.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    fn cloner(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        let _ = params;
        Err(no_student(self.name()))
    }
}

fn no_student(backbone: &str) -> ModelError {
    ModelError::NoStudent { backbone: backbone.to_owned() }
}
