//! Half precision: operators that compute in f32 and round the result.

use candle_core::{DType, Result, Tensor};

pub(crate) fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

/// `x` in f32 where its type has fewer bits, else `x`: for sums over many values and for operators
/// with f32 parameters. The conversion is recorded, so that the gradient has the type of `x`.
pub(crate) fn widened(x: &Tensor) -> Result<Tensor> {
    if is_half(x) { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

/// `x` in the type in which candle convolves it. On CUDA candle multiplies bf16 and adds up in f32.
/// On a CPU candle's dense convolution has no bf16, and the transposed one adds up in bf16: there
/// the rounded values are multiplied in f32, which gives the same once the result is rounded.
pub(crate) fn multipliable(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { widened(x) } else { Ok(x.clone()) }
}
