//! Dense convolution over channels-last images: a tile of output rows at a time is gathered into a matrix (one
//! row a position, `k_h k_w C_in` columns) and multiplied with the packed weight. The three products of
//! training are the same gather around a different multiplication.
//!
//! Tiles and partial sums are cut by shape alone, so a result has the same bits for any number of threads.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::Nonlinearity;
use crate::gemm::{Matrix, gemm};
use crate::host::vectorized;

/// Shape of a convolution. `top` and `left` zeros stand before the image; those after it follow from the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) ci: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) co: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) stride: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
}

impl Geometry {
    /// Columns of the gathered matrix.
    fn depth(&self) -> usize {
        self.kh * self.kw * self.ci
    }

    /// Whether the image itself is the gathered matrix.
    fn is_pointwise(&self) -> bool {
        (self.kh, self.kw, self.stride, self.top, self.left) == (1, 1, 1, 0, 0)
            && (self.oh, self.ow) == (self.h, self.w)
    }

    /// Output rows to a tile: enough positions to keep the multiplication busy, few enough to share the work.
    fn tile_rows(&self, positions: usize) -> usize {
        let all = self.n * self.oh;
        positions.div_ceil(self.ow.max(1)).min(all.div_ceil(8)).max(1)
    }
}

/// What is done to a tile while it is still in the cache.
pub(crate) struct Epilogue<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) nonlinearity: Nonlinearity,
}

pub(crate) const NO_EPILOGUE: Epilogue<'static> =
    Epilogue { bias: None, nonlinearity: Nonlinearity::Identity };

impl Epilogue<'_> {
    pub(crate) fn apply(&self, tile: &mut [f32], channels: usize) {
        vectorized(|| {
            if let Some(bias) = self.bias {
                for position in tile.chunks_exact_mut(channels) {
                    for (v, b) in position.iter_mut().zip(bias) {
                        *v += b;
                    }
                }
            }
            self.nonlinearity.apply(tile);
        });
    }
}

/// `[C_out][C_in][k_h][k_w]` to `[C_out][k_h][k_w][C_in]`.
pub(crate) fn pack(weight: &[f32], g: &Geometry) -> Vec<f32> {
    let (taps, ci) = (g.kh * g.kw, g.ci);
    let mut packed = vec![0.0; weight.len()];
    packed.par_chunks_mut((taps * ci).max(1)).zip(weight.par_chunks((taps * ci).max(1))).for_each(
        |(to, from)| {
            for tap in 0..taps {
                for c in 0..ci {
                    to[tap * ci + c] = from[c * taps + tap];
                }
            }
        },
    );
    packed
}

/// The inverse of [`pack`].
pub(crate) fn unpack(packed: &[f32], g: &Geometry) -> Vec<f32> {
    let (taps, ci) = (g.kh * g.kw, g.ci);
    let mut weight = vec![0.0; packed.len()];
    weight.par_chunks_mut((taps * ci).max(1)).zip(packed.par_chunks((taps * ci).max(1))).for_each(
        |(to, from)| {
            for tap in 0..taps {
                for c in 0..ci {
                    to[c * taps + tap] = from[tap * ci + c];
                }
            }
        },
    );
    weight
}

/// `[N, H, W, C_in]` to `[N, H', W', C_out]`.
pub(crate) fn forward(x: &[f32], packed: &[f32], g: &Geometry, epilogue: &Epilogue<'_>) -> Vec<f32> {
    let (depth, row) = (g.depth(), g.ow * g.co);
    let weight = Matrix::new(packed, g.co, depth).transposed();
    let mut y = vec![0.0; g.n * g.oh * row];
    let rows = g.tile_rows(if g.is_pointwise() { 1024 } else { 256 });
    y.par_chunks_mut(rows * row).enumerate().for_each(|(tile, y)| {
        let (first, count) = (tile * rows, y.len() / row);
        if g.is_pointwise() {
            let x = &x[first * g.w * g.ci..][..count * g.w * g.ci];
            gemm(y, Matrix::new(x, count * g.ow, depth), weight, false);
        } else {
            with_scratch(count * g.ow * depth, |columns| {
                gather(x, g, first, count, columns);
                gemm(y, Matrix::new(columns, count * g.ow, depth), weight, false);
            });
        }
        epilogue.apply(y, g.co);
    });
    y
}

/// Gradient of the output, `[N, H', W', C_out]`, to that of the input, `[N, H, W, C_in]`.
pub(crate) fn input_gradient(grad: &[f32], packed: &[f32], g: &Geometry) -> Vec<f32> {
    let (depth, row) = (g.depth(), g.ow * g.co);
    let weight = Matrix::new(packed, g.co, depth);
    let mut dx = vec![0.0; g.n * g.h * g.w * g.ci];
    if g.is_pointwise() {
        let rows = g.tile_rows(1024);
        dx.par_chunks_mut(rows * g.w * g.ci).zip(grad.par_chunks(rows * row)).for_each(|(dx, grad)| {
            gemm(dx, Matrix::new(grad, grad.len() / g.co, g.co), weight, false);
        });
        return dx;
    }
    // Windows overlap, so one image is one thread's.
    let rows = 256_usize.div_ceil(g.ow).min(g.oh);
    dx.par_chunks_mut(g.h * g.w * g.ci).zip(grad.par_chunks(g.oh * row)).for_each(|(dx, grad)| {
        for (tile, grad) in grad.chunks(rows * row).enumerate() {
            let positions = grad.len() / g.co;
            with_scratch(positions * depth, |columns| {
                gemm(columns, Matrix::new(grad, positions, g.co), weight, false);
                scatter_add(columns, g, tile * rows, positions / g.ow, dx);
            });
        }
    });
    dx
}

