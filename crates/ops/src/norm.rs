use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::host::{Host, elements, output, vectorized};
use crate::pointwise::masked;
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
    if weight.dims() != [c] || bias.dims() != [c] || count < 2 {
        return Err(Error::Msg(format!(
            "batch_norm: weight {:?} and bias {:?} do not fit {c} channels of {count} values",
            weight.dims(),
            bias.dims()
        ))
        .bt());
    }
    if !x.channels_last() {
        return compose_train(x, weight, bias, epsilon, kind, count);
    }
    let input = x.tensor().contiguous()?;
    let (mean, variance) = statistics(&Host::new(&input)?, c);
    let inverse_deviation =
        variance.iter().map(|v| (1.0 / (f64::from(*v) + epsilon).sqrt()) as f32).collect();
    let statistics = BatchStatistics {
        mean: Tensor::from_slice(&mean, c, x.device())?,
        variance: Tensor::from_slice(&variance, c, x.device())?,
        count,
    };
    let op = Train { mean, inverse_deviation, kind };
    let y = input.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?;
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
    let y = x.tensor().broadcast_mul(&per_channel(x, &scale)?)?.broadcast_add(&per_channel(x, &shift)?)?;
    crate::nonlinearity(&x.with(y)?, kind)
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
    let mean = x.tensor().mean_keepdim((0, 2, 3))?;
    let centred = x.tensor().broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let y = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    let y = y.broadcast_mul(&weight.reshape((1, c, 1, 1))?)?.broadcast_add(&bias.reshape((1, c, 1, 1))?)?;
    let statistics =
        BatchStatistics { mean: mean.detach().reshape(c)?, variance: variance.detach().reshape(c)?, count };
    Ok((x.with(kind.compose(&y)?)?, statistics))
}

/// Rows to a block: small enough to stay in the cache between the two passes over it.
fn block_rows(c: usize) -> usize {
    (1_usize << 14).div_ceil(c.max(1))
}

/// Mean and biased variance of each channel. Each block is centred on its own mean, and blocks are merged in order
/// in f64 (Chan, Golub and LeVeque 1979), so a large mean costs no digits.
fn statistics(x: &[f32], c: usize) -> (Vec<f32>, Vec<f32>) {
    let blocks: Vec<(usize, Vec<f32>, Vec<f32>)> = x
        .par_chunks(block_rows(c) * c)
        .map(|block| {
            let rows = block.len() / c;
            let (mut mean, mut squares) = (vec![0.0_f32; c], vec![0.0_f32; c]);
            vectorized(|| {
                for row in block.chunks_exact(c) {
                    for (m, v) in mean.iter_mut().zip(row) {
                        *m += v;
                    }
                }
                for m in &mut mean {
                    *m /= rows as f32;
                }
                for row in block.chunks_exact(c) {
                    for ((s, v), m) in squares.iter_mut().zip(row).zip(&mean) {
                        *s += (v - m) * (v - m);
                    }
                }
            });
            (rows, mean, squares)
        })
        .collect();
    let (mut total, mut mean, mut squares) = (0.0_f64, vec![0.0_f64; c], vec![0.0_f64; c]);
    for (rows, block_mean, block_squares) in blocks {
        let rows = rows as f64;
        let merged = total + rows;
        for channel in 0..c {
            let delta = f64::from(block_mean[channel]) - mean[channel];
            mean[channel] += delta * rows / merged;
            squares[channel] += f64::from(block_squares[channel]) + delta * delta * total * rows / merged;
        }
        total = merged;
    }
    (
        mean.into_iter().map(|m| m as f32).collect(),
        squares.into_iter().map(|s| (s / total.max(1.0)) as f32).collect(),
    )
}

struct Train {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    kind: Nonlinearity,
}

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
        let (x, weight, bias) = (elements(s1, l1)?, elements(s2, l2)?, elements(s3, l3)?);
        let c = weight.len();
        let scale: Vec<f32> = weight.iter().zip(&self.inverse_deviation).map(|(w, i)| w * i).collect();
        let mut y = vec![0.0; x.len()];
        let block = block_rows(c) * c;
        y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
            vectorized(|| {
                let (mean, scale, bias) = (&self.mean[..c], &scale[..c], &bias[..c]);
                for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                    let (y, x) = (&mut y[..c], &x[..c]);
                    for k in 0..c {
                        y[k] = (x[k] - mean[k]) * scale[k] + bias[k];
                    }
                }
                self.kind.apply(y);
            });
        });
        output(y, l1.shape().clone())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_host, y, grad) = (Host::new(x)?, Host::new(res)?, Host::new(&grad)?);
        let w = Host::new(weight)?;
        let c = w.len();
        let (d_bias, d_weight) = self.parameter_gradients(&x_host, &y, &grad, c);
        let dx = x
            .track_op()
            .then(|| {
                let dx = self.input_gradient(&x_host, &y, &grad, &w, (&d_bias, &d_weight));
                Tensor::from_vec(dx, x.shape(), x.device())
            })
            .transpose()?;
        let vector = |tensor: &Tensor, values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            tensor.track_op().then(|| Tensor::from_vec(values, c, tensor.device())).transpose()
        };
        Ok((dx, vector(weight, &d_weight)?, vector(bias, &d_bias)?))
    }
}

