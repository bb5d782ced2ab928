//! Cosine distance of feature maps.

use candle_core::{Error, Result, Tensor};

use crate::composed::half::{is_half, widened};
use crate::kernels::{Kernels, Path, default_kernels};
use crate::{composed, cpu, cuda, trace};

/// Lower bound of each norm, as in PyTorch's `cosine_similarity`.
const SMALLEST_NORM: f64 = 1e-8;

/// [`cosine_distance_with`] the default kernels.
///
/// # Errors
/// Fails if the shapes differ or are not of rank 4.
pub fn cosine_distance(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    cosine_distance_with(a, b, default_kernels())
}

/// Cosine distance of two feature maps at each position:
/// `1 - a·b / (max(|a|, 1e-8) max(|b|, 1e-8))`.
///
/// # Shapes and units
/// `a`, `b`: `[N, C, H, W]`. Gives `[N, H, W]` with values in 0..=2.
///
/// # Errors
/// Fails if the shapes differ or are not of rank 4.
pub fn cosine_distance_with(a: &Tensor, b: &Tensor, kernels: Kernels) -> Result<Tensor> {
    a.dims4()?;
    if a.dims() != b.dims() {
        let (lhs, rhs) = (a.shape().clone(), b.shape().clone());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "cosine_distance" }.bt());
    }
    if is_half(a) || is_half(b) {
        let dtype = if is_half(a) { b.dtype() } else { a.dtype() };
        return cosine_distance_with(&widened(a)?, &widened(b)?, kernels)?.to_dtype(dtype);
    }
    let cosine_distance = match (kernels.path(a), kernels.path(b)) {
        (Path::Cpu, Path::Cpu) => cpu::cosine_distance,
        (Path::Cuda, Path::Cuda) => cuda::cosine_distance,
        (Path::Traced, _) | (_, Path::Traced) => trace::cosine_distance,
        _ => composed::cosine_distance,
    };
    cosine_distance(a, b, SMALLEST_NORM)
}
