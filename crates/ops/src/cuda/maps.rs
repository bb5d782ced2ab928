//! Resampling and blur of maps.

use candle_core::{D, Result, Tensor};

use super::array::Array;
use super::gpu::Gpu;
use super::launch::{self, Combine, Grid};
use super::runner::Runner;
use crate::recorded::{Pass, record1};
use crate::resample::Combination;
use crate::separable::Gaussian;

/// Resamples `x`, `[N, C, H, W]`, along the last two axes.
pub(crate) fn upsample_bilinear(
    x: &Tensor,
    height: usize,
    width: usize,
    align_corners: bool,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (n, c, h, w) = x.dims4()?;
    let grid = Grid { n: n * c, h, w, height, width, align_corners };
    let runner = Runner::of(&x)?;
    let y = runner.floats(grid.n * height * width)?;
    launch::upsample_bilinear(&runner, &Array::of(&x)?, &y, &grid, Combine::Set)?;
    record1("upsample_bilinear", &x, y.result((n, c, height, width))?, move |pass: &Pass<'_, 1>| {
        let dx = || {
            let dx = launch::upsample_bilinear_gradient(&runner, &Array::of(pass.grad)?, &grid)?;
            dx.into_tensor(pass.args[0].shape())
        };
        Ok([pass.gradient(0, dx)?])
    })
}

/// Maps `[N, H, W]` of several sizes, each resampled with corners aligned, as one: no gradient is
/// recorded.
pub(crate) fn combined_maps(
    maps: &[Tensor],
    (height, width): (usize, usize),
    combination: Combination,
) -> Result<Tensor> {
    let (n, ..) = maps[0].dims3()?;
    let runner = Runner::of(&maps[0])?;
    let y = runner.floats(n * height * width)?;
    for (k, map) in maps.iter().enumerate() {
        let (n, h, w) = map.dims3()?;
        let grid = Grid { n, h, w, height, width, align_corners: true };
        let combine = match combination {
            _ if k == 0 => Combine::Set,
            Combination::Sum => Combine::Add,
            Combination::Product => Combine::Multiply,
        };
        launch::upsample_bilinear(&runner, &Array::of(&map.detach())?, &y, &grid, combine)?;
    }
    y.into_tensor((n, height, width))
}

/// Blurs the last two axes of `x`.
pub(crate) fn gaussian_blur(x: &Tensor, gaussian: &Gaussian) -> Result<Tensor> {
    let runner = Runner::of(x)?;
    let (h, w) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    let weights: Vec<f32> = gaussian.weights.iter().map(|&weight| weight as f32).collect();
    let weights = Array::of(&Tensor::from_slice(&weights, weights.len(), x.device())?)?;
    let (radius, n) = (gaussian.weights.len() / 2, x.elem_count() / (h * w).max(1));
    launch::blur(&runner, &Array::of(&x.detach())?, (&weights, radius), (n, h, w))?.into_tensor(x.shape())
}
