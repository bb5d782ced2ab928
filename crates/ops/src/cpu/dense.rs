//! Dense convolution over channels-last images as implicit GEMM: the rows of a window are
//! multiplied with the packed weight where they lie. The weight gradient, where Winograd's method
//! does not apply, gathers windows into a matrix (im2col), a tile of output rows at a time.
//!
//! Tiles and partial sums are cut by shape alone, so that a result has the same bits for any number
//! of threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::gemm::{Matrix, gemm};
use crate::cpu::panels::{Epilogue, Panels, Rows, multiply, multiply_matrix};
use crate::cpu::parallel::{sum_in_order, with_scratch};
use crate::cpu::target::Target;
use crate::cpu::winograd::{self, WinogradWeight};
use crate::cpu::winograd_gradient;
use crate::geometry::Geometry;

/// A weight in the form in which [`forward`] multiplies it.
#[derive(Debug, Clone)]
pub(crate) enum DenseWeight {
    /// `[k_h k_w C_in, C_out]`.
    Direct(Panels),
    Winograd(WinogradWeight),
}

impl DenseWeight {
    /// Packs `weight`, `[C_out][C_in][k_h][k_w]`.
    pub(crate) fn new(weight: &[f32], g: &Geometry) -> Self {
        let taps = g.kh * g.kw;
        Self::pack(g, |o, i, ky, kx| weight[(o * g.ci + i) * taps + ky * g.kw + kx])
    }

    pub(crate) fn pack(g: &Geometry, element: impl Fn(usize, usize, usize, usize) -> f32 + Sync) -> Self {
        if winograd::applies(g) {
            return Self::Winograd(WinogradWeight::new(g.ci, g.co, element));
        }
        Self::Direct(Panels::new(g.depth(), g.co, |k, row| {
            let (tap, i) = (k / g.ci, k % g.ci);
            for (o, value) in row.iter_mut().enumerate() {
                *value = element(o, i, tap / g.kw, tap % g.kw);
            }
        }))
    }
}

/// `[N, H, W, C_in]` to `[N, H', W', C_out]`, every element of which is written.
pub(crate) fn forward(x: &[f32], weight: &DenseWeight, g: &Geometry, epilogue: &Epilogue<'_>, y: Target<'_>) {
    match weight {
        DenseWeight::Direct(panels) => direct(x, panels, g, epilogue, y),
        DenseWeight::Winograd(weight) => winograd::forward(x, weight, g, epilogue, y),
    }
}

/// Input elements to a tile: the tile and a panel of the weight stay in the second-level cache.
const TILE_ELEMENTS: usize = 1 << 15;

/// Multiplies windows where they lie. An image that needs zeros around it is copied, a few rows at
/// a time, into a buffer that has the zeros.
fn direct(x: &[f32], panels: &Panels, g: &Geometry, epilogue: &Epilogue<'_>, y: Target<'_>) {
    let (image, row) = (g.oh * g.ow * g.co, g.ow * g.co);
    let (reach_h, reach_w) = ((g.oh - 1) * g.stride + g.kh, (g.ow - 1) * g.stride + g.kw);
    let padded = g.top + g.left > 0 || reach_h > g.h || reach_w > g.w;
    let width = if padded { reach_w } else { g.w };
    let rows = TILE_ELEMENTS / (g.stride * width * g.ci).max(1);
    let rows = rows.min((g.n * g.oh).div_ceil(8)).clamp(1, g.oh);
    y.pieces(image, rows * row, |n, tile, y| {
        let x = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
        let (first, count) = (tile * rows, y.len() / row);
        let residual = epilogue.residual.map(|r| &r[n * image + first * row..][..y.len()]);
        let epilogue = Epilogue { residual, ..*epilogue };
        let mut multiply = |x: &[f32]| Arch::new().dispatch(Tile { x, panels, g, width, epilogue, y });
        if padded {
            with_scratch(((count - 1) * g.stride + g.kh) * width * g.ci, |lines| {
                pad(x, g, first * g.stride, width, lines);
                multiply(lines);
            });
        } else {
            multiply(&x[first * g.stride * width * g.ci..]);
        }
    });
}

/// One tile of [`direct`]: `x` begins with the first input row of the first window.
struct Tile<'a, 'y> {
    x: &'a [f32],
    panels: &'a Panels,
    g: &'a Geometry,
    width: usize,
    epilogue: Epilogue<'a>,
    y: &'y mut [f32],
}

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, panels, g, width, epilogue, y } = self;
        let (count, run) = (y.len() / g.co, g.kw * g.ci);
        if g.is_pointwise() {
            multiply_matrix(simd, x, panels, &epilogue, y);
        } else {
            let base = |p| (p / g.ow * width + p % g.ow) * g.stride * g.ci;
            let rows = Rows { data: x, count, base, runs: g.kh, run, run_stride: width * g.ci };
            multiply(simd, &rows, panels, &epilogue, y);
        }
    }
}

/// Copies input rows to `lines`, the first being row `first` of the padded image, with zeros around
/// the image.
fn pad(x: &[f32], g: &Geometry, first: usize, width: usize, lines: &mut [f32]) {
    let (left, line) = (g.left * g.ci, g.w * g.ci);
    for (index, to) in lines.chunks_exact_mut(width * g.ci).enumerate() {
        match (first + index).checked_sub(g.top).filter(|&y| y < g.h) {
            None => to.fill(0.0),
            Some(y) => {
                // A single window may end before the image begins.
                let left = left.min(to.len());
                let inside = line.min(to.len() - left);
                to[..left].fill(0.0);
                to[left..left + inside].copy_from_slice(&x[y * line..][..inside]);
                to[left + inside..].fill(0.0);
            }
        }
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

/// Gradient of the packed weight, `[C_out][k_h][k_w][C_in]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    const PARTIAL_ELEMENTS: usize = 1 << 24;
    if winograd::applies(g) {
        return winograd_gradient::weight_gradient(x, grad, g);
    }
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

/// Writes the windows of `count` output rows as rows of `columns`, from row `first` of the whole
/// batch on.
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

/// The window at output column `ox`: the number of its columns inside the image, the number before
/// the image, and the image column of the first inside.
#[inline(always)]
pub(crate) fn horizontal_run(ox: usize, g: &Geometry) -> (usize, usize, usize) {
    let start = (ox * g.stride) as isize - g.left as isize;
    let skip = (-start).clamp(0, g.kw as isize) as usize;
    let end = (start + g.kw as isize).clamp(0, g.w as isize) as usize;
    let x0 = start.max(0) as usize;
    (end.saturating_sub(x0), skip, x0)
}
