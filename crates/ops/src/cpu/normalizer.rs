//! The passes of batch normalisation over channels-last rows, with the nonlinearity that follows
//! it.
//!
//! Sums are taken over fixed blocks and added in order, so that a result has the same bits for any
//! number of threads.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use crate::cpu::host::vectorized;
use crate::cpu::parallel::block_rows;
use crate::cpu::pointwise::masked;
use crate::cpu::target::Target;
use crate::nonlinearity::Nonlinearity;

/// Statistics of one batch and the nonlinearity after the normalisation.
pub(crate) struct Normalizer {
    mean: Vec<f32>,
    variance: Vec<f32>,
    inverse_deviation: Vec<f32>,
    kind: Nonlinearity,
}

/// Sums over the batch that the gradients need. The sum of the output's gradient is the gradient of
/// the bias, the sum of the products with the normalised input is the gradient of the weight.
pub(crate) struct GradientSums {
    pub(crate) bias: Vec<f64>,
    pub(crate) weight: Vec<f64>,
}

impl Normalizer {
    /// Measures `x`, rows of `c` channels.
    pub(crate) fn measure(x: &[f32], c: usize, epsilon: f64, kind: Nonlinearity) -> Self {
        let (mean, variance) = statistics(x, c);
        let inverse_deviation =
            variance.iter().map(|v| (1.0 / (f64::from(*v) + epsilon).sqrt()) as f32).collect();
        Self { mean, variance, inverse_deviation, kind }
    }

    /// Mean and biased variance, `[C]` each.
    pub(crate) fn statistics(&self, device: &Device) -> Result<[Tensor; 2]> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), device);
        Ok([tensor(&self.mean)?, tensor(&self.variance)?])
    }

    fn scale(&self, weight: &[f32]) -> Vec<f32> {
        weight.iter().zip(&self.inverse_deviation).map(|(w, i)| w * i).collect()
    }

    /// `kind((x - mean) / deviation * weight + bias)`, written to `y`. With a shortcut, it is added
    /// and its nonlinearity applied to the sum.
    pub(crate) fn normalize(
        &self,
        x: &[f32],
        (weight, bias): (&[f32], &[f32]),
        shortcut: Option<(&[f32], Nonlinearity)>,
        y: Target<'_>,
    ) {
        let (c, scale) = (weight.len(), self.scale(weight));
        let block = block_rows(c) * c;
        y.pieces(x.len(), block, |_, index, y| {
            let x = &x[index * block..][..y.len()];
            vectorized(
                #[inline(always)]
                || {
                    let (mean, scale, bias) = (&self.mean[..c], &scale[..c], &bias[..c]);
                    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                        // Equal lengths, known to the compiler: no bounds check in the loop.
                        let (y, x) = (&mut y[..c], &x[..c]);
                        for k in 0..c {
                            y[k] = (x[k] - mean[k]) * scale[k] + bias[k];
                        }
                    }
                    self.kind.apply(y);
                    if let Some((shortcut, kind)) = shortcut {
                        for (y, s) in y.iter_mut().zip(&shortcut[index * block..]) {
                            *y += s;
                        }
                        kind.apply(y);
                    }
                },
            );
        });
    }

    /// The sums for `grad`, the gradient of [`Normalizer::normalize`]'s result.
    pub(crate) fn gradient_sums(
        &self,
        x: &[f32],
        grad: &[f32],
        (weight, bias): (&[f32], &[f32]),
    ) -> GradientSums {
        let (c, scale, bounds) = (weight.len(), self.scale(weight), self.kind.bounds());
        let block = block_rows(c) * c;
        let sums: Vec<(Vec<f32>, Vec<f32>)> = x
            .par_chunks(block)
            .zip(grad.par_chunks(block))
            .map(|(x, grad)| {
                let (mut plain, mut product) = (vec![0.0_f32; c], vec![0.0_f32; c]);
                vectorized(
                    #[inline(always)]
                    || {
                        let (plain, product) = (&mut plain[..c], &mut product[..c]);
                        let (mean, scale, bias) = (&self.mean[..c], &scale[..c], &bias[..c]);
                        for (x, grad) in x.chunks_exact(c).zip(grad.chunks_exact(c)) {
                            let (x, grad) = (&x[..c], &grad[..c]);
                            for k in 0..c {
                                let centred = x[k] - mean[k];
                                let g = masked(grad[k], centred * scale[k] + bias[k], bounds);
                                plain[k] += g;
                                product[k] += g * centred;
                            }
                        }
                    },
                );
                (plain, product)
            })
            .collect();
        let mut total = GradientSums { bias: vec![0.0; c], weight: vec![0.0; c] };
        for (plain, product) in sums {
            for k in 0..c {
                total.bias[k] += f64::from(plain[k]);
                total.weight[k] += f64::from(product[k]) * f64::from(self.inverse_deviation[k]);
            }
        }
        total
    }

    /// Gradient of the input, `w i (g - mean(g) - x̂ mean(g x̂))` with `i` the inverse deviation
    /// and `x̂` the normalised input, written to `dx`.
    pub(crate) fn input_gradient(
        &self,
        x: &[f32],
        grad: &[f32],
        (weight, bias): (&[f32], &[f32]),
        sums: &GradientSums,
        dx: Target<'_>,
    ) {
        let (c, scale, bounds) = (weight.len(), self.scale(weight), self.kind.bounds());
        let count = (x.len() / c) as f64;
        // dx = scale * g - slope * (x - mean) - offset
        let offset: Vec<f32> = (0..c).map(|k| (f64::from(scale[k]) * sums.bias[k] / count) as f32).collect();
        let slope: Vec<f32> = (0..c)
            .map(|k| {
                (f64::from(scale[k]) * f64::from(self.inverse_deviation[k]) * sums.weight[k] / count) as f32
            })
            .collect();
        let block = block_rows(c) * c;
        dx.pieces(x.len(), block, |_, index, dx| {
            let (x, grad) = (&x[index * block..][..dx.len()], &grad[index * block..][..dx.len()]);
            vectorized(
                #[inline(always)]
                || {
                    let (mean, scale, bias) = (&self.mean[..c], &scale[..c], &bias[..c]);
                    let (slope, offset) = (&slope[..c], &offset[..c]);
                    for (dx, (x, grad)) in
                        dx.chunks_exact_mut(c).zip(x.chunks_exact(c).zip(grad.chunks_exact(c)))
                    {
                        let (dx, x, grad) = (&mut dx[..c], &x[..c], &grad[..c]);
                        for k in 0..c {
                            let centred = x[k] - mean[k];
                            let g = masked(grad[k], centred * scale[k] + bias[k], bounds);
                            dx[k] = scale[k] * g - slope[k] * centred - offset[k];
                        }
                    }
                },
            );
        });
    }
}

/// Mean and biased variance of each channel. Each block is centred on its own mean, and blocks are
/// merged in order in f64 (Chan, Golub and LeVeque 1979), so a large mean costs no digits.
fn statistics(x: &[f32], c: usize) -> (Vec<f32>, Vec<f32>) {
    let blocks: Vec<(usize, Vec<f32>, Vec<f32>)> = x
        .par_chunks(block_rows(c) * c)
        .map(|block| {
            let rows = block.len() / c;
            let (mut mean, mut squares) = (vec![0.0_f32; c], vec![0.0_f32; c]);
            vectorized(
                #[inline(always)]
                || {
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
                },
            );
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
