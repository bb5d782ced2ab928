use candle_core::{DType, Tensor};
use fmam_ops::Activation;

use crate::ModelError;

/// Multi-scale features of a batch, finest scale first: each `[N, C_k, H_k, W_k]`, f32.
#[derive(Debug, Clone)]
pub struct FeaturePyramid {
    /// The scales, finest first.
    pub scales: Vec<Tensor>,
}

impl FeaturePyramid {
    /// In f32, whatever the network computes in.
    pub(crate) fn from_activations(scales: &[Activation]) -> Result<Self, ModelError> {
        let scales = scales.iter().map(|scale| scale.to_nchw()?.to_dtype(DType::F32));
        Ok(Self { scales: scales.collect::<Result<_, _>>()? })
    }

    /// The images of all `parts`, which have the same scales, one after the other.
    ///
    /// # Errors
    /// [`ModelError::EmptyBatch`] without a part, [`ModelError::PyramidShape`] for parts with other numbers of scales,
    /// [`ModelError::Tensor`] for scales of other shapes.
    pub fn concat(parts: &[&Self]) -> Result<Self, ModelError> {
        let first = parts.first().ok_or(ModelError::EmptyBatch)?;
        if let Some(other) = parts.iter().find(|part| part.scales.len() != first.scales.len()) {
            let expected = format!("{} scales", first.scales.len());
            return Err(ModelError::PyramidShape { expected, actual: other.shapes() });
        }
        // Channels last, as the operators leave them, so that each part is copied once, as it lies.
        let scale = |k: usize| -> Result<Tensor, ModelError> {
            let parts = parts.iter().map(|part| part.scales[k].permute((0, 2, 3, 1)));
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)?.permute((0, 3, 1, 2))?)
        };
        Ok(Self { scales: (0..first.scales.len()).map(scale).collect::<Result<_, _>>()? })
    }

    /// A copy of image `n` of the batch, without gradient.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when there is no such image.
    pub fn image(&self, n: usize) -> Result<Self, ModelError> {
        // In the order in memory that the operators leave.
        let scales = self.scales.iter().map(|scale| {
            let image = scale.detach().permute((0, 2, 3, 1))?.narrow(0, n, 1)?;
            Ok(image.force_contiguous()?.permute((0, 3, 1, 2))?)
        });
        Ok(Self { scales: scales.collect::<Result<_, ModelError>>()? })
    }

    /// The same values without gradient.
    pub fn detach(&self) -> Self {
        Self { scales: self.scales.iter().map(Tensor::detach).collect() }
    }

    pub(crate) fn shapes(&self) -> Vec<Vec<usize>> {
        self.scales.iter().map(|scale| scale.dims().to_vec()).collect()
    }
}

/// How pixel values are scaled before a backbone sees them: `(value / 255 - mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess {
    /// Mean of R, G, B on the 0..=1 scale.
    pub mean: [f32; 3],
    /// Standard deviation of R, G, B on the 0..=1 scale.
    pub std: [f32; 3],
}

/// A frozen feature extractor.
pub trait Backbone: Send + Sync {
    /// Features of preprocessed images.
    ///
    /// # Shapes and units
    /// `images`: `[N, 3, H, W]` f32, scaled as [`Backbone::preprocess`] says. H and W are multiples of the coarsest
    /// stride.
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
}

/// Checks that `images` is `[N, 3, H, W]` with N at least 1 and H and W multiples of `stride`.
pub(crate) fn check_images(images: &Tensor, stride: usize) -> Result<(), ModelError> {
    match *images.dims() {
        [n, 3, h, w] if n > 0 && h > 0 && w > 0 && h % stride == 0 && w % stride == 0 => Ok(()),
        _ => Err(ModelError::InputShape { stride, actual: images.dims().to_vec() }),
    }
}