/// Gradient of the packed weight, `[C_out][k_h][k_w][C_in]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    const PARTIAL_ELEMENTS: usize = 1 << 24;
    let (depth, row, size) = (g.depth(), g.ow * g.co, g.co * g.depth());
    let rows = g.n * g.oh;
    // Partial sums over fixed ranges of rows, added in order.
    let ranges = (PARTIAL_ELEMENTS / size.max(1)).clamp(1, 8).min(rows.max(1));
    let range = rows.div_ceil(ranges).max(1);
    let tile = 512_usize.div_ceil(g.ow).max(1);
    let partials: Vec<Vec<f32>> = (0..rows.div_ceil(range))
        .into_par_iter()
        .map(|index| {
            let mut sum = vec![0.0; size];
            let end = ((index + 1) * range).min(rows);
            for first in (index * range..end).step_by(tile) {
                let count = tile.min(end - first);
                let grad = Matrix::new(&grad[first * row..][..count * row], count * g.ow, g.co);
                if g.is_pointwise() {
                    let x = &x[first * g.w * g.ci..][..count * g.w * g.ci];
                    gemm(&mut sum, grad.transposed(), Matrix::new(x, count * g.ow, depth), true);
                } else {
                    with_scratch(count * g.ow * depth, |columns| {
                        gather(x, g, first, count, columns);
                        gemm(&mut sum, grad.transposed(), Matrix::new(columns, count * g.ow, depth), true);
                    });
                }
            }
            sum
        })
        .collect();
    sum_in_order(partials, size)
}

/// Adds partial results in their order.
pub(crate) fn sum_in_order(partials: Vec<Vec<f32>>, size: usize) -> Vec<f32> {
    let mut partials = partials.into_iter();
    let mut total = partials.next().unwrap_or_else(|| vec![0.0; size]);
    for partial in partials {
        for (t, p) in total.iter_mut().zip(partial) {
            *t += p;
        }
    }
    total
}

/// Writes the windows of `count` output rows from row `first` on (counted through the whole batch) as rows of
/// `columns`.
fn gather(x: &[f32], g: &Geometry, first: usize, count: usize, columns: &mut [f32]) {
    let (ci, run) = (g.ci, g.kw * g.ci);
    let mut windows = columns.chunks_exact_mut(g.depth());
    for row in first..first + count {
        let image = &x[row / g.oh * g.h * g.w * ci..][..g.h * g.w * ci];
        let y0 = (row % g.oh * g.stride) as isize - g.top as isize;
        for ox in 0..g.ow {
            let Some(window) = windows.next() else { return };
            let (inside, skip, x0) = horizontal_run(ox, g);
            for (ky, to) in window.chunks_exact_mut(run).enumerate() {
                let iy = y0 + ky as isize;
                if iy < 0 || iy >= g.h as isize || inside == 0 {
                    to.fill(0.0);
                    continue;
                }
                let from = &image[(iy as usize * g.w + x0) * ci..][..inside * ci];
                if inside == g.kw {
                    to.copy_from_slice(from);
                } else {
                    to[..skip * ci].fill(0.0);
                    to[skip * ci..(skip + inside) * ci].copy_from_slice(from);
                    to[(skip + inside) * ci..].fill(0.0);
                }
            }
        }
    }
}

/// The transpose of [`gather`] for rows of one image: adds each window's columns back to where they came from.
fn scatter_add(columns: &[f32], g: &Geometry, first: usize, count: usize, image: &mut [f32]) {
    let (ci, run) = (g.ci, g.kw * g.ci);
    let mut windows = columns.chunks_exact(g.depth());
    vectorized(|| {
        for row in first..first + count {
            let y0 = (row * g.stride) as isize - g.top as isize;
            for ox in 0..g.ow {
                let Some(window) = windows.next() else { return };
                let (inside, skip, x0) = horizontal_run(ox, g);
                for (ky, from) in window.chunks_exact(run).enumerate() {
                    let iy = y0 + ky as isize;
                    if iy < 0 || iy >= g.h as isize || inside == 0 {
                        continue;
                    }
                    let to = &mut image[(iy as usize * g.w + x0) * ci..][..inside * ci];
                    for (t, f) in to.iter_mut().zip(&from[skip * ci..]) {
                        *t += f;
                    }
                }
            }
        }
    });
}

/// Of the window at output column `ox`: how many columns lie inside the image, how many before it, and the image
/// column of the first inside.
#[inline(always)]
fn horizontal_run(ox: usize, g: &Geometry) -> (usize, usize, usize) {
    let start = (ox * g.stride) as isize - g.left as isize;
    let skip = (-start).clamp(0, g.kw as isize) as usize;
    let end = (start + g.kw as isize).clamp(0, g.w as isize) as usize;
    let x0 = start.max(0) as usize;
    (end.saturating_sub(x0), skip, x0)
}

/// Lends the thread's buffer. The closure must not start parallel work, which could ask for the buffer again.
fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        work(&mut scratch[..len])
    })
}
