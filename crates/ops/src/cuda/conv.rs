//! Convolutions as operators of candle, with their gradients.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch::{self, Affine};
use super::runner::Runner;
use crate::cpu::{Convolution, by_groups};
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;
use crate::recorded::{Pass, record2};

/// 2-D convolution of `x`, `[N, H, W, C_in]`, to `[N, H', W', C_out]`.
pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, g: &Geometry, groups: usize) -> Result<Tensor> {
    by_groups(x, weight, g, groups, run)
}

/// Transposed 2-D convolution of `x`, `[N, H', W', C_out]` of the geometry, to `[N, H, W, C_in]`.
pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    run(x, weight, Convolution::Transposed(*g))
}

fn run(x: &Tensor, weight: &Tensor, convolution: Convolution) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let runner = Runner::of(&x)?;
    let kernel = Kernel::new(&runner, &weight, convolution)?;
    let y = kernel.forward(&runner, &Array::of(&x)?)?;
    let y = y.result(convolution.output_shape())?;
    record2("conv2d", [&x, &weight], y, move |pass: &Pass<'_, 2>| {
        let (x, grad) = (Array::of(pass.args[0])?, Array::of(pass.grad)?);
        Ok([
            pass.gradient(0, || {
                kernel.input_gradient(&runner, &grad, None)?.into_tensor(pass.args[0].shape())
            })?,
            pass.gradient(1, || {
                kernel.weight_gradient(&runner, &x, &grad)?.into_tensor(pass.args[1].shape())
            })?,
        ])
    })
}

/// A convolution with its weight in the form that its kernels read.
pub(super) struct Kernel {
    pub(super) convolution: Convolution,
    weight: Array,
}

impl Kernel {
    pub(super) fn new(runner: &Runner, weight: &Tensor, convolution: Convolution) -> Result<Self> {
        let plain = Array::parameter(weight)?;
        let weight = match &convolution {
            Convolution::Depthwise(_) => plain,
            Convolution::Dense(g) | Convolution::Transposed(g) => launch::packed(runner, &plain, g)?,
        };
        Ok(Self { convolution, weight })
    }

    pub(super) fn forward(&self, runner: &Runner, x: &Array) -> Result<Array> {
        match &self.convolution {
            Convolution::Dense(g) => launch::conv(runner, x, &self.weight, g),
            Convolution::Depthwise(g) => launch::depthwise(runner, x, &self.weight, g),
            Convolution::Transposed(g) => launch::conv_input_gradient(runner, x, &self.weight, None, g),
        }
    }

    /// The gradient of the input, plus `added`.
    pub(super) fn input_gradient(
        &self,
        runner: &Runner,
        grad: &Array,
        added: Option<&Array>,
    ) -> Result<Array> {
        let dx = match &self.convolution {
            Convolution::Dense(g) => {
                return launch::conv_input_gradient(runner, grad, &self.weight, added, g);
            }
            Convolution::Depthwise(g) => launch::depthwise_input_gradient(runner, grad, &self.weight, g)?,
            Convolution::Transposed(g) => launch::conv(runner, grad, &self.weight, g)?,
        };
        if added.is_none() {
            return Ok(dx);
        }
        let (sum, length) = (Affine { scale: None, shift: None, added }, self.convolution.input_len());
        launch::pointwise(runner, &dx, &sum, Nonlinearity::Identity, (length, 1))
    }

    pub(super) fn weight_gradient(&self, runner: &Runner, x: &Array, grad: &Array) -> Result<Array> {
        match &self.convolution {
            Convolution::Dense(g) => launch::conv_weight_gradient(runner, x, grad, g),
            Convolution::Depthwise(g) => launch::depthwise_weight_gradient(runner, x, grad, g),
            Convolution::Transposed(g) => launch::conv_weight_gradient(runner, grad, x, g),
        }
    }
}
