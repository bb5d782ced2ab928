//! Max pooling.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch;
use super::runner::Runner;
use crate::composed;
use crate::geometry::Geometry;
use crate::recorded::{Pass, record1};

/// Largest window whose taps a byte counts.
const LARGEST_KERNEL: usize = 16;

/// Max pooling of `x`, `[N, H, W, C]`.
pub(crate) fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    if kernel > LARGEST_KERNEL {
        let y = composed::max_pool2d(&x.permute((0, 3, 1, 2))?, kernel, stride, padding)?;
        return y.permute((0, 2, 3, 1))?.contiguous();
    }
    let x = x.contiguous()?;
    let (n, h, w, c) = x.dims4()?;
    let size = |s: usize| (s + 2 * padding - kernel) / stride + 1;
    let [oh, ow] = [h, w].map(size);
    let (kh, kw, top, left) = (kernel, kernel, padding, padding);
    let g = Geometry { n, h, w, ci: c, oh, ow, co: c, kh, kw, stride, top, left };
    let runner = Runner::of(&x)?;
    let (y, taken) = launch::max_pool(&runner, &Array::of(&x)?, &g)?;
    record1("max_pool2d", &x, y.result((n, oh, ow, c))?, move |pass: &Pass<'_, 1>| {
        let dx = || {
            let dx = launch::max_pool_gradient(&runner, &Array::of(pass.grad)?, &taken, &g)?;
            dx.into_tensor(pass.args[0].shape())
        };
        Ok([pass.gradient(0, dx)?])
    })
}
