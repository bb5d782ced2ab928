//! Input gradient of dense convolutions. With stride 1 it is a convolution again. Where windows do
//! not overlap it is a matrix product whose rows are parts of rows of the image. With a larger
//! stride every `stride`-th row and column belong to one phase, whose gradient is a convolution
//! with the taps that reach it. Padding that no phase can have leaves the products to be scattered
//! (col2im).

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::buffer::Buffer;
use crate::cpu::dense::{DenseWeight, forward, horizontal_run, pack};
use crate::cpu::host::vectorized;
use crate::cpu::panels::{Epilogue, Panels, multiply_matrix};
use crate::cpu::parallel::with_scratch;
use crate::cpu::target::Target;
use crate::geometry::Geometry;

/// A weight in the form in which [`input_gradient`] multiplies it.
#[derive(Debug, Clone)]
pub(crate) enum AdjointWeight {
    /// The weight of [`Geometry::adjoint`].
    Convolution(DenseWeight),
    /// `[C_out, k_w C_in]` for each row of windows that do not overlap.
    Disjoint(Vec<Panels>),
    /// The weights of the phases of the rows and columns, row by row; `None` where no tap reaches
    /// one.
    Phases(Vec<Option<DenseWeight>>),
    /// `[C_out, k_h k_w C_in]`; the products are scattered.
    Scattered(Panels),
}

impl AdjointWeight {
    /// Packs `weight`, `[C_out][C_in][k_h][k_w]`.
    pub(crate) fn new(weight: &[f32], g: &Geometry) -> Self {
        let taps = g.kh * g.kw;
        if g.is_disjoint() {
            let element = |o, i, tap| weight[(o * g.ci + i) * taps + tap];
            return Self::Disjoint(
                (0..g.kh)
                    .map(|ky| {
                        Panels::new(g.co, g.kw * g.ci, |o, row| {
                            for (column, value) in row.iter_mut().enumerate() {
                                *value = element(o, column % g.ci, ky * g.kw + column / g.ci);
                            }
                        })
                    })
                    .collect(),
            );
        }
        if !g.has_adjoint() {
            let Some(phases) = Phase::all(g) else {
                let (packed, depth) = (pack(weight, g), g.depth());
                return Self::Scattered(Panels::new(g.co, depth, |o, row| {
                    row.copy_from_slice(&packed[o * depth..][..depth]);
                }));
            };
            let weights = phases.iter().map(|phase| {
                // Input and output change places. The taps lie in the order of what they read.
                let geometry = phase.geometry(g)?;
                Some(DenseWeight::pack(&geometry, |o, i, ky, kx| {
                    weight[(i * g.ci + o) * taps + phase.rows.tap(ky, g) * g.kw + phase.columns.tap(kx, g)]
                }))
            });
            return Self::Phases(weights.collect());
        }
        // Input and output change places, and the kernel is turned by 180 degrees.
        Self::Convolution(DenseWeight::pack(&g.adjoint(), |o, i, ky, kx| {
            weight[(i * g.ci + o) * taps + (taps - 1 - ky * g.kw - kx)]
        }))
    }
}

/// Gradient of the output, `[N, H', W', C_out]`, to that of the input, `[N, H, W, C_in]`, every
/// element of which is written.
pub(crate) fn input_gradient(
    grad: &[f32],
    weight: &AdjointWeight,
    g: &Geometry,
    epilogue: &Epilogue<'_>,
    dx: Target<'_>,
) {
    let panels = match weight {
        AdjointWeight::Convolution(weight) => return forward(grad, weight, &g.adjoint(), epilogue, dx),
        AdjointWeight::Disjoint(panels) => return disjoint_gradient(grad, panels, g, epilogue, dx),
        AdjointWeight::Phases(weights) => return phase_gradient(grad, weights, g, epilogue, dx.whole()),
        AdjointWeight::Scattered(panels) => panels,
    };
    let (depth, row) = (g.depth(), g.ow * g.co);
    // Windows overlap, so that each image belongs to one thread.
    let rows = 256_usize.div_ceil(g.ow).min(g.oh);
    let image = g.h * g.w * g.ci;
    dx.pieces(image, image, |n, _, dx| {
        let grad = &grad[n * g.oh * row..][..g.oh * row];
        dx.fill(0.0);
        for (tile, grad) in grad.chunks(rows * row).enumerate() {
            let positions = grad.len() / g.co;
            with_scratch(positions * depth, |columns| {
                Arch::new().dispatch(Products { grad, panels, out: &mut *columns });
                scatter_add(columns, g, tile * rows, positions / g.ow, dx);
            });
        }
        let residual = epilogue.residual.map(|r| &r[n * image..][..image]);
        Epilogue { residual, ..*epilogue }.apply(dx, g.ci);
    });
}

/// Every `stride`-th position of an axis of the input, from `first` on.
#[derive(Debug, Clone, Copy)]
struct AxisPhase {
    first: usize,
    /// Positions of the phase.
    count: usize,
    /// The smallest tap that reaches it; every `stride`-th does.
    tap: usize,
    /// Number of these taps.
    taps: usize,
    /// Zeros before the gradient.
    before: usize,
}

impl AxisPhase {
    /// The phase from `first` on, of an axis of `size` with a kernel of `kernel` and `before`
    /// zeros; `None` where the convolution would begin inside of the gradient.
    fn new(first: usize, size: usize, kernel: usize, stride: usize, before: usize) -> Option<Self> {
        let tap = (first + before) % stride;
        let taps = kernel.saturating_sub(tap).div_ceil(stride);
        // Position `j` reads the gradient from `j + shift - (taps - 1)` to `j + shift`.
        let shift = (first + before - tap) / stride;
        let before = if taps == 0 { 0 } else { (taps - 1).checked_sub(shift)? };
        Some(Self { first, count: size.saturating_sub(first).div_ceil(stride), tap, taps, before })
    }

