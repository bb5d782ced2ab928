//! Convolutions of candle, asked in the way in which their gradients are right.

use candle_core::{Result, Tensor};

use crate::composed::half::multipliable;
use crate::geometry::Geometry;

/// 2-D convolution of `x`, `[N, C_in, H, W]`, to `[N, C_out, H', W']`. Zeros are padded beforehand,
/// and rows and columns that no window reaches are cut, so that the size of the input gradient is
/// never ambiguous. The weight is rounded to the type of `x`, which is the type of the result; the
/// gradient of the weight has the type of the weight.
pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, g: &Geometry, groups: usize) -> Result<Tensor> {
    if !x.device().is_cpu() {
        g.check_indices("conv2d", groups)?;
    }
    let fit = |x: Tensor, axis: usize, before: usize, size: usize, out: usize, kernel: usize| {
        let reach = (out - 1) * g.stride + kernel;
        let x = x.pad_with_zeros(axis, before, reach.saturating_sub(before + size))?;
        x.narrow(axis, 0, reach)
    };
    let x = fit(x.clone(), 2, g.top, g.h, g.oh, g.kh)?;
    let x = fit(x, 3, g.left, g.w, g.ow, g.kw)?;
    let dtype = x.dtype();
    let weight = multipliable(&weight.to_dtype(dtype)?)?;
    multipliable(&x.contiguous()?)?.conv2d(&weight, 0, g.stride, 1, groups)?.to_dtype(dtype)
}

/// Transposed 2-D convolution of `x`, `[N, C_out, H', W']` of the geometry, to `[N, C_in, H, W]`.
pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    if !x.device().is_cpu() {
        g.check_indices("conv_transpose2d", 1)?;
    }
    let dtype = x.dtype();
    let weight = multipliable(&weight.to_dtype(dtype)?)?;
    multipliable(x)?.conv_transpose2d(&weight, g.top, 0, g.stride, 1)?.to_dtype(dtype)
}
