//! The launches of operators on maps, f32.

use candle_core::Result;

use super::super::gpu::Argument::{In, Int, Out};
use super::super::gpu::{Argument, Gpu, THREADS, each, int, number};

/// Maps of `h` x `w`, resampled to `height` x `width`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) align_corners: bool,
}

impl Grid {
    fn arguments<'a, M>(&self) -> Result<[Argument<'a, M>; 6]> {
        let Self { n, h, w, height, width, align_corners } = *self;
        int(n * height.max(h) * width.max(w))?;
        let align = Int(i32::from(align_corners));
        Ok([number(n)?, number(h)?, number(w)?, number(height)?, number(width)?, align])
    }
}

/// The use that [`upsample_bilinear`] makes of the result before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    Set,
    Add,
    Multiply,
}

/// Maps `x` resampled, into `y`.
pub(crate) fn upsample_bilinear<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    y: &G::Memory,
    grid: &Grid,
    combine: Combine,
) -> Result<()> {
    let combine = match combine {
        Combine::Set => 0,
        Combine::Add => 1,
        Combine::Multiply => 2,
    };
    let arrays = [In(x), Out(y)];
    let arguments: Vec<_> = arrays.into_iter().chain(grid.arguments()?).chain([Int(combine)]).collect();
    gpu.launch("upsample_bilinear", each(grid.n * grid.height * grid.width), THREADS, &arguments)
}

/// The gradient of the input of [`upsample_bilinear`].
pub(crate) fn upsample_bilinear_gradient<G: Gpu>(
    gpu: &G,
    grad: &G::Memory,
    grid: &Grid,
) -> Result<G::Memory> {
    let length = grid.n * grid.h * grid.w;
    let dx = gpu.floats(length)?;
    let arguments: Vec<_> = [In(grad), Out(&dx)].into_iter().chain(grid.arguments()?).collect();
    gpu.launch("upsample_bilinear_gradient", each(length), THREADS, &arguments)?;
    Ok(dx)
}

/// Blurs `n` maps of `h` x `w` by `2 radius + 1` weights, along both axes.
pub(crate) fn blur<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    (weights, radius): (&G::Memory, usize),
    (n, h, w): (usize, usize, usize),
) -> Result<G::Memory> {
    let length = n * h * w;
    int(length)?;
    let pass = |x: &G::Memory, along_columns: bool| {
        let y = gpu.floats(length)?;
        let numbers = [number(n)?, number(h)?, number(w)?, number(radius)?, Int(i32::from(along_columns))];
        let arguments: Vec<_> = [In(x), In(weights), Out(&y)].into_iter().chain(numbers).collect();
        gpu.launch("blur", each(length), THREADS, &arguments)?;
        Ok(y)
    };
    pass(&pass(x, false)?, true)
}
