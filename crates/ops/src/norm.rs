use candle_core::{CpuStorage, CustomOp3, Device, Error, Layout, Result, Shape, Tensor};

use crate::cpu::host::{Host, elements, output, zeros};
use crate::cpu::normalizer::Normalizer;
use crate::half::widened;
use crate::{Activation, Nonlinearity};

/// Statistics of one batch, per channel.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean, `[C]`.
    pub mean: Tensor,
    /// Biased variance, `[C]`.
    pub variance: Tensor,
    /// Values per channel, N H W.
    pub count: usize,
}

impl BatchStatistics {
    pub(crate) fn of(normalizer: &Normalizer, count: usize, device: &Device) -> Result<Self> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), device);
        Ok(Self { mean: tensor(normalizer.mean())?, variance: tensor(normalizer.variance())?, count })
    }
}

/// Batch normalisation with the statistics of the batch itself, and the nonlinearity that follows it, in one pass.
/// Gradients flow through the statistics (Ioffe and Szegedy 2015).
///
/// # Shapes and units
/// `x`: (N, C, H, W); `weight`, `bias`: `[C]`. The statistics are what running averages are updated from; PyTorch
/// updates the running variance with `variance * count / (count - 1)`.
///
/// # Errors
/// When a parameter has another length than C, or a channel has a single value.
pub fn batch_norm_train(
    x: &Activation,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    kind: Nonlinearity,
) -> Result<(Activation, BatchStatistics)> {
    let (n, c, h, w) = x.dims()?;
    let count = n * h * w;
    check(weight, bias, c, count)?;
    if !x.channels_last() {
        return compose_train(x, weight, bias, epsilon, kind, count);
    }
    let input = x.tensor().contiguous()?;
    let normalizer = Normalizer::measure(&Host::new(&input)?, c, epsilon, kind);
    let statistics = BatchStatistics::of(&normalizer, count, x.device())?;
    let y = input.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Train(normalizer))?;
    Ok((x.with(y)?, statistics))
}

/// Batch normalisation with given statistics, then the nonlinearity. For a network that is frozen, fold the
/// statistics into the convolution instead.
///
/// # Shapes and units
/// `x`: (N, C, H, W); `weight`, `bias`, `mean`, `variance`: `[C]`.
///
/// # Errors
/// When a parameter has another length than C.
pub fn batch_norm(
    x: &Activation,
    [weight, bias, mean, variance]: [&Tensor; 4],
    epsilon: f64,
    kind: Nonlinearity,
) -> Result<Activation> {
    let scale = weight.div(&(variance + epsilon)?.sqrt()?)?;
    let shift = bias.sub(&mean.mul(&scale)?)?;
    let y = widened(x.tensor())?.broadcast_mul(&per_channel(x, &scale)?)?;
    let y = y.broadcast_add(&per_channel(x, &shift)?)?.to_dtype(x.dtype())?;
    crate::nonlinearity(&x.with(y)?, kind)
}

/// # Errors
/// When the parameters do not fit `c` channels, or a channel has a single value.
pub(crate) fn check(weight: &Tensor, bias: &Tensor, c: usize, count: usize) -> Result<()> {
    if weight.dims() == [c] && bias.dims() == [c] && count >= 2 {
        return Ok(());
    }
    Err(Error::Msg(format!(
        "batch_norm: weight {:?} and bias {:?} do not fit {c} channels of {count} values",
        weight.dims(),
        bias.dims()
    ))
    .bt())
}

fn per_channel(x: &Activation, values: &Tensor) -> Result<Tensor> {
    if x.channels_last() { Ok(values.clone()) } else { values.reshape((1, (), 1, 1)) }
}

fn compose_train(
    x: &Activation,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    kind: Nonlinearity,
    count: usize,
) -> Result<(Activation, BatchStatistics)> {
    let c = weight.elem_count();
    // In f32: a sum of many values in half precision stands still when they have become small beside it.
    let input = widened(x.tensor())?;
    let mean = input.mean_keepdim((0, 2, 3))?;
    let centred = input.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let y = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    let y = y.broadcast_mul(&weight.reshape((1, c, 1, 1))?)?.broadcast_add(&bias.reshape((1, c, 1, 1))?)?;
    let statistics =
        BatchStatistics { mean: mean.detach().reshape(c)?, variance: variance.detach().reshape(c)?, count };
    Ok((x.with(kind.compose(&y.to_dtype(x.dtype())?)?)?, statistics))
}

struct Train(Normalizer);

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = elements(s1, l1)?;
        let mut y = zeros(x.len());
        self.0.normalize(x, (elements(s2, l2)?, elements(s3, l3)?), &mut y);
        output(y, l1.shape().clone())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_host, grad) = (Host::new(x)?, Host::new(&grad)?);
        let (w, b) = (Host::new(weight)?, Host::new(bias)?);
        let sums = self.0.gradient_sums(&x_host, &grad, (&w, &b));
        let dx = x
            .track_op()
            .then(|| {
                let mut dx = zeros(grad.len());
                self.0.input_gradient(&x_host, &grad, (&w, &b), &sums, &mut dx);
                Tensor::from_vec(dx, x.shape(), x.device())
            })
            .transpose()?;
        Ok((dx, channel_gradient(weight, &sums.weight)?, channel_gradient(bias, &sums.bias)?))
    }
}

/// The gradient of a parameter, where it wants one.
fn channel_gradient(parameter: &Tensor, values: &[f64]) -> Result<Option<Tensor>> {
    let values = || values.iter().map(|v| *v as f32).collect::<Vec<_>>();
    parameter
        .track_op()
        .then(|| Tensor::from_vec(values(), parameter.shape(), parameter.device()))
        .transpose()
}
