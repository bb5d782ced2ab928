use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use fmam_core::Seed;
use fmam_ops::Kernels;

use crate::backbone::check_images;
use crate::backbones::named;
use crate::checkpoint::{read_with_digest, sha256, tensor_file};
use crate::cloner::Cloner;
use crate::layers::Encoder;
use crate::student::{DecodingStudent, ReverseStudent, Student, SymmetricStudent};
use crate::{Backbone, BackboneSpec, FeaturePyramid, ModelError, Params, Precision, Preprocess, Weights};

/// A registered backbone with its weights: the frozen teacher, and the origin of its students.
pub struct LoadedBackbone {
    spec: &'static BackboneSpec,
    encoder: Box<dyn Encoder>,
    tensors: BTreeMap<String, Tensor>,
    precision: Precision,
    kernels: Kernels,
    weights_digest: Option<String>,
}

/// Builds the backbone `name` with the weights in the file `weights`, or those that come with it.
/// The file may be any that [`read_state_dict`](crate::read_state_dict) takes; keys of parts that
/// features do not need are accepted, unknown ones are not.
///
/// # Errors
/// [`ModelError::UnknownBackbone`], [`ModelError::WeightsNeeded`] when none were given and none
/// come with it, and what [`read_state_dict`](crate::read_state_dict) and [`backbone_from_tensors`]
/// give.
pub fn load_backbone(
    name: &str,
    weights: Option<&Path>,
    device: &Device,
) -> Result<LoadedBackbone, ModelError> {
    let spec = named(name)?;
    let (tensors, origin, digest) = match (weights, spec.weights) {
        (Some(path), _) => {
            let (tensors, digest) = read_with_digest(path)?;
            (tensors, path.display().to_string(), Some(digest))
        }
        (None, Weights::Embedded(bytes)) => {
            (tensor_file::from_bytes(bytes)?, format!("weights of `{name}`"), Some(sha256(bytes)))
        }
        (None, Weights::Seeded(seed)) => (drawn(spec, seed)?, format!("weights of `{name}`"), None),
        (None, Weights::File(published)) => {
            return Err(ModelError::WeightsNeeded { name: spec.name, is_published: published.is_some() });
        }
    };
    let backbone = LoadedBackbone::new(spec, tensors, &origin, device)?;
    Ok(LoadedBackbone { weights_digest: digest, ..backbone })
}

/// Builds the backbone `name` with weights drawn from `seed`: it has the shapes and the speed of a
/// trained one, and features without meaning.
///
/// # Errors
/// [`ModelError::UnknownBackbone`].
pub fn random_backbone(name: &str, seed: Seed, device: &Device) -> Result<LoadedBackbone, ModelError> {
    let spec = named(name)?;
    LoadedBackbone::new(spec, drawn(spec, seed)?, "random weights", device)
}

fn drawn(spec: &BackboneSpec, seed: Seed) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let params = Params::trainable(seed, &Device::Cpu);
    (spec.encoder)(&params)?;
    params.tensors()
}

/// Builds the backbone `name` from tensors, those of [`LoadedBackbone::tensors`] or a whole state
/// dict. `origin` is where they came from, for error messages.
///
/// # Errors
/// [`ModelError::UnknownBackbone`]; [`ModelError::MissingKey`], [`ModelError::MisshapenKey`] or
/// [`ModelError::SurplusKeys`] when the tensors are not this architecture's.
pub fn backbone_from_tensors(
    name: &str,
    tensors: BTreeMap<String, Tensor>,
    origin: &str,
    device: &Device,
) -> Result<LoadedBackbone, ModelError> {
    LoadedBackbone::new(named(name)?, tensors, origin, device)
}

impl LoadedBackbone {
    fn new(
        spec: &'static BackboneSpec,
        tensors: BTreeMap<String, Tensor>,
        origin: &str,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let params = Params::frozen(tensors, origin, device);
        let encoder = (spec.encoder)(&params)?;
        let tensors = params.tensors()?;
        params.finish(|key| match key.strip_suffix("num_batches_tracked") {
            // PyTorch's count of the batches in a normalisation's running statistics, of no effect
            // here.
            Some(norm) => {
                let statistic = format!("{norm}running_mean");
                tensors.contains_key(&statistic) || spec.is_unused_key(&statistic)
            }
            None => spec.is_unused_key(key),
        })?;
        let (precision, kernels) = (Precision::default(), params.kernels());
        Ok(Self { spec, encoder, tensors, precision, kernels, weights_digest: None })
    }

