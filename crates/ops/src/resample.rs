//! Resampling of maps.

use candle_core::{DType, Error, Result, Tensor};

use crate::composed::half::{is_half, widened};
use crate::error::OpsError;
use crate::kernels::{Kernels, Path, default_kernels};
use crate::separable::Interpolation;
use crate::trace::traced;
use crate::{composed, cpu, cuda, trace};

/// Nearest-neighbour upsampling by a whole factor.
///
/// # Shapes and units
/// `x`: `[N, C, H, W]`. Gives `[N, C, factor H, factor W]`.
///
/// # Errors
/// Fails if `x` is not of rank 4.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    // A broadcast, whose gradient is a sum: candle's own operator overwrites gradients of its
    // input.
    let (n, c, h, w) = x.dims4()?;
    x.reshape((n, c, h, 1, w, 1))?.broadcast_as((n, c, h, factor, w, factor))?.contiguous()?.reshape((
        n,
        c,
        h * factor,
        w * factor,
    ))
}

/// [`upsample_bilinear_with`] the default kernels.
///
/// # Errors
/// Fails if `x` is not of rank 4 or a size is zero.
pub fn upsample_bilinear(x: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    upsample_bilinear_with(x, height, width, align_corners, default_kernels())
}

/// Bilinear resampling to any size.
///
/// # Shapes and units
/// `x`: `[N, C, H, W]`. Gives `[N, C, height, width]`. With `align_corners` the corner pixels of
/// both grids coincide; without it, pixels are areas, as in PyTorch's `interpolate`.
///
/// # Errors
/// Fails if `x` is not of rank 4 or a size is zero.
pub fn upsample_bilinear_with(
    x: &Tensor,
    height: usize,
    width: usize,
    align_corners: bool,
    kernels: Kernels,
) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if [h, w, height, width].contains(&0) {
        return Err(OpsError::EmptyImage { from: [h, w], to: [height, width] }.into());
    }
    if is_half(x) {
        // Rounded to half precision, the weights of a pixel would not add up to 1.
        let y = upsample_bilinear_with(&widened(x)?, height, width, align_corners, kernels)?;
        return y.to_dtype(x.dtype());
    }
    let upsample_bilinear = match kernels.path(x) {
        Path::Cpu => cpu::upsample_bilinear,
        Path::Cuda => return cuda::upsample_bilinear(x, height, width, align_corners),
        Path::Composed => composed::upsample_bilinear,
        Path::Traced => trace::upsample_bilinear,
    };
    let rows = Interpolation::new(h, height, align_corners);
    upsample_bilinear(x, rows, Interpolation::new(w, width, align_corners))
}

/// The combination of several maps to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Their sum.
    Sum,
    /// Their product.
    Product,
}

/// Maps of several sizes as one: each is resampled bilinearly with corners aligned. No gradient is
/// recorded.
///
/// # Shapes and units
/// `maps`: `[N, H, W]` each, f32. Gives `[N, height, width]`.
///
/// # Errors
/// Fails without a map, for a map of another rank or batch, or when a size is zero.
pub fn combined_maps(
    maps: &[Tensor],
    height: usize,
    width: usize,
    combination: Combination,
) -> Result<Tensor> {
    let Some((first, others)) = maps.split_first() else {
        return Err(OpsError::NoMap.into());
    };
    let (n, ..) = first.dims3()?;
    for map in maps {
        let (images, h, w) = map.dims3()?;
        if images != n {
            let (lhs, rhs) = (first.shape().clone(), map.shape().clone());
            return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "combined_maps" }.bt());
        }
        if [h, w, height, width].contains(&0) {
            return Err(OpsError::EmptyImage { from: [h, w], to: [height, width] }.into());
        }
    }
    if maps.iter().all(|map| default_kernels().path(map) == Path::Cuda && map.dtype() == DType::F32) {
        return cuda::combined_maps(maps, (height, width), combination);
    }
    let resampled = |map: &Tensor| -> Result<Tensor> {
        let (n, h, w) = map.dims3()?;
        let map = traced::reshape(&traced::detach(map), &[n, 1, h, w])?;
        traced::reshape(&upsample_bilinear(&map, height, width, true)?, &[n, height, width])
    };
    others.iter().try_fold(resampled(first)?, |combined, map| match combination {
        Combination::Sum => traced::add(&combined, &resampled(map)?),
        Combination::Product => traced::mul(&combined, &resampled(map)?),
    })
}
