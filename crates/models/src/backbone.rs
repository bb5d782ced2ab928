use candle_core::Tensor;

use crate::{FeaturePyramid, ModelError, Preprocess};

/// A frozen feature extractor.
pub trait Backbone: Send + Sync {
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
}

/// Checks that `images` is `[N, 3, H, W]` with N at least 1 and H and W multiples of `stride`.
pub(crate) fn check_images(images: &Tensor, stride: usize) -> Result<(), ModelError> {
    match *images.dims() {
        [n, 3, h, w] if n > 0 && h > 0 && w > 0 && h % stride == 0 && w % stride == 0 => Ok(()),
        _ => Err(ModelError::InputShape { stride, actual: images.dims().to_vec() }),
    }
}