    /// This backbone computing in `precision`, as do its students; one that supports only f32
    /// ignores it. A loaded backbone computes in f32.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let precision = if self.spec.bf16_error.is_none() { Precision::F32 } else { precision };
        Self { precision, ..self }
    }

    /// This backbone on `kernels` instead of the default of the process. A student runs the kernels
    /// of its [`Params`].
    #[must_use]
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The type of numbers that the network computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The facts of this backbone.
    pub fn spec(&self) -> &'static BackboneSpec {
        self.spec
    }

    /// The name in [`crate::BACKBONES`].
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// SHA-256 of the file that [`load_backbone`] read the weights from, or of the embedded file,
    /// in 64 lower-case hexadecimal digits; `None` for weights that were drawn or given as tensors.
    pub fn weights_digest(&self) -> Option<&str> {
        self.weights_digest.as_deref()
    }

    /// The tensors that the features need, by their checkpoint names: what a detector saves to be
    /// rebuilt with [`backbone_from_tensors`].
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// True where features are signed, because no ReLU follows them, in the teacher and so in its
    /// students.
    pub fn has_signed_features(&self) -> bool {
        self.spec.has_signed_features
    }

    /// See [`BackboneSpec::has_students`].
    pub fn has_students(&self) -> bool {
        self.spec.has_students()
    }

    /// Height and width in pixels that an image may have at most; `None` for any.
    pub fn largest_side(&self) -> Option<usize> {
        self.spec.largest_side
    }

    fn check_students(&self) -> Result<(), ModelError> {
        if self.has_students() { Ok(()) } else { Err(ModelError::NoStudent { backbone: self.name() }) }
    }

    /// A copy whose last block is trained further while the rest stays frozen, and its parameters:
    /// those of the block to give to an optimizer, and all to build a frozen one from, with
    /// [`backbone_from_tensors`].
    ///
    /// # Errors
    /// [`ModelError::NoStudent`]; [`ModelError::Tensor`] when the device fails.
    pub fn with_trainable_last_block(
        &self,
        device: &Device,
    ) -> Result<(Box<dyn Student>, Params), ModelError> {
        self.check_students()?;
        let origin = format!("backbone `{}`", self.name());
        let last_block = self.spec.last_block;
        let params = Params::partly_trainable(self.tensors.clone(), &origin, last_block, device)
            .with_kernels(self.kernels);
        let encoder = (self.spec.encoder)(&params)?;
        Ok((self.student(encoder, &params), params))
    }

    /// This backbone as a network through which gradients reach the image, slower than
    /// [`Backbone::features`].
    ///
    /// # Errors
    /// [`ModelError::NoStudent`]; [`ModelError::Tensor`] when the device fails.
    pub fn passing_gradients(&self, device: &Device) -> Result<Box<dyn Student>, ModelError> {
        let origin = format!("backbone `{}`", self.name());
        let params = Params::frozen(self.tensors.clone(), &origin, device).passing_gradients();
        self.symmetric_student(&params.with_kernels(self.kernels))
    }

    /// A student of the same architecture, from image to features.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    pub fn symmetric_student(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        self.check_students()?;
        Ok(self.student((self.spec.encoder)(params)?, params))
    }

    /// The reverse path of this backbone, from features to features: fusion of the scales, an
    /// embedding at half the resolution of the coarsest, and a decoder that leads back to every
    /// scale.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    pub fn reverse_student(&self, params: &Params) -> Result<Box<dyn ReverseStudent>, ModelError> {
        Ok(Box::new(DecodingStudent {
            path: self.spec.reverse_path(params)?,
            channels: self.spec.channels,
            strides: self.spec.strides,
            precision: self.precision,
            kernels: params.kernels(),
        }))
    }

    /// A small network from image to features of this backbone's shapes: the cloner.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    pub fn cloner(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        self.check_students()?;
        Ok(Box::new(Cloner::new(self.channels(), self.strides(), self.precision, params)?))
    }

    fn student(&self, encoder: Box<dyn Encoder>, params: &Params) -> Box<dyn Student> {
        let (stride, precision, kernels) = (self.coarsest_stride(), self.precision, params.kernels());
        Box::new(SymmetricStudent { encoder, stride, precision, kernels })
    }

    fn coarsest_stride(&self) -> usize {
        self.strides().iter().copied().max().unwrap_or(1)
    }
}

impl Backbone for LoadedBackbone {
    fn features(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError> {
        check_images(images, self.coarsest_stride())?;
        let images = self.precision.activation(images, self.kernels)?;
        FeaturePyramid::from_activations(&self.encoder.forward(&images)?)
    }

    fn channels(&self) -> &[usize] {
        self.spec.channels
    }

    fn strides(&self) -> &[usize] {
        self.spec.strides
    }

    fn preprocess(&self) -> Preprocess {
        self.spec.preprocess
    }
}

impl std::fmt::Debug for LoadedBackbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedBackbone").field("name", &self.name()).finish_non_exhaustive()
    }
}
