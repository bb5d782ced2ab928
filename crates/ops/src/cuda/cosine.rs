//! Cosine distance along the channels.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch;
use super::runner::Runner;
use crate::recorded::{Pass, record2};

/// Cosine distance of `a` and `b`, `[N, C, H, W]`, f32, at each position. Nothing is copied where
/// both lie channels last in memory, as the results of native kernels do.
pub(crate) fn cosine_distance(a: &Tensor, b: &Tensor, smallest_norm: f64) -> Result<Tensor> {
    let a = a.permute((0, 2, 3, 1))?.contiguous()?;
    let b = b.permute((0, 2, 3, 1))?.contiguous()?;
    let (n, h, w, c) = a.dims4()?;
    let (positions, smallest) = (n * h * w, smallest_norm as f32);
    let runner = Runner::of(&a)?;
    let arrays = [&Array::of(&a)?, &Array::of(&b)?];
    let distance = launch::cosine_distance(&runner, arrays, positions, c, smallest)?;
    let distance = distance.result((n, h, w))?;
    record2("cosine_distance", [&a, &b], distance, move |pass: &Pass<'_, 2>| {
        let (a, b, grad) = (Array::of(pass.args[0])?, Array::of(pass.args[1])?, Array::of(pass.grad)?);
        let gradient = |this, other| {
            let gradient = launch::cosine_gradient(&runner, [this, other, &grad], positions, c, smallest)?;
            gradient.into_tensor((n, h, w, c))
        };
        Ok([pass.gradient(0, || gradient(&a, &b))?, pass.gradient(1, || gradient(&b, &a))?])
    })
}
