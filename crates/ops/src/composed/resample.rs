//! Bilinear resampling as two matrix products, whose gradients candle has right on any device.

use candle_core::{Result, Tensor};

use crate::separable::Interpolation;

/// Resamples `x`, `[N, C, H, W]`, along the last two axes.
#[allow(clippy::needless_pass_by_value, reason = "the native kernels keep the two, with an equal signature")]
pub(crate) fn upsample_bilinear(x: &Tensor, rows: Interpolation, cols: Interpolation) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (height, width) = (rows.taps.len(), cols.taps.len());
    let (rows, cols) = (interpolation_matrix(&rows, x)?, interpolation_matrix(&cols, x)?);
    let x = x.reshape((n * c * h, w))?.matmul(&cols.t()?)?;
    let x = x.reshape((n * c, h, width))?;
    rows.broadcast_left(n * c)?.matmul(&x)?.reshape((n, c, height, width))
}

/// `[outputs, inputs]`, of the type and on the device of `like`.
pub(crate) fn interpolation_matrix(axis: &Interpolation, like: &Tensor) -> Result<Tensor> {
    let mut matrix = vec![0.0_f64; axis.taps.len() * axis.size];
    for (row, &(near, far, t)) in matrix.chunks_exact_mut(axis.size.max(1)).zip(&axis.taps) {
        row[near] += 1.0 - t;
        row[far] += t;
    }
    Tensor::from_vec(matrix, (axis.taps.len(), axis.size), like.device())?.to_dtype(like.dtype())
}
