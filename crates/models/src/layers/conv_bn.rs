//! A convolution with what follows it, in the two forms that [`Params`] decides between.

use candle_core::{Tensor, Var};
use fmam_ops::{
    Activation, Conv2dConfig, FrozenConv2d, LayerKind, Nonlinearity, Running, TrainLayer, add_nonlinearity,
    channel_affine, conv_transpose2d, conv2d, frozen_layers, nonlinearity, train_layers,
};

use crate::{Init, ModelError, Params};

/// Weight of a batch in the running statistics, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// Shape and geometry of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct ConvShape {
    /// Channels in and out.
    pub channels: (usize, usize),
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride, padding and groups.
    pub config: Conv2dConfig,
}

impl ConvShape {
    /// A dense convolution with `kernel / 2` zeros on each side.
    pub fn dense(input: usize, output: usize, kernel: usize, stride: usize) -> Self {
        let config = Conv2dConfig { stride, ..Conv2dConfig::same(kernel) };
        Self { channels: (input, output), kernel, config }
    }

    fn weight(&self, params: &Params, init: Option<Init>) -> Result<Tensor, ModelError> {
        let groups = self.config.groups;
        let shape = [self.channels.1, self.channels.0 / groups, self.kernel, self.kernel];
        params.get("weight", shape.to_vec(), init.unwrap_or(Init::kaiming_fan_out(shape, groups)))
    }
}

/// Convolution without bias.
#[derive(Debug)]
pub(crate) enum Conv {
    Frozen(FrozenConv2d),
    /// With gradients, those of its input at least.
    Trainable(Tensor, Conv2dConfig),
}

impl Conv {
    pub(crate) fn new(params: &Params, shape: ConvShape, init: Init) -> Result<Self, ModelError> {
        let weight = shape.weight(params, Some(init))?;
        Ok(if params.is_frozen() && !params.passes_gradients() {
            Self::Frozen(FrozenConv2d::new(&weight, None, shape.config, Nonlinearity::Identity)?)
        } else {
            Self::Trainable(weight, shape.config)
        })
    }

    /// (N, C_in, H, W) to (N, C_out, H', W').
    pub(crate) fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        Ok(match self {
            Self::Frozen(conv) => conv.forward(x)?,
            Self::Trainable(weight, config) => conv2d(x, weight, config)?,
        })
    }
}

/// Epsilon of a batch normalisation and the nonlinearity after it.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Added to the variance.
    pub epsilon: f64,
    /// Applied to the normalised values.
    pub nonlinearity: Nonlinearity,
}

/// Batch normalisation and nonlinearity.
#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Var,
    variance: Var,
    norm: Norm,
}

impl BatchNorm {
    fn new(params: &Params, channels: usize, norm: Norm) -> Result<Self, ModelError> {
        Ok(Self {
            weight: params.get("weight", channels, Init::Const(1.0))?,
            bias: params.get("bias", channels, Init::Const(0.0))?,
            mean: params.buffer("running_mean", channels, Init::Const(0.0))?,
            variance: params.buffer("running_var", channels, Init::Const(1.0))?,
            norm,
        })
    }

    /// `(scale, shift)`, each `[C]`, that normalise by the running statistics.
    fn folded(&self) -> Result<(Tensor, Tensor), ModelError> {
        let deviation = (self.variance.as_detached_tensor() + self.norm.epsilon)?.sqrt()?;
        let scale = self.weight.div(&deviation)?;
        let shift = self.bias.sub(&self.mean.as_detached_tensor().mul(&scale)?)?;
        Ok((scale, shift))
    }
}

/// Convolution, batch normalisation and nonlinearity. Frozen, the three are one convolution.
#[derive(Debug)]
pub struct ConvBn(Form);

#[derive(Debug)]
enum Form {
    Frozen(FrozenConv2d),
    /// Without a normalisation, or with a folded one, and with gradients.
    Plain(PlainConv),
    Trainable {
        weight: Tensor,
        kind: LayerKind,
        bn: BatchNorm,
    },
}

