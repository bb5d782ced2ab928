//! Dense convolution over channels-last images as implicit GEMM: the rows of a window are
//! multiplied with the packed weight where they lie, and with the gradient of the output for the
//! gradient of the weight.
//!
//! Tiles and partial sums are cut by shape alone, so that a result has the same bits for any number
//! of threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::host::vectorized;
use crate::cpu::layout::interleave;
use crate::cpu::outer::OuterProducts;
use crate::cpu::panels::{Epilogue, Panels, Rows, multiply, multiply_matrix};
use crate::cpu::parallel::{sum_in_order, with_scratch};
use crate::cpu::target::{Target, computed};
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
    let rows = TILE_ELEMENTS / (g.stride * line_width(g).unwrap_or(g.w) * g.ci).max(1);
    let rows = rows.min((g.n * g.oh).div_ceil(8)).clamp(1, g.oh);
    y.pieces(image, rows * row, |n, tile, y| {
        let x = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
        let (first, count) = (tile * rows, y.len() / row);
        let residual = epilogue.residual.map(|r| &r[n * image + first * row..][..y.len()]);
        let epilogue = Epilogue { residual, ..*epilogue };
        with_lines(x, g, first, count, |x, width| {
            Arch::new().dispatch(Tile { x, panels, g, width, epilogue, y });
        });
    });
}

/// Columns of a row with the zeros around it; `None` where no window needs zeros.
fn line_width(g: &Geometry) -> Option<usize> {
    let (reach_h, reach_w) = ((g.oh - 1) * g.stride + g.kh, (g.ow - 1) * g.stride + g.kw);
    (g.top + g.left > 0 || reach_h > g.h || reach_w > g.w).then_some(reach_w)
}

/// Calls `work` with the rows of an image that `count` output rows read, from row `first` on, with
/// the zeros around the image, and with their width in columns. Rows are copied only for the sake
/// of zeros.
fn with_lines(x: &[f32], g: &Geometry, first: usize, count: usize, work: impl FnOnce(&[f32], usize)) {
    match line_width(g) {
        None => work(&x[first * g.stride * g.w * g.ci..], g.w),
        Some(width) => with_scratch(((count - 1) * g.stride + g.kh) * width * g.ci, |lines| {
            pad(x, g, first * g.stride, width, lines);
            work(lines, width);
        }),
    }
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
            multiply_matrix(simd, x, panels.view(), &epilogue, y);
        } else {
            let base = |p| (p / g.ow * width + p % g.ow) * g.stride * g.ci;
            let rows = Rows { data: x, count, base, runs: g.kh, run, run_stride: width * g.ci };
            multiply(simd, &rows, panels.view(), &epilogue, y);
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
pub(crate) fn unpack(packed: Vec<f32>, g: &Geometry) -> Vec<f32> {
    let (taps, ci) = (g.kh * g.kw, g.ci);
    if taps == 1 {
        return packed;
    }
    let (len, filter) = (packed.len(), taps * ci);
    let piece = |o: usize, to: &mut [f32]| {
        let from = &packed[o * filter..][..filter];
        vectorized(
            #[inline(always)]
            || match taps {
                // The usual numbers for themselves: the compiler then knows the distance of writes.
                4 => interleave(from, ci, 0, to.as_chunks_mut::<4>().0),
                9 => interleave(from, ci, 0, to.as_chunks_mut::<9>().0),
                _ => {
                    for tap in 0..taps {
                        for c in 0..ci {
                            to[c * taps + tap] = from[tap * ci + c];
                        }
                    }
                }
            },
        );
    };
    computed(len, |weight| weight.pieces(len, filter, |_, o, to| piece(o, to)))
}

/// Gradient of the packed weight, `[C_out][k_h][k_w][C_in]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    const PARTIAL_ELEMENTS: usize = 1 << 24;
    /// Positions to a block, whose rows stay in the first-level cache.
    const POSITIONS: usize = 128;
    if winograd::applies(g) {
        return winograd_gradient::weight_gradient(x, grad, g);
    }
    let (depth, row, size) = (g.depth(), g.ow * g.co, g.co * g.depth());
    // As many blocks as a few threads need, too.
    let rows = POSITIONS.div_ceil(g.ow.max(1)).min((g.n * g.oh).div_ceil(8)).clamp(1, g.oh.max(1));
    let blocks = g.oh.div_ceil(rows);
    // Partial sums over fixed ranges of blocks, added in order.
    let ranges = (PARTIAL_ELEMENTS / size.max(1)).clamp(1, 8);
    let range = (g.n * blocks).div_ceil(ranges).max(1);
    let partials: Vec<Vec<f32>> = (0..(g.n * blocks).div_ceil(range))
        .into_par_iter()
        .map(|index| {
            let mut sum = vec![0.0; size];
            for block in index * range..((index + 1) * range).min(g.n * blocks) {
                let (n, first) = (block / blocks, block % blocks * rows);
                let count = rows.min(g.oh - first);
                let x = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
                let grad = &grad[(n * g.oh + first) * row..][..count * row];
                with_lines(x, g, first, count, |lines, width| {
                    let line = width * g.ci;
                    for ky in 0..g.kh {
                        let runs: Vec<_> =
                            (0..count).map(|r| (r * row, (r * g.stride + ky) * line)).collect();
                        Arch::new().dispatch(OuterProducts {
                            runs: &runs,
                            count: g.ow,
                            a: grad,
                            a_step: g.co,
                            b: lines,
                            b_step: g.stride * g.ci,
                            sum: &mut sum[ky * g.kw * g.ci..],
                            sum_step: depth,
                            rows: g.co,
                            columns: g.kw * g.ci,
                        });
                    }
                });
            }
            sum
        })
        .collect();
    sum_in_order(partials, size)
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
