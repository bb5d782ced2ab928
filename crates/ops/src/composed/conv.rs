//! Convolutions of candle, asked in the way in which their gradients are right.

use candle_core::{Result, Tensor};

use crate::composed::half::multipliable;
use crate::geometry::Geometry;
use crate::recorded::{Pass, record2, result_of};

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
    let x = multipliable(&x.contiguous()?)?;
    match groups {
        1 => dense(&x, &weight, g.stride)?.to_dtype(dtype),
        _ => x.conv2d(&weight, 0, g.stride, 1, groups)?.to_dtype(dtype),
    }
}

/// A convolution of one group whose windows reach every pixel of `x` without padding. The input
/// gradient of stride 1 is a convolution, for which candle is quicker than for its transposed one.
fn dense(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let y = x.detach().conv2d(&weight.detach(), 0, stride, 1, 1)?;
    record2("conv2d", [x, weight], result_of(&y)?, move |pass: &Pass<'_, 2>| {
        let [x, weight] = pass.args.map(Tensor::detach);
        let grad = pass.grad.contiguous()?;
        let dx = || {
            if stride > 1 {
                return grad.conv_transpose2d(&weight, 0, 0, stride, 1);
            }
            let (_, _, kh, kw) = weight.dims4()?;
            let turned = |weight: &Tensor, axis: usize, size: usize| {
                let order: Vec<u32> = (0..size as u32).rev().collect();
                weight.index_select(&Tensor::from_vec(order, size, weight.device())?, axis)
            };
            let turned = turned(&turned(&weight, 2, kh)?, 3, kw)?.transpose(0, 1)?.contiguous()?;
            let around = grad.pad_with_zeros(2, kh - 1, kh - 1)?.pad_with_zeros(3, kw - 1, kw - 1)?;
            around.contiguous()?.conv2d(&turned, 0, 1, 1, 1)
        };
        // Images as channels: the gradient is the kernel, whose values lie `stride` apart.
        let dw = || {
            let (images, kernel) = (x.transpose(0, 1)?.contiguous()?, grad.transpose(0, 1)?.contiguous()?);
            images.conv2d(&kernel, 0, 1, stride, 1)?.transpose(0, 1)
        };
        Ok([pass.gradient(0, dx)?, pass.gradient(1, dw)?])
    })
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
