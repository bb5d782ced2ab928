//! Batch normalisation.

use candle_core::{Error, Result, Tensor};

use crate::activation::Activation;
use crate::composed::half::widened;
use crate::error::OpsError;
use crate::kernels::Kernels;
use crate::nonlinearity::Nonlinearity;
use crate::{composed, cpu, pointwise};

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

/// Batch normalisation with the statistics of the batch itself, and the nonlinearity that follows
/// it, in one pass. Gradients flow through the statistics (Ioffe and Szegedy 2015).
///
/// # Shapes and units
/// `x`: (N, C, H, W); `weight`, `bias`: `[C]`. Running averages are updated from the statistics;
/// PyTorch updates the running variance with `variance * count / (count - 1)`.
///
/// # Errors
/// Fails if a parameter has another length than C, or a channel has a single value.
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
    let batch_norm_train = match x.kernels() {
        Kernels::Native => cpu::batch_norm_train,
        Kernels::Composed => composed::batch_norm_train,
    };
    let (y, [mean, variance]) = batch_norm_train(x.tensor(), weight, bias, epsilon, kind)?;
    Ok((x.with(y), BatchStatistics { mean, variance, count }))
}

/// Batch normalisation with given statistics, then the nonlinearity. For a network that is frozen,
/// fold the statistics into the convolution instead.
///
/// # Shapes and units
/// `x`: (N, C, H, W); `weight`, `bias`, `mean`, `variance`: `[C]`.
///
/// # Errors
/// Fails if a parameter has another length than C.
pub fn batch_norm(
    x: &Activation,
    [weight, bias, mean, variance]: [&Tensor; 4],
    epsilon: f64,
    kind: Nonlinearity,
) -> Result<Activation> {
    let scale = weight.div(&(variance + epsilon)?.sqrt()?)?;
    let shift = bias.sub(&mean.mul(&scale)?)?;
    let y = widened(x.tensor())?.broadcast_mul(&x.per_channel(&scale)?)?;
    let y = y.broadcast_add(&x.per_channel(&shift)?)?.to_dtype(x.dtype())?;
    pointwise::nonlinearity(&x.with(y), kind)
}

/// # Errors
/// Fails if the parameters do not fit `c` channels, or a channel has a single value.
pub(crate) fn check(weight: &Tensor, bias: &Tensor, c: usize, count: usize) -> Result<()> {
    for (parameter, msg) in [(weight, "batch_norm_train: weight"), (bias, "batch_norm_train: bias")] {
        if parameter.dims() != [c] {
            let (msg, expected, got) = (msg.to_owned(), c.into(), parameter.shape().clone());
            return Err(Error::UnexpectedShape { msg, expected, got }.bt());
        }
    }
    if count < 2 { Err(OpsError::NoVariance { count }.into()) } else { Ok(()) }
}