    /// The tap that reads the gradient at place `place` of a window.
    fn tap(&self, place: usize, g: &Geometry) -> usize {
        self.tap + (self.taps - 1 - place) * g.stride
    }
}

/// The positions of the input that the same taps reach.
struct Phase {
    rows: AxisPhase,
    columns: AxisPhase,
}

impl Phase {
    /// All phases, row by row.
    fn all(g: &Geometry) -> Option<Vec<Self>> {
        let axis = |size, kernel, before| -> Option<Vec<AxisPhase>> {
            (0..g.stride).map(|first| AxisPhase::new(first, size, kernel, g.stride, before)).collect()
        };
        let (rows, columns) = (axis(g.h, g.kh, g.top)?, axis(g.w, g.kw, g.left)?);
        let pairs = rows.iter().flat_map(|&rows| columns.iter().map(move |&columns| Self { rows, columns }));
        Some(pairs.collect())
    }

    /// The convolution of the gradient that gives the phase; `None` where no tap reaches it.
    fn geometry(&self, g: &Geometry) -> Option<Geometry> {
        let (rows, columns) = (&self.rows, &self.columns);
        (rows.taps > 0 && columns.taps > 0).then_some(Geometry {
            n: g.n,
            h: g.oh,
            w: g.ow,
            ci: g.co,
            oh: rows.count,
            ow: columns.count,
            co: g.ci,
            kh: rows.taps,
            kw: columns.taps,
            stride: 1,
            top: rows.before,
            left: columns.before,
        })
    }
}

/// [`input_gradient`] phase by phase.
fn phase_gradient(
    grad: &[f32],
    weights: &[Option<DenseWeight>],
    g: &Geometry,
    epilogue: &Epilogue<'_>,
    dx: &mut [f32],
) {
    let (line, stride) = (g.w * g.ci, g.stride);
    for (phase, weight) in Phase::all(g).into_iter().flatten().zip(weights) {
        let (rows, columns) = (phase.rows, phase.columns);
        if rows.count == 0 || columns.count == 0 {
            continue;
        }
        let geometry = phase.geometry(g);
        let part = geometry.zip(weight.as_ref()).map(|(geometry, weight)| {
            let mut part = Buffer::take(g.n * rows.count * columns.count * g.ci);
            forward(grad, weight, &geometry, &Epilogue::NONE, Target::from(&mut *part));
            part
        });
        // The rows of the phase, each between those of the others.
        let width = columns.count * g.ci;
        dx.par_chunks_mut(g.h * line).enumerate().for_each(|(n, image)| {
            let lines = image.chunks_exact_mut(line).skip(rows.first).step_by(stride);
            for (row, line) in lines.enumerate() {
                let pixels = line.chunks_exact_mut(g.ci).skip(columns.first).step_by(stride);
                match &part {
                    None => pixels.for_each(|pixel| pixel.fill(0.0)),
                    Some(part) => {
                        let from = &part[(n * rows.count + row) * width..][..width];
                        for (pixel, from) in pixels.zip(from.chunks_exact(g.ci)) {
                            pixel.copy_from_slice(from);
                        }
                    }
                }
            }
        });
    }
    let image = g.h * line;
    dx.par_chunks_mut(image).enumerate().for_each(|(n, dx)| {
        let residual = epilogue.residual.map(|r| &r[n * image..][..image]);
        Epilogue { residual, ..*epilogue }.apply(dx, g.ci);
    });
}

/// [`input_gradient`] where windows do not overlap: a product's row is a part of one row of the
/// image.
fn disjoint_gradient(grad: &[f32], panels: &[Panels], g: &Geometry, epilogue: &Epilogue<'_>, dx: Target<'_>) {
    let (row, line) = (g.ow * g.co, g.w * g.ci);
    // Enough positions to use a weight often while it is in the cache, few enough to occupy all
    // threads.
    let rows = 64_usize.div_ceil(g.ow).min((g.n * g.oh).div_ceil(8)).max(1);
    let band = rows * g.stride * line;
    dx.pieces(g.n * g.h * line, band, |_, index, dx| {
        let grad = &grad[index * rows * row..((index + 1) * rows * row).min(grad.len())];
        let count = grad.len() / g.co;
        with_scratch(count * g.kw * g.ci, |products| {
            for (ky, panels) in panels.iter().enumerate() {
                Arch::new().dispatch(Products { grad, panels, out: &mut *products });
                for (from, to) in products.chunks_exact(line).zip(dx.chunks_exact_mut(g.stride * line)) {
                    to[ky * line..][..line].copy_from_slice(from);
                }
            }
        });
        let residual = epilogue.residual.map(|r| &r[index * band..][..dx.len()]);
        Epilogue { residual, ..*epilogue }.apply(dx, g.ci);
    });
}

/// `out = grad x panels`.
struct Products<'a, 'y> {
    grad: &'a [f32],
    panels: &'a Panels,
    out: &'y mut [f32],
}

impl WithSimd for Products<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        multiply_matrix(simd, self.grad, self.panels.view(), &Epilogue::NONE, self.out);
    }
}

/// The transpose of gathering windows (col2im) for rows of one image: adds each column of a window
/// to its pixel.
fn scatter_add(columns: &[f32], g: &Geometry, first: usize, count: usize, image: &mut [f32]) {
    let (ci, run) = (g.ci, g.kw * g.ci);
    let mut windows = columns.chunks_exact(g.depth());
    vectorized(
        #[inline(always)]
        || {
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
        },
    );
}
