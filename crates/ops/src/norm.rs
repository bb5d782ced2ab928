//! Batch normalisation.

use candle_core::{DType, Error, Result, Tensor, Var};

use crate::activation::Activation;
use crate::composed::half::widened;
use crate::error::OpsError;
use crate::kernels::Path;
use crate::nonlinearity::Nonlinearity;
use crate::{composed, cpu, cuda, pointwise};

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

/// Running averages of the statistics of batches, which a training moves.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Of the mean, `[C]`.
    pub mean: &'a Var,
    /// Of the unbiased variance, `[C]`, as PyTorch keeps it.
    pub variance: &'a Var,
    /// The weight of a batch, 0.1 in PyTorch.
    pub momentum: f64,
}

impl Running<'_> {
    /// Takes the statistics of a batch into the running ones.
    pub(crate) fn take(&self, batch: &BatchStatistics) -> Result<()> {
        let unbiased = batch.count as f64 / (batch.count - 1) as f64;
        self.move_towards(self.mean, &batch.mean, 1.0)?;
        self.move_towards(self.variance, &batch.variance, unbiased)
    }

    fn move_towards(&self, running: &Var, batch: &Tensor, factor: f64) -> Result<()> {
        let kept = (running.as_detached_tensor() * (1.0 - self.momentum))?;
        running.set(&(kept + (batch.detach() * (self.momentum * factor))?)?)
    }

    /// # Errors
    /// Fails if the averages are not those of `c` channels.
    pub(crate) fn check(&self, c: usize) -> Result<()> {
        for (running, name) in [(self.mean, "running mean"), (self.variance, "running variance")] {
            check_length(running, name, c)?;
            if running.dtype() != DType::F32 {
                let (msg, expected, got) = ("batch_norm_train: running", DType::F32, running.dtype());
                return Err(Error::UnexpectedDType { msg, expected, got }.bt());
            }
        }
        Ok(())
    }
}

/// Batch normalisation with the statistics of the batch itself, and the nonlinearity that follows
/// it, in one pass. Gradients flow through the statistics (Ioffe and Szegedy 2015).
///
/// # Shapes and units
/// `x`: (N, C, H, W); `weight`, `bias`: `[C]`. The statistics move `running`, where it is given.
///
/// # Errors
/// Fails if a parameter has another length than C, or a channel has a single value.
pub fn batch_norm_train(
    x: &Activation,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    kind: Nonlinearity,
    running: Option<&Running<'_>>,
) -> Result<(Activation, BatchStatistics)> {
    let (n, c, h, w) = x.dims()?;
    let count = n * h * w;
    check(weight, bias, c, count)?;
    running.map_or(Ok(()), |running| running.check(c))?;
    let batch_norm_train = match x.path() {
        Path::Cpu => cpu::batch_norm_train,
        // A training is not traced.
        Path::Composed | Path::Traced => composed::batch_norm_train,
        Path::Cuda => {
            let y = cuda::batch_norm_train(x.tensor(), weight, bias, (epsilon, kind), running)?;
            let (y, [mean, variance]) = y;
            return Ok((x.with(y), BatchStatistics { mean, variance, count }));
        }
    };
    let (y, [mean, variance]) = batch_norm_train(x.tensor(), weight, bias, epsilon, kind)?;
    let statistics = BatchStatistics { mean, variance, count };
    if let Some(running) = running {
        running.take(&statistics)?;
    }
    Ok((x.with(y), statistics))
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
    check_length(weight, "weight", c)?;
    check_length(bias, "bias", c)?;
    if count < 2 { Err(OpsError::NoVariance { count }.into()) } else { Ok(()) }
}

fn check_length(parameter: &Tensor, name: &str, c: usize) -> Result<()> {
    if parameter.dims() == [c] {
        return Ok(());
    }
    let (expected, got) = (c.into(), parameter.shape().clone());
    Err(Error::UnexpectedShape { msg: format!("batch_norm_train: {name}"), expected, got }.bt())
}
