//! Layers whose weights do not change.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch::{self, Affine};
use super::runner::Runner;
use crate::cpu::Convolution;
use crate::nonlinearity::Nonlinearity;

/// Weight and bias of a frozen layer on a device.
#[derive(Debug)]
pub(crate) struct FrozenWeight {
    /// Packed, unless the convolution is depthwise.
    weight: Array,
    bias: Array,
}

impl FrozenWeight {
    /// `convolution` is the layer's on any input.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>, convolution: &Convolution) -> Result<Self> {
        let (.., channels) = convolution.output_shape();
        let bias = match bias {
            Some(bias) => Array::parameter(bias)?,
            None => Array::parameter(&Tensor::zeros(channels, weight.dtype(), weight.device())?)?,
        };
        let plain = Array::parameter(weight)?;
        let weight = match convolution {
            Convolution::Depthwise(_) => plain,
            Convolution::Dense(g) | Convolution::Transposed(g) => {
                launch::packed(&Runner::of(weight)?, &plain, g)?
            }
        };
        Ok(Self { weight, bias })
    }

    /// `function(convolution(x) + bias + added)` of `x`, `[N, H, W, C_in]`.
    pub(crate) fn run(
        &self,
        x: &Tensor,
        convolution: &Convolution,
        added: Option<&Tensor>,
        function: Nonlinearity,
    ) -> Result<Tensor> {
        let runner = Runner::of(x)?;
        let (array, layer) = (Array::of(&x.detach())?, (&self.weight, &self.bias));
        let added = added.map(|added| Array::of(&added.detach())).transpose()?;
        let y = match convolution {
            Convolution::Dense(g) => {
                launch::conv_frozen(&runner, &array, layer, added.as_ref(), function, g)?
            }
            Convolution::Depthwise(g) if added.is_none() => {
                launch::depthwise_frozen(&runner, &array, layer, function, g)?
            }
            Convolution::Depthwise(_) | Convolution::Transposed(_) => {
                let (y, c) = match convolution {
                    Convolution::Depthwise(g) | Convolution::Dense(g) => {
                        (launch::depthwise(&runner, &array, &self.weight, g)?, g.co)
                    }
                    Convolution::Transposed(g) => {
                        (launch::conv_input_gradient(&runner, &array, &self.weight, None, g)?, g.ci)
                    }
                };
                let affine = Affine { scale: None, shift: Some(&self.bias), added: added.as_ref() };
                launch::pointwise(&runner, &y, &affine, function, (convolution.output_len(), c))?
            }
        };
        y.into_tensor(convolution.output_shape())
    }
}