/// Convolution, bias and nonlinearity through which gradients pass.
#[derive(Debug)]
struct PlainConv {
    weight: Tensor,
    bias: Tensor,
    kind: LayerKind,
    nonlinearity: Nonlinearity,
}

impl PlainConv {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        let y = match self.kind {
            LayerKind::Conv(config) => conv2d(x, &self.weight, &config)?,
            LayerKind::Transposed { stride, padding } => conv_transpose2d(x, &self.weight, stride, padding)?,
        };
        let y = if self.bias.track_op() {
            // Channels last, as the values lie; in the bias's type, so that its gradient is summed
            // up in f32.
            let wide = y.to_nchw()?.to_dtype(self.bias.dtype())?.permute((0, 2, 3, 1))?;
            let sum = wide.broadcast_add(&self.bias.reshape((1, 1, 1, ()))?)?;
            Activation::from_nchw_with(&sum.permute((0, 3, 1, 2))?.to_dtype(y.dtype())?, y.kernels())?
        } else {
            channel_affine(&y, &self.bias.ones_like()?, &self.bias)?
        };
        Ok(nonlinearity(&y, self.nonlinearity)?)
    }
}

impl ConvBn {
    /// `conv` and `bn` are where the tensors of the two lie.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn new(conv: &Params, bn: &Params, shape: ConvShape, norm: Norm) -> Result<Self, ModelError> {
        let weight = shape.weight(conv, None)?;
        let bn = BatchNorm::new(bn, shape.channels.1, norm)?;
        if !conv.is_frozen() {
            return Ok(Self(Form::Trainable { weight, kind: LayerKind::Conv(shape.config), bn }));
        }
        let (scale, shift) = bn.folded()?;
        let weight = weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        if conv.passes_gradients() {
            let (kind, nonlinearity) = (LayerKind::Conv(shape.config), norm.nonlinearity);
            return Ok(Self(Form::Plain(PlainConv { weight, bias: shift, kind, nonlinearity })));
        }
        Ok(Self(Form::Frozen(FrozenConv2d::new(&weight, Some(&shift), shape.config, norm.nonlinearity)?)))
    }

    /// As [`ConvBn::new`], the two at `conv` and `bn` below `params`.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn below(params: &Params, shape: ConvShape, norm: Norm) -> Result<Self, ModelError> {
        Self::new(&params.pp("conv"), &params.pp("bn"), shape, norm)
    }

    /// The transposed convolution 2x2 with stride 2, which doubles height and width.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn doubling(
        conv: &Params,
        bn: &Params,
        (input, output): (usize, usize),
        norm: Norm,
    ) -> Result<Self, ModelError> {
        const STRIDE: usize = 2;
        // Windows do not overlap: each output is one sum over the input channels, each input feeds
        // 4 outputs a channel.
        let init = Init::Normal { std: (2.0 / (4 * output) as f64).sqrt() };
        let weight = conv.get("weight", (input, output, STRIDE, STRIDE), init)?;
        let bn = BatchNorm::new(bn, output, norm)?;
        let kind = LayerKind::Transposed { stride: STRIDE, padding: 0 };
        if !conv.is_frozen() {
            return Ok(Self(Form::Trainable { weight, kind, bn }));
        }
        let (scale, shift) = bn.folded()?;
        let weight = weight.broadcast_mul(&scale.reshape((1, (), 1, 1))?)?;
        if conv.passes_gradients() {
            let nonlinearity = norm.nonlinearity;
            return Ok(Self(Form::Plain(PlainConv { weight, bias: shift, kind, nonlinearity })));
        }
        let frozen = FrozenConv2d::transposed(&weight, Some(&shift), (STRIDE, 0), norm.nonlinearity)?;
        Ok(Self(Form::Frozen(frozen)))
    }

    /// A convolution with bias and without normalisation, both tensors at `conv`.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn biased(conv: &Params, shape: ConvShape, nonlinearity: Nonlinearity) -> Result<Self, ModelError> {
        let weight = shape.weight(conv, None)?;
        let bias = conv.get("bias", shape.channels.1, Init::Const(0.0))?;
        if conv.is_frozen() && !conv.passes_gradients() {
            return Ok(Self(Form::Frozen(FrozenConv2d::new(
                &weight,
                Some(&bias),
                shape.config,
                nonlinearity,
            )?)));
        }
        Ok(Self(Form::Plain(PlainConv { weight, bias, kind: LayerKind::Conv(shape.config), nonlinearity })))
    }

    /// (N, C_in, H, W) to (N, C_out, H', W').
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    pub fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        Self::run(std::slice::from_ref(self), x, None)
    }

    /// Layers one after the other; where `shortcut` is given, a residual block: `shortcut(layers(x)
    /// + x)`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    pub fn run(
        layers: &[Self],
        x: &Activation,
        shortcut: Option<Nonlinearity>,
    ) -> Result<Activation, ModelError> {
        let trainable: Option<Vec<_>> = layers.iter().map(Self::train_layer).collect();
        if let Some(trainable) = trainable {
            return Ok(train_layers(x, &trainable, shortcut)?.0);
        }
        match shortcut {
            None => Self::run_frozen(layers, x, None),
            Some(kind) => Self::run_with(layers, x, x, kind),
        }
    }

    /// A residual block with a shortcut of its own: `kind(layers(x) + shortcut)`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    pub fn run_with(
        layers: &[Self],
        x: &Activation,
        shortcut: &Activation,
        kind: Nonlinearity,
    ) -> Result<Activation, ModelError> {
        if layers.iter().any(|layer| layer.train_layer().is_some()) {
            return Ok(add_nonlinearity(&Self::run(layers, x, None)?, shortcut, kind)?);
        }
        Self::run_frozen(layers, x, Some((shortcut, kind)))
    }

    fn run_frozen(
        layers: &[Self],
        x: &Activation,
        shortcut: Option<(&Activation, Nonlinearity)>,
    ) -> Result<Activation, ModelError> {
        let plain: Option<Vec<_>> = layers.iter().map(Self::plain).collect();
        if let Some(plain) = plain {
            let y = plain.into_iter().try_fold(x.clone(), |x, layer| layer.forward(&x))?;
            return match shortcut {
                None => Ok(y),
                Some((shortcut, kind)) => Ok(add_nonlinearity(&y, shortcut, kind)?),
            };
        }
        let frozen: Option<Vec<_>> = layers.iter().map(Self::frozen).collect();
        if let Some(frozen) = frozen {
            return Ok(frozen_layers(x, &frozen, shortcut)?);
        }
        // Of several kinds, as where only the last layer is trained: one after the other.
        let y = layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x))?;
        match shortcut {
            None => Ok(y),
            Some((shortcut, kind)) => Ok(add_nonlinearity(&y, shortcut, kind)?),
        }
    }

    fn frozen(&self) -> Option<&FrozenConv2d> {
        match &self.0 {
            Form::Frozen(conv) => Some(conv),
            Form::Plain(_) | Form::Trainable { .. } => None,
        }
    }

    fn plain(&self) -> Option<&PlainConv> {
        match &self.0 {
            Form::Plain(layer) => Some(layer),
            Form::Frozen(_) | Form::Trainable { .. } => None,
        }
    }

    fn train_layer(&self) -> Option<TrainLayer<'_>> {
        match &self.0 {
            Form::Frozen(_) | Form::Plain(_) => None,
            Form::Trainable { weight, kind, bn } => Some(TrainLayer {
                weight,
                kind: *kind,
                norm_weight: &bn.weight,
                norm_bias: &bn.bias,
                epsilon: bn.norm.epsilon,
                nonlinearity: bn.norm.nonlinearity,
                running: Some(Running { mean: &bn.mean, variance: &bn.variance, momentum: MOMENTUM }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use candle_core::{Device, Result};
    use fmam_core::Seed;

    const NORM: Norm = Norm { epsilon: 1e-3, nonlinearity: Nonlinearity::Relu };

    fn normal(seed: u64, shape: &[usize]) -> Tensor {
        let values = Init::Normal { std: 1.0 }.draw(Seed::new(seed), shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
    }

    /// Weights of a convolution from 3 to 2 channels (`shape` says which axis is which), and of its
    /// normalisation.
    fn tensors(shape: &[usize]) -> BTreeMap<String, Tensor> {
        let positive = |seed| (normal(seed, &[2]).abs()? + 0.5) as Result<Tensor>;
        [
            ("conv.weight", normal(1, shape)),
            ("bn.weight", positive(2).unwrap()),
            ("bn.bias", normal(3, &[2])),
            ("bn.running_mean", normal(4, &[2])),
            ("bn.running_var", positive(5).unwrap()),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
    }

    /// `relu((y - mean) / sqrt(variance + epsilon) * weight + bias)` for y of `[N, 2, H, W]`.
    fn normalised(y: &Tensor, tensors: &BTreeMap<String, Tensor>) -> Result<Tensor> {
        let [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|name| tensors[&format!("bn.{name}")].reshape((1, 2, 1, 1)).unwrap());
        let y = y.broadcast_sub(&mean)?.broadcast_div(&(variance + NORM.epsilon)?.sqrt()?)?;
        y.broadcast_mul(&weight)?.broadcast_add(&bias)?.relu()
    }

    #[test]
    fn a_frozen_convolution_normalises_by_the_running_statistics() {
        let tensors = tensors(&[2, 3, 3, 3]);
        let params = Params::frozen(tensors.clone(), "test", &Device::Cpu);
        let shape = ConvShape::dense(3, 2, 3, 2);
        let layer = ConvBn::new(&params.pp("conv"), &params.pp("bn"), shape, NORM).unwrap();
        let x = Activation::from_nchw(&normal(9, &[2, 3, 6, 5])).unwrap();
        let y = conv2d(&x, &tensors["conv.weight"], &shape.config).unwrap();
        let expected = normalised(&y.to_nchw().unwrap(), &tensors).unwrap();
        let actual = layer.forward(&x).unwrap().to_nchw().unwrap();
        fmam_testkit::assert_close(&values(&actual), &values(&expected), 1e-5, 1e-5);
    }

    #[test]
    fn a_frozen_transposed_convolution_does_too() {
        let tensors = tensors(&[3, 2, 2, 2]);
        let params = Params::frozen(tensors.clone(), "test", &Device::Cpu);
        let layer = ConvBn::doubling(&params.pp("conv"), &params.pp("bn"), (3, 2), NORM).unwrap();
        let x = Activation::from_nchw(&normal(9, &[2, 3, 3, 2])).unwrap();
        let y = conv_transpose2d(&x, &tensors["conv.weight"], 2, 0).unwrap();
        let expected = normalised(&y.to_nchw().unwrap(), &tensors).unwrap();
        let actual = layer.forward(&x).unwrap().to_nchw().unwrap();
        assert_eq!(actual.dims(), [2, 2, 6, 4]);
        fmam_testkit::assert_close(&values(&actual), &values(&expected), 1e-5, 1e-5);
    }

    #[test]
    fn training_moves_the_running_statistics_a_tenth_of_the_way() {
        let params = Params::trainable(Seed::new(7), &Device::Cpu);
        let shape = ConvShape::dense(3, 2, 1, 1);
        let layer = ConvBn::new(&params.pp("conv"), &params.pp("bn"), shape, NORM).unwrap();
        let x = Activation::from_nchw(&normal(9, &[1, 3, 2, 2])).unwrap();
        layer.forward(&x).unwrap();
        let tensors = params.tensors().unwrap();
        let y = conv2d(&x, &tensors["conv.weight"], &shape.config).unwrap().to_nchw().unwrap();
        for (channel, y) in values(&y.contiguous().unwrap()).chunks_exact(4).enumerate() {
            let mean = y.iter().sum::<f32>() / 4.0;
            let unbiased = y.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 3.0;
            let actual = ["bn.running_mean", "bn.running_var"].map(|name| values(&tensors[name])[channel]);
            fmam_testkit::assert_close(&actual, &[0.1 * mean, 0.9 + 0.1 * unbiased], 1e-5, 1e-6);
        }
    }
}
