//! Input gradient of dense convolutions. With stride 1 it is a convolution again. Where windows do
//! not overlap it is a matrix product whose rows are parts of rows of the image. Otherwise the
//! products are scattered (col2im).

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::dense::{DenseWeight, forward, horizontal_run, pack};
use crate::cpu::gemm::{Matrix, gemm};
use crate::cpu::host::vectorized;
use crate::cpu::panels::{Epilogue, Panels, multiply_matrix};
use crate::cpu::parallel::with_scratch;
use crate::geometry::Geometry;

/// A weight in the form in which [`input_gradient`] multiplies it.
#[derive(Debug, Clone)]
pub(crate) enum AdjointWeight {
    /// The weight of [`Geometry::adjoint`].
    Convolution(DenseWeight),
    /// `[C_out, k_w C_in]` for each row of windows that do not overlap.
    Disjoint(Vec<Panels>),
    /// The result of [`pack`]; the products are scattered.
    Scattered(Vec<f32>),
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
            return Self::Scattered(pack(weight, g));
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
    dx: &mut [f32],
) {
    let packed = match weight {
        AdjointWeight::Convolution(weight) => return forward(grad, weight, &g.adjoint(), epilogue, dx),
        AdjointWeight::Disjoint(panels) => return disjoint_gradient(grad, panels, g, epilogue, dx),
        AdjointWeight::Scattered(packed) => packed,
    };
    let (depth, row) = (g.depth(), g.ow * g.co);
    let weight = Matrix::new(packed, g.co, depth);
    // Windows overlap, so that each image belongs to one thread.
    let rows = 256_usize.div_ceil(g.ow).min(g.oh);
    let image = g.h * g.w * g.ci;
    let images = dx.par_chunks_mut(image).zip(grad.par_chunks(g.oh * row));
    images.enumerate().for_each(|(n, (dx, grad))| {
        dx.fill(0.0);
        for (tile, grad) in grad.chunks(rows * row).enumerate() {
            let positions = grad.len() / g.co;
            with_scratch(positions * depth, |columns| {
                gemm(columns, Matrix::new(grad, positions, g.co), weight, false);
                scatter_add(columns, g, tile * rows, positions / g.ow, dx);
            });
        }
        let residual = epilogue.residual.map(|r| &r[n * image..][..image]);
        Epilogue { residual, ..*epilogue }.apply(dx, g.ci);
    });
}

/// [`input_gradient`] where windows do not overlap: a product's row is a part of one row of the
/// image.
fn disjoint_gradient(grad: &[f32], panels: &[Panels], g: &Geometry, epilogue: &Epilogue<'_>, dx: &mut [f32]) {
    let (row, line) = (g.ow * g.co, g.w * g.ci);
    // Enough positions to use a weight often while it is in the cache, few enough to occupy all
    // threads.
    let rows = 64_usize.div_ceil(g.ow).min((g.n * g.oh).div_ceil(8)).max(1);
    let band = rows * g.stride * line;
    dx.par_chunks_mut(band).zip(grad.par_chunks(rows * row)).enumerate().for_each(|(index, (dx, grad))| {
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
        multiply_matrix(simd, self.grad, self.panels, &Epilogue::NONE, self.out);
    }
}

/// The transpose of gathering windows (col2im) for rows of one image: adds each column of a window
/// to its pixel.
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
