//! Layers of a network in training as one operator.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};

use crate::activation::Activation;
use crate::conv::LayerKind;
use crate::cpu::Convolution;
use crate::cpu::buffer::Buffer;
use crate::cpu::host::{Host, elements, output};
use crate::cpu::normalizer::Normalizer;
use crate::cpu::pointwise::{accumulate, masked_gradient};
use crate::cpu::target::{Target, computed};
use crate::error::OpsError;
use crate::kernels::Path;
use crate::nonlinearity::Nonlinearity;
use crate::norm::{self, BatchStatistics, Running, batch_norm_train};
use crate::pointwise::add_nonlinearity;
use crate::{cuda, gradients};

/// A convolution in training with the batch normalisation and the nonlinearity after it.
#[derive(Debug, Clone, Copy)]
pub struct TrainLayer<'a> {
    /// `[C_out, C_in / groups, k_h, k_w]`, or `[C_in, C_out, k_h, k_w]` of a transposed
    /// convolution.
    pub weight: &'a Tensor,
    /// Geometry of the convolution.
    pub kind: LayerKind,
    /// Scale of the normalisation per channel, `[C_out]`.
    pub norm_weight: &'a Tensor,
    /// Shift of the normalisation per channel, `[C_out]`.
    pub norm_bias: &'a Tensor,
    /// Added to the variance.
    pub epsilon: f64,
    /// The function after the normalisation.
    pub nonlinearity: Nonlinearity,
    /// The running statistics that the layer moves.
    pub running: Option<Running<'a>>,
}

impl TrainLayer<'_> {
    /// True if no parameter is computed from a variable, to which its gradient would have to go on.
    fn has_plain_parameters(&self) -> bool {
        let parameters = [self.weight, self.norm_weight, self.norm_bias];
        parameters.into_iter().all(|parameter| parameter.is_variable() || !parameter.track_op())
    }

    fn compose(&self, x: &Activation) -> Result<(Activation, BatchStatistics)> {
        let z = self.kind.apply(x, self.weight)?;
        let (weight, bias, running) = (self.norm_weight, self.norm_bias, self.running.as_ref());
        batch_norm_train(&z, weight, bias, self.epsilon, self.nonlinearity, running)
    }
}

