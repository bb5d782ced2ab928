//! Layers of a network in training as one operator.

use candle_core::{Result, Shape, Tensor, TensorId};

use super::array::Array;
use super::conv::Kernel;
use super::launch::{self, Norm};
use super::norm::Moved;
use super::runner::Runner;
use crate::cpu::Convolution;
use crate::fused::TrainLayer;
use crate::gradients;
use crate::nonlinearity::Nonlinearity;
use crate::recorded::{Pass, record1, record2};

/// `shortcut(layers(x) + x)`, or `layers(x)` without a shortcut, of `x`, `[N, H, W, C]`, with the
/// mean and the variance of each layer. The gradients of parameters go to [`gradients`], which must
/// be open.
pub(crate) fn train_layers(
    x: &Tensor,
    layers: &[TrainLayer<'_>],
    convolutions: Vec<Convolution>,
    shortcut: Option<Nonlinearity>,
) -> Result<(Tensor, Vec<[Tensor; 2]>)> {
    let x = x.contiguous()?;
    let runner = Runner::of(&x)?;
    let (mut kept, mut statistics) = (Vec::<Kept>::with_capacity(layers.len()), Vec::new());
    let mut result = Array::of(&x)?;
    for (index, (layer, convolution)) in layers.iter().zip(convolutions).enumerate() {
        let added = shortcut.filter(|_| index + 1 == layers.len());
        let image = Array::of(&x)?;
        let added = added.map(|kind| (&image, kind));
        let (next, measured, y) = Kept::run(&runner, layer, convolution, result, added)?;
        kept.push(next);
        statistics.push(measured);
        result = y;
    }
    let Some(last) = kept.last() else { return Ok((x, statistics)) };
    let shape = last.kernel.convolution.output_shape();
    let anchor = layers.iter().flat_map(|layer| [layer.weight, layer.norm_weight, layer.norm_bias]);
    let anchor = anchor.into_iter().find(|parameter| parameter.track_op());
    let y = match anchor {
        // One of the parameters stands for all: where `x` leads to no variable, the graph must lead
        // to this one.
        Some(anchor) => {
            let chain = Chain { runner, layers: kept, shortcut };
            let result = result.result(shape)?;
            record2("train_layers", [&x, anchor], result, move |pass: &Pass<'_, 2>| {
                let dx = chain.backward(pass.args[0], pass.result, pass.grad)?;
                Ok([dx, Some(pass.args[1].zeros_like()?)])
            })?
        }
        None if x.track_op() => {
            let chain = Chain { runner, layers: kept, shortcut };
            record1("train_layers", &x, result.result(shape)?, move |pass: &Pass<'_, 1>| {
                Ok([chain.backward(pass.args[0], pass.result, pass.grad)?])
            })?
        }
        None => result.into_tensor(shape)?,
    };
    Ok((y, statistics))
}

/// The layers of the forward pass.
struct Chain {
    runner: Runner,
    layers: Vec<Kept>,
    shortcut: Option<Nonlinearity>,
}

/// A layer after its forward pass.
struct Kept {
    kernel: Kernel,
    norm: Norm,
    /// The input; that of the first layer is the operator's.
    x: Array,
    /// The convolution's result.
    z: Array,
    statistics: Array,
    /// Scale and shift.
    affine: [Array; 2],
    weight: Parameter,
    norm_weight: Parameter,
    norm_bias: Parameter,
}

/// A tensor whose gradient is wanted, if it is tracked.
struct Parameter {
    id: TensorId,
    shape: Shape,
    is_tracked: bool,
}

impl Parameter {
    fn new(tensor: &Tensor) -> Self {
        Self { id: tensor.id(), shape: tensor.shape().clone(), is_tracked: tensor.track_op() }
    }

    fn take(&self, grad: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        if self.is_tracked {
            gradients::take(self.id, grad()?.reshape(&self.shape)?)?;
        }
        Ok(())
    }
}

impl Kept {
    fn run(
        runner: &Runner,
        layer: &TrainLayer<'_>,
        convolution: Convolution,
        x: Array,
        shortcut: Option<(&Array, Nonlinearity)>,
    ) -> Result<(Self, [Tensor; 2], Array)> {
        let kernel = Kernel::new(runner, layer.weight, convolution)?;
        let (n, h, w, c) = convolution.output_shape();
        let norm = Norm { rows: n * h * w, c, epsilon: layer.epsilon, kind: layer.nonlinearity };
        let z = kernel.forward(runner, &x)?;
        let moved = Moved::of(layer.running.as_ref())?;
        let statistics =
            norm.statistics(runner, &z, moved.as_ref().map(Moved::arrays))?.into_tensor((2, c))?;
        let measured = [statistics.get(0)?, statistics.get(1)?];
        let statistics = Array::of(&statistics)?;
        let affine = [Array::parameter(layer.norm_weight)?, Array::parameter(layer.norm_bias)?];
        let y = norm.apply(runner, &z, [&statistics, &affine[0], &affine[1]], shortcut)?;
        let parameters = [layer.weight, layer.norm_weight, layer.norm_bias].map(Parameter::new);
        let [weight, norm_weight, norm_bias] = parameters;
        let kept = Self { kernel, norm, x, z, statistics, affine, weight, norm_weight, norm_bias };
        Ok((kept, measured, y))
    }

    /// The gradient of the convolution's result from that of the layer's. Takes those of the
    /// parameters.
    fn backward(&self, runner: &Runner, grad: &Array) -> Result<Array> {
        let [scale, shift] = &self.affine;
        let layer = [&self.statistics, scale, shift];
        let (dz, sums) = self.norm.gradients(runner, [&self.z, grad], layer)?;
        // Of the shift and then of the scale.
        let sums = sums.into_tensor((2, self.norm.c))?;
        self.norm_bias.take(|| sums.get(0))?;
        self.norm_weight.take(|| sums.get(1))?;
        self.weight.take(|| {
            let grad = self.kernel.weight_gradient(runner, &self.x, &dz)?;
            grad.into_tensor(&self.weight.shape)
        })?;
        Ok(dz)
    }
}

impl Chain {
    /// The gradient of `x`, if that is tracked. Takes those of the parameters.
    fn backward(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let length = result.elem_count();
        let grad = Array::of(grad)?;
        let mut grad = match self.shortcut {
            None | Some(Nonlinearity::Identity) => grad,
            Some(kind) => {
                launch::sum_masked(&self.runner, (&grad, None), (&Array::of(result)?, kind), length)?
            }
        };
        // The gradient that reaches the input around the layers.
        let mut around = None;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let dz = layer.backward(&self.runner, &grad)?;
            if self.shortcut.is_some() && index + 1 == self.layers.len() {
                around = Some(grad);
            }
            if index == 0 && !x.track_op() {
                return Ok(None);
            }
            let added = around.as_ref().filter(|_| index == 0);
            grad = layer.kernel.input_gradient(&self.runner, &dz, added)?;
        }
        grad.into_tensor(x.shape()).map(Some)
    }
}
