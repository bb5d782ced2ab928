//! Gaussian blur as two matrix products.

use candle_core::{D, Result, Tensor};

use crate::separable::{Gaussian, mirror};

/// Blurs the last two axes of `x`.
pub(crate) fn gaussian_blur(x: &Tensor, gaussian: &Gaussian) -> Result<Tensor> {
    let (h, w) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    let flat = x.detach().reshape(((), h, w))?;
    let n = flat.dim(0)?;
    let rows = blur_matrix(gaussian, h, x)?.broadcast_left(n)?;
    let cols = blur_matrix(gaussian, w, x)?.t()?.contiguous()?.broadcast_left(n)?;
    rows.matmul(&flat)?.matmul(&cols)?.reshape(x.shape())
}

/// The blur along an axis, `[size, size]`, of the type and on the device of `like`.
pub(crate) fn blur_matrix(gaussian: &Gaussian, size: usize, like: &Tensor) -> Result<Tensor> {
    let kernel = &gaussian.weights;
    let mut matrix = vec![0.0_f64; size * size];
    for (i, row) in matrix.chunks_exact_mut(size).enumerate() {
        for (k, weight) in kernel.iter().enumerate() {
            row[mirror(i as isize + k as isize - (kernel.len() / 2) as isize, size)] += weight;
        }
    }
    Tensor::from_vec(matrix, (size, size), like.device())?.to_dtype(like.dtype())
}