/// Layers one after the other, and a shortcut around them where `shortcut` is given:
/// `shortcut(layers(x) + x)`.
///
/// It is [`conv2d`](crate::conv2d) (or [`conv_transpose2d`](crate::conv_transpose2d)),
/// [`batch_norm_train`] and [`add_nonlinearity`] as one operator: inside, no gradient is cleared,
/// added up and read again, as between candle's operators, and memory is reused from step to step.
///
/// # Shapes and units
/// `x`: (N, C, H, W). Gives the result and the statistics of each layer's convolution.
///
/// # Errors
/// As the operators; when there is no layer.
pub fn train_layers(
    x: &Activation,
    layers: &[TrainLayer<'_>],
    shortcut: Option<Nonlinearity>,
) -> Result<(Activation, Vec<BatchStatistics>)> {
    if layers.is_empty() {
        return Err(OpsError::NoLayer { op: "train_layers" }.into());
    }
    // On a GPU one operator has too few arguments for all parameters: their gradients must have
    // another way.
    let is_fused = match x.path() {
        Path::Cpu => true,
        Path::Cuda => gradients::is_open() && layers.iter().all(TrainLayer::has_plain_parameters),
        Path::Composed | Path::Traced => false,
    };
    let mut convolutions = Vec::with_capacity(layers.len());
    let mut dims = x.dims()?;
    for layer in layers {
        let (convolution, (n, c, h, w)) = layer.kind.convolution(dims, layer.weight)?;
        let Some(convolution) = convolution.filter(|_| is_fused) else {
            return compose(x, layers, shortcut);
        };
        norm::check(layer.norm_weight, layer.norm_bias, c, n * h * w)?;
        layer.running.map_or(Ok(()), |running| running.check(c))?;
        dims = (n, c, h, w);
        convolutions.push(convolution);
    }
    if shortcut.is_some() && dims != x.dims()? {
        let (lhs, rhs) = (x.dims()?.into(), dims.into());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "shortcut of train_layers" }.bt());
    }
    if x.path() == Path::Cuda {
        let counts = convolutions.iter().map(|convolution| {
            let (n, h, w, _) = convolution.output_shape();
            n * h * w
        });
        let counts: Vec<usize> = counts.collect();
        let (y, statistics) = cuda::train_layers(x.tensor(), layers, convolutions, shortcut)?;
        let statistics = statistics.into_iter().zip(counts);
        let statistics =
            statistics.map(|([mean, variance], count)| BatchStatistics { mean, variance, count });
        return Ok((x.with(y), statistics.collect()));
    }
    let input = x.tensor().contiguous()?;
    // An operator takes three tensors.
    let join = |tensors: Vec<&Tensor>| -> Result<Tensor> {
        let flat = tensors.into_iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?;
        if let [only] = &flat[..] { only.contiguous() } else { Tensor::cat(&flat, 0) }
    };
    let weights = join(layers.iter().map(|layer| layer.weight).collect())?;
    let affine = join(layers.iter().flat_map(|layer| [layer.norm_weight, layer.norm_bias]).collect())?;
    let chain = Chain::run(&input, &weights, &affine, layers, convolutions, shortcut)?;
    let statistics = chain.layers.iter().map(|layer| {
        let (n, h, w, _) = layer.convolution.output_shape();
        let [mean, variance] = layer.normalizer.statistics(x.device())?;
        Ok(BatchStatistics { mean, variance, count: n * h * w })
    });
    let statistics = statistics.collect::<Result<Vec<_>>>()?;
    for (layer, statistics) in layers.iter().zip(&statistics) {
        layer.running.map_or(Ok(()), |running| running.take(statistics))?;
    }
    Ok((x.with(input.apply_op3(&weights, &affine, chain)?), statistics))
}

fn compose(
    x: &Activation,
    layers: &[TrainLayer<'_>],
    shortcut: Option<Nonlinearity>,
) -> Result<(Activation, Vec<BatchStatistics>)> {
    let (mut y, mut statistics) = (x.clone(), Vec::with_capacity(layers.len()));
    for layer in layers {
        let (next, measured) = layer.compose(&y)?;
        y = next;
        statistics.push(measured);
    }
    Ok((if let Some(kind) = shortcut { add_nonlinearity(&y, x, kind)? } else { y }, statistics))
}

/// The layers of the forward pass, kept for the gradients.
struct Chain {
    layers: Vec<Kept>,
    shortcut: Option<Nonlinearity>,
}

struct Kept {
    convolution: Convolution,
    normalizer: Normalizer,
    /// The convolution's result.
    z: Buffer,
    /// The layer's result, which is the next layer's input; `None` for the last layer, whose result
    /// is the operator's.
    y: Option<Buffer>,
    /// The range of the weight among the weights of all layers.
    weight: Range<usize>,
    /// The start of scale and shift among those of all layers, and the number of channels.
    affine: (usize, usize),
}

impl Kept {
    fn parameters<'a>(&self, affine: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        let (start, c) = self.affine;
        affine[start..start + 2 * c].split_at(c)
    }
}

