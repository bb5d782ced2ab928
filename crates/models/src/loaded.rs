use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_core::Seed;
use fmam_files::Digest;
use fmam_ops::Kernels;

use crate::backbones::backbone;
use crate::checkpoint::{check_finite, read_with_digest, tensor_file};
use crate::cloner::Cloner;
use crate::features::check_images;
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

/// The built-in backbone `name` with the weights in the file `weights`, or those that come with it.
/// As [`BackboneSpec::load`].
///
/// # Errors
/// [`ModelError::UnknownBackbone`], and as [`BackboneSpec::load`].
pub fn load_backbone(
    name: &str,
    weights: Option<&Path>,
    device: &Device,
) -> Result<LoadedBackbone, ModelError> {
    backbone(name)?.load(weights, device)
}

/// The built-in backbone `name` with weights drawn from `seed`. As [`BackboneSpec::random`].
///
/// # Errors
/// [`ModelError::UnknownBackbone`].
pub fn random_backbone(name: &str, seed: Seed, device: &Device) -> Result<LoadedBackbone, ModelError> {
    backbone(name)?.random(seed, device)
}

/// The built-in backbone `name` from tensors. As [`BackboneSpec::with_tensors`].
///
/// # Errors
/// [`ModelError::UnknownBackbone`], and as [`BackboneSpec::with_tensors`].
pub fn backbone_from_tensors(
    name: &str,
    tensors: BTreeMap<String, Tensor>,
    origin: &str,
    device: &Device,
) -> Result<LoadedBackbone, ModelError> {
    backbone(name)?.with_tensors(tensors, origin, device)
}

impl BackboneSpec {
    /// This backbone with the weights in the file `weights`, or those that come with it. The file
    /// may be any that [`read_state_dict`](crate::read_state_dict) takes; keys of parts that
    /// features do not need are accepted, unknown ones are not.
    ///
    /// # Errors
    /// [`ModelError::WeightsNeeded`] when none were given and none come with it, and those of
    /// [`read_state_dict`](crate::read_state_dict) and [`BackboneSpec::with_tensors`].
    pub fn load(
        &'static self,
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<LoadedBackbone, ModelError> {
        let origin = || format!("weights of `{}`", self.name);
        let (tensors, origin, digest) = match (weights, self.weights) {
            (Some(path), _) => {
                let (tensors, digest) = read_with_digest(path)?;
                (tensors, path.display().to_string(), Some(digest))
            }
            (None, Weights::Embedded(bytes)) => {
                (tensor_file::from_bytes(bytes)?, origin(), Some(Digest::of(bytes).to_string()))
            }
            (None, Weights::Seeded(seed)) => (self.drawn(seed)?, origin(), None),
            (None, Weights::File(published)) => {
                return Err(ModelError::WeightsNeeded { name: self.name, is_published: published.is_some() });
            }
        };
        let backbone = LoadedBackbone::new(self, tensors, &origin, device)?;
        Ok(LoadedBackbone { weights_digest: digest, ..backbone })
    }

    /// This backbone with weights drawn from `seed`: it has the shapes and the speed of a trained
    /// one, and features without meaning.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn random(&'static self, seed: Seed, device: &Device) -> Result<LoadedBackbone, ModelError> {
        LoadedBackbone::new(self, self.drawn(seed)?, "random weights", device)
    }

    /// This backbone from tensors: those of [`LoadedBackbone::tensors`], or a whole state dict.
    /// `origin` is where they came from, for error messages.
    ///
    /// # Errors
    /// [`ModelError::MissingKey`], [`ModelError::MisshapenKey`] or [`ModelError::SurplusKeys`] for
    /// tensors of another architecture; [`ModelError::NotFinite`] for damaged ones.
    pub fn with_tensors(
        &'static self,
        tensors: BTreeMap<String, Tensor>,
        origin: &str,
        device: &Device,
    ) -> Result<LoadedBackbone, ModelError> {
        LoadedBackbone::new(self, tensors, origin, device)
    }

    fn drawn(&self, seed: Seed) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let params = Params::trainable(seed, &Device::Cpu);
        (self.encoder)(&params)?;
        params.tensors()
    }
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
        check_finite(&tensors, origin)?;
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

    /// The facts of this backbone.
    pub fn spec(&self) -> &'static BackboneSpec {
        self.spec
    }

    /// See [`BackboneSpec::has_students`].
    pub fn has_students(&self) -> bool {
        self.spec.has_students()
    }

    /// The tensors that the features need, by their checkpoint names.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// SHA-256 of the file that [`BackboneSpec::load`] read the weights from, or of the embedded
    /// file, in 64 lower-case hexadecimal digits; `None` for weights that were drawn or given as
    /// tensors.
    pub fn weights_digest(&self) -> Option<&str> {
        self.weights_digest.as_deref()
    }

    fn check_students(&self) -> Result<(), ModelError> {
        if self.has_students() {
            Ok(())
        } else {
            Err(ModelError::NoStudent { backbone: self.spec.name.to_owned() })
        }
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
    fn name(&self) -> &str {
        self.spec.name
    }

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

    fn has_signed_features(&self) -> bool {
        self.spec.has_signed_features
    }

    fn largest_side(&self) -> Option<usize> {
        self.spec.largest_side
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn weights(&self) -> Result<&BTreeMap<String, Tensor>, ModelError> {
        Ok(&self.tensors)
    }

    fn with_weights(
        &self,
        tensors: BTreeMap<String, Tensor>,
        origin: &str,
        device: &Device,
    ) -> Result<Arc<dyn Backbone>, ModelError> {
        let backbone = self.spec.with_tensors(tensors, origin, device)?;
        Ok(Arc::new(backbone.with_precision(self.precision)))
    }

    fn with_trainable_last_block(&self, device: &Device) -> Result<(Box<dyn Student>, Params), ModelError> {
        self.check_students()?;
        let origin = format!("backbone `{}`", self.spec.name);
        let last_block = self.spec.last_block;
        let params = Params::partly_trainable(self.tensors.clone(), &origin, last_block, device)
            .with_kernels(self.kernels);
        let encoder = (self.spec.encoder)(&params)?;
        Ok((self.student(encoder, &params), params))
    }

    fn passing_gradients(&self, device: &Device) -> Result<Box<dyn Student>, ModelError> {
        let origin = format!("backbone `{}`", self.spec.name);
        let params = Params::frozen(self.tensors.clone(), &origin, device).passing_gradients();
        self.symmetric_student(&params.with_kernels(self.kernels))
    }

    fn symmetric_student(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        self.check_students()?;
        Ok(self.student((self.spec.encoder)(params)?, params))
    }

    fn reverse_student(&self, params: &Params) -> Result<Box<dyn ReverseStudent>, ModelError> {
        Ok(Box::new(DecodingStudent {
            path: self.spec.reverse_path(params)?,
            channels: self.spec.channels,
            strides: self.spec.strides,
            precision: self.precision,
            kernels: params.kernels(),
        }))
    }

    fn cloner(&self, params: &Params) -> Result<Box<dyn Student>, ModelError> {
        self.check_students()?;
        Ok(Box::new(Cloner::new(self.channels(), self.strides(), self.precision, params)?))
    }
}

impl std::fmt::Debug for LoadedBackbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedBackbone").field("name", &self.name()).finish_non_exhaustive()
    }
}
