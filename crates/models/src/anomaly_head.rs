use candle_core::Tensor;
use fmam_ops::{Activation, Kernels, Nonlinearity, traced};

use crate::layers::{Conv, ConvBn, ConvShape, Norm};
use crate::{Init, ModelError, Params};

/// Batch normalisation as everywhere in heads.
const NORM: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };

/// A small fully convolutional network behind one scale of a backbone: two 3x3 convolutions with
/// batch normalisation and ReLU, and a 1x1 convolution without bias to one output a position.
#[derive(Debug)]
pub struct AnomalyHead {
    layers: [ConvBn; 2],
    output: Conv,
    kernels: Kernels,
}

impl AnomalyHead {
    /// A head for a scale of `channels`, with `width` hidden channels.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn new(channels: usize, width: usize, params: &Params) -> Result<Self, ModelError> {
        let layer = |k: usize, input| {
            let params = params.pp("layers").pp(k);
            ConvBn::below(&params, ConvShape::dense(input, width, 3, 1), NORM)
        };
        let init = Init::kaiming_fan_out([1, width, 1, 1], 1);
        let output = Conv::new(&params.pp("output"), ConvShape::dense(width, 1, 1, 1), init)?;
        Ok(Self { layers: [layer(0, channels)?, layer(1, width)?], output, kernels: params.kernels() })
    }

    /// # Shapes and units
    /// `features`: `[N, C, H, W]` of the scale. Gives `[N, H, W]`, of either sign.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another number of channels.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor, ModelError> {
        let mut x = Activation::from_nchw_with(features, self.kernels)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        let outputs = self.output.forward(&x)?.to_nchw()?;
        let (n, _, height, width) = outputs.dims4()?;
        Ok(traced::reshape(&outputs, &[n, height, width])?)
    }
}
