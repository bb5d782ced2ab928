//! Gaussian blur as two matrix products.

use candle_core::{D, Result, Tensor};

use crate::separable::{Gaussian, mirror};

/// Blurs the last two axes of `x`.
pub(crate) fn gaussian_blur(x: &Tensor, gaussian: &Gaussian) -> Result<Tensor> {
    let (h, w) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    let kernel = &gaussian.weights;
    let matrix = |size: usize| -> Result<Tensor> {
        let mut matrix = vec![0.0_f64; size * size];
        for (i, row) in matrix.chunks_exact_mut(size).enumerate() {
            for (k, weight) in kernel.iter().enumerate() {
                row[mirror(i as isize + k as isize - (kernel.len() / 2) as isize, size)] += weight;
            }
        }
        Tensor::from_vec(matrix, (size, size), x.device())?.to_dtype(x.dtype())
    };
    let flat = x.detach().reshape(((), h, w))?;
    let n = flat.dim(0)?;
    let rows = matrix(h)?.broadcast_left(n)?;
    let cols = matrix(w)?.t()?.contiguous()?.broadcast_left(n)?;
    rows.matmul(&flat)?.matmul(&cols)?.reshape(x.shape())
}
