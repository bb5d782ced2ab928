use candle_core::{DType, Tensor};
use fmam_ops::{Activation, traced};

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
    /// [`ModelError::EmptyBatch`] without a part, [`ModelError::PyramidShape`] for parts with other
    /// numbers of scales, [`ModelError::Tensor`] for scales of other shapes.
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
        Self { scales: self.scales.iter().map(traced::detach).collect() }
    }

    pub(crate) fn shapes(&self) -> Vec<Vec<usize>> {
        self.scales.iter().map(|scale| scale.dims().to_vec()).collect()
    }
}