impl Chain {
    fn run(
        x: &Tensor,
        weights: &Tensor,
        affine: &Tensor,
        layers: &[TrainLayer<'_>],
        convolutions: Vec<Convolution>,
        shortcut: Option<Nonlinearity>,
    ) -> Result<Self> {
        let (x, weights, affine) = (Host::new(x)?, Host::new(weights)?, Host::new(affine)?);
        let mut kept: Vec<Kept> = Vec::with_capacity(layers.len());
        let (mut weight_start, mut affine_start) = (0, 0);
        for (layer, convolution) in layers.iter().zip(convolutions) {
            let input = kept.last().and_then(|layer| layer.y.as_deref()).unwrap_or(&x);
            let weight = weight_start..weight_start + layer.weight.elem_count();
            let mut z = Buffer::take(convolution.output_len());
            convolution.forward(input, &weights[weight.clone()], Target::from(&mut *z));
            let c = layer.norm_weight.elem_count();
            let normalizer = Normalizer::measure(&z, c, layer.epsilon, layer.nonlinearity);
            (weight_start, affine_start) = (weight.end, affine_start + 2 * c);
            let affine_range = (affine_start - 2 * c, c);
            let mut layer = Kept { convolution, normalizer, z, y: None, weight, affine: affine_range };
            if kept.len() + 1 < layers.len() {
                let mut y = Buffer::take(layer.z.len());
                layer.normalizer.normalize(&layer.z, layer.parameters(&affine), None, Target::from(&mut *y));
                layer.y = Some(y);
            }
            kept.push(layer);
        }
        Ok(Self { layers: kept, shortcut })
    }
}

impl CustomOp3 for Chain {
    fn name(&self) -> &'static str {
        "train_layers"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        _s2: &CpuStorage,
        _l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let last = &self.layers[self.layers.len() - 1];
        let (x, parameters) = (elements(s1, l1)?, last.parameters(elements(s3, l3)?));
        let shortcut = self.shortcut.map(|kind| (x, kind));
        let y = computed(last.z.len(), |y| last.normalizer.normalize(&last.z, parameters, shortcut, y));
        output(y, last.convolution.output_shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        affine: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = match self.shortcut {
            Some(kind) => masked_gradient(kind, res, grad)?,
            None => grad.contiguous()?,
        };
        let (x_host, w_host, affine_host) = (Host::new(x)?, Host::new(weights)?, Host::new(affine)?);
        let grad_host = Host::new(&grad)?;
        let mut d_weights = vec![0.0; w_host.len()];
        let mut d_affine = vec![0.0; affine_host.len()];
        // The gradient of a layer's result; `None` for the last layer, whose gradient is the
        // operator's.
        let mut inner: Option<Buffer> = None;
        let mut dx = None;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let dy: &[f32] = inner.as_deref().unwrap_or(&grad_host);
            let parameters = layer.parameters(&affine_host);
            let sums = layer.normalizer.gradient_sums(&layer.z, dy, parameters);
            let (start, c) = layer.affine;
            let both = sums.weight.iter().chain(&sums.bias);
            for (d, sum) in d_affine[start..start + 2 * c].iter_mut().zip(both) {
                *d = *sum as f32;
            }
            let mut dz = Buffer::take(layer.z.len());
            layer.normalizer.input_gradient(&layer.z, dy, parameters, &sums, Target::from(&mut *dz));
            let before = index.checked_sub(1).map(|before| &self.layers[before]);
            let input: &[f32] = before.and_then(|before| before.y.as_deref()).unwrap_or(&x_host);
            if weights.track_op() {
                let gradient = layer.convolution.weight_gradient(input, &dz);
                d_weights[layer.weight.clone()].copy_from_slice(&gradient);
            }
            let weight = &w_host[layer.weight.clone()];
            if before.is_some() {
                let mut below = Buffer::take(layer.convolution.input_len());
                layer.convolution.input_gradient(&dz, weight, Target::from(&mut *below));
                inner = Some(below);
            } else if x.track_op() {
                let len = layer.convolution.input_len();
                dx = Some(computed(len, |dx| layer.convolution.input_gradient(&dz, weight, dx)));
            }
        }
        if let (Some(dx), Some(_)) = (&mut dx, self.shortcut) {
            accumulate(dx, &grad_host);
        }
        let tensor = |of: &Tensor, values: Vec<f32>| Tensor::from_vec(values, of.shape(), of.device());
        Ok((
            dx.map(|dx| tensor(x, dx)).transpose()?,
            weights.track_op().then(|| tensor(weights, d_weights)).transpose()?,
            affine.track_op().then(|| tensor(affine, d_affine)).transpose()?,
        ))
    }
}
