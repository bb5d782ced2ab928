//! Half precision on the composed path: what of it is computed in f32, and rounded afterwards.

use candle_core::{DType, Result, Tensor};

pub(crate) fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

/// `x` in f32 where its type has fewer bits, else `x`: for sums over many values and for what stands beside f32
/// parameters. Recorded, so that the gradient comes back in the type of `x`.
pub(crate) fn widened(x: &Tensor) -> Result<Tensor> {
    if is_half(x) { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

/// `x` as candle's convolutions take it. On CUDA they multiply bf16 and add up in f32. On the CPU the dense one has no
/// bf16 and the transposed one adds up in it: there the rounded values are multiplied in f32, which comes to the same
/// once the result is rounded.
pub(crate) fn multipliable(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { widened(x) } else { Ok(x.clone()) }
}