impl Train {
    /// Sums over the batch of the gradient and of its product with the normalised input.
    fn parameter_gradients(&self, x: &[f32], y: &[f32], grad: &[f32], c: usize) -> (Vec<f64>, Vec<f64>) {
        let (block, bounds) = (block_rows(c) * c, self.kind.bounds());
        let sums: Vec<(Vec<f32>, Vec<f32>)> = x
            .par_chunks(block)
            .zip(y.par_chunks(block).zip(grad.par_chunks(block)))
            .map(|(x, (y, grad))| {
                let (mut plain, mut product) = (vec![0.0_f32; c], vec![0.0_f32; c]);
                vectorized(|| {
                    let (plain, product, mean) = (&mut plain[..c], &mut product[..c], &self.mean[..c]);
                    let rows = x.chunks_exact(c).zip(y.chunks_exact(c).zip(grad.chunks_exact(c)));
                    for (x, (y, grad)) in rows {
                        // Equal lengths, known to the compiler: no bounds check in the loop.
                        let (x, y, grad) = (&x[..c], &y[..c], &grad[..c]);
                        for k in 0..c {
                            let g = masked(grad[k], y[k], bounds);
                            plain[k] += g;
                            product[k] += g * (x[k] - mean[k]);
                        }
                    }
                });
                (plain, product)
            })
            .collect();
        let (mut d_bias, mut d_weight) = (vec![0.0_f64; c], vec![0.0_f64; c]);
        for (plain, product) in sums {
            for channel in 0..c {
                d_bias[channel] += f64::from(plain[channel]);
                d_weight[channel] += f64::from(product[channel]) * f64::from(self.inverse_deviation[channel]);
            }
        }
        (d_bias, d_weight)
    }

    /// `w i (g - mean(g) - x̂ mean(g x̂))`, with `i` the inverse deviation and `x̂` the normalised input.
    fn input_gradient(
        &self,
        x: &[f32],
        y: &[f32],
        grad: &[f32],
        weight: &[f32],
        (d_bias, d_weight): (&[f64], &[f64]),
    ) -> Vec<f32> {
        let c = weight.len();
        let count = (x.len() / c) as f64;
        // dx = scale * g - slope * (x - mean) - offset
        let scale: Vec<f32> = weight.iter().zip(&self.inverse_deviation).map(|(w, i)| w * i).collect();
        let offset: Vec<f32> = (0..c).map(|k| (f64::from(scale[k]) * d_bias[k] / count) as f32).collect();
        let slope: Vec<f32> = (0..c)
            .map(|k| {
                (f64::from(scale[k]) * f64::from(self.inverse_deviation[k]) * d_weight[k] / count) as f32
            })
            .collect();
        let mut dx = vec![0.0; grad.len()];
        let (block, bounds) = (block_rows(c) * c, self.kind.bounds());
        let inputs = x.par_chunks(block).zip(y.par_chunks(block).zip(grad.par_chunks(block)));
        dx.par_chunks_mut(block).zip(inputs).for_each(|(dx, (x, (y, grad)))| {
            vectorized(|| {
                let rows = x.chunks_exact(c).zip(y.chunks_exact(c).zip(grad.chunks_exact(c)));
                let (mean, scale, slope, offset) = (&self.mean[..c], &scale[..c], &slope[..c], &offset[..c]);
                for (dx, (x, (y, grad))) in dx.chunks_exact_mut(c).zip(rows) {
                    let (dx, x, y, grad) = (&mut dx[..c], &x[..c], &y[..c], &grad[..c]);
                    for k in 0..c {
                        let g = masked(grad[k], y[k], bounds);
                        dx[k] = scale[k] * g - slope[k] * (x[k] - mean[k]) - offset[k];
                    }
                }
            });
        });
        dx
    }
}
