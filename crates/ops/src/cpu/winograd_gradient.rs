//! Gradient of the weight of a 3x3 convolution of stride 1, by the transpose of Winograd's F(4x4,
//! 3x3): input tiles and tiles of the output's gradient are transformed, multiplied point by point
//! and summed over all tiles; the sums are transformed back to filters. The method takes 36
//! multiplications for each tile and pair of channels instead of 144, and gathers no windows.
//!
//! One thread computes the sum of a point over the tiles in their order, so that a result has the
//! same bits for any number of threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::{Matrix, gemm};
use crate::cpu::panels::{load, store};
use crate::cpu::winograd::{POINTS, TILE, WINDOW, transform_input};
use crate::geometry::Geometry;

/// Transformed elements at a time: few enough for the last cache.
const CHUNK_ELEMENTS: usize = 1 << 21;

/// Gradient of the packed weight, `[C_out][3][3][C_in]`, from the input `[N, H, W, C_in]` and the
/// gradient of the output `[N, H', W', C_out]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    let (down, across) = (g.oh.div_ceil(TILE), g.ow.div_ceil(TILE));
    let tiles = g.n * down * across;
    let chunk = (CHUNK_ELEMENTS / (POINTS * (g.ci + g.co))).clamp(1, tiles.max(1));
    let (points_in, points_out) = (POINTS * g.ci, POINTS * g.co);
    let mut products = Buffer::take(POINTS * g.co * g.ci);
    let (mut v, mut d) = (Buffer::take(chunk * points_in), Buffer::take(chunk * points_out));
    for first in (0..tiles).step_by(chunk) {
        let count = chunk.min(tiles - first);
        let place = |index: usize| {
            let tile = first + index;
            (tile / (down * across), tile / across % down * TILE, tile % across * TILE)
        };
        let inputs = v[..count * points_in].par_chunks_mut(points_in);
        let gradients = d[..count * points_out].par_chunks_mut(points_out);
        inputs.zip(gradients).with_min_len(4).enumerate().for_each(|(index, (v, d))| {
            let (n, y, column) = place(index);
            let image = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
            let grad = &grad[n * g.oh * g.ow * g.co..][..g.oh * g.ow * g.co];
            Arch::new().dispatch(Tile { image, grad, g, at: (y, column), v, d });
        });
        products.par_chunks_mut(g.co * g.ci).enumerate().for_each(|(point, sums)| {
            let d = Matrix::strided(&d[point * g.co..], count, g.co, points_out);
            let v = Matrix::strided(&v[point * g.ci..], count, g.ci, points_in);
            gemm(sums, d.transposed(), v, first > 0);
        });
    }
    let mut weight = vec![0.0; g.co * 9 * g.ci];
    weight.par_chunks_mut(9 * g.ci).enumerate().for_each(|(o, filters)| {
        Arch::new().dispatch(Filters { products: &products, g, o, filters });
    });
    weight
}

/// One tile of the input and of the output's gradient, transformed.
struct Tile<'a, 's> {
    image: &'a [f32],
    grad: &'a [f32],
    g: &'a Geometry,
    /// First output row and column.
    at: (usize, usize),
    /// `[36][C_in]`
    v: &'s mut [f32],
    /// `[36][C_out]`
    d: &'s mut [f32],
}

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (g, co, (y0, x0)) = (self.g, self.g.co, self.at);
        transform_input(simd, self.image, g, self.at, self.v, g.ci);
        let (height, width) = ((g.oh - y0).min(TILE), (g.ow - x0).min(TILE));
        let zero = simd.splat_f32s(0.0);
        let mut channel = 0;
        while channel < co {
            let lanes = (co - channel).min(S::F32_LANES);
            let mut half = [[zero; TILE]; WINDOW];
            for j in 0..width {
                let mut column = [zero; TILE];
                for (i, value) in column.iter_mut().enumerate().take(height) {
                    let at = ((y0 + i) * g.ow + x0 + j) * co + channel;
                    *value = load(simd, &self.grad[at..at + lanes]);
                }
                for (half, value) in half.iter_mut().zip(gradient_transform(simd, column)) {
                    half[j] = value;
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                for (j, value) in gradient_transform(simd, row).into_iter().enumerate() {
                    store(simd, &mut self.d[(i * WINDOW + j) * co + channel..][..lanes], value);
                }
            }
            channel += lanes;
        }
    }
}

/// The filters of one output channel, `[3][3][C_in]`, from the sums of products,
/// `[36][C_out][C_in]`.
struct Filters<'a, 's> {
    products: &'a [f32],
    g: &'a Geometry,
    o: usize,
    filters: &'s mut [f32],
}

impl WithSimd for Filters<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ci, co) = (self.g.ci, self.g.co);
        let zero = simd.splat_f32s(0.0);
        let mut channel = 0;
        while channel < ci {
            let lanes = (ci - channel).min(S::F32_LANES);
            let mut half = [[zero; WINDOW]; 3];
            for j in 0..WINDOW {
                let mut column = [zero; WINDOW];
                for (i, value) in column.iter_mut().enumerate() {
                    let at = ((i * WINDOW + j) * co + self.o) * ci + channel;
                    *value = load(simd, &self.products[at..at + lanes]);
                }
                for (half, value) in half.iter_mut().zip(filter_transform(simd, column)) {
                    half[j] = value;
                }
            }
            for (ky, row) in half.into_iter().enumerate() {
                for (kx, value) in filter_transform(simd, row).into_iter().enumerate() {
                    store(simd, &mut self.filters[(ky * 3 + kx) * ci + channel..][..lanes], value);
                }
            }
            channel += lanes;
        }
    }
}

/// `A d`.
#[inline(always)]
fn gradient_transform<S: Simd>(simd: S, [d0, d1, d2, d3]: [S::f32s; TILE]) -> [S::f32s; WINDOW] {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (even, odd) = (simd.add_f32s(d0, d2), simd.add_f32s(d1, d3));
    let (even_by_two, odd_by_two) =
        (simd.mul_add_e_f32s(four, d2, d0), simd.mul_add_e_f32s(two, d1, simd.mul_f32s(eight, d3)));
    [
        d0,
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(even_by_two, odd_by_two),
        simd.sub_f32s(even_by_two, odd_by_two),
        d3,
    ]
}

/// `G^T m`.
#[inline(always)]
fn filter_transform<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::f32s; WINDOW]) -> [S::f32s; 3] {
    let part = |divisor: f32| simd.splat_f32s(1.0 / divisor);
    let (p, q) = (simd.add_f32s(m1, m2), simd.sub_f32s(m2, m1));
    let (r, s) = (simd.add_f32s(m3, m4), simd.sub_f32s(m3, m4));
    let minus_sixth = simd.mul_f32s(part(-6.0), p);
    [
        simd.mul_add_e_f32s(part(4.0), m0, simd.mul_add_e_f32s(part(24.0), r, minus_sixth)),
        simd.mul_add_e_f32s(part(6.0), q, simd.mul_f32s(part(12.0), s)),
        simd.add_f32s(m5, simd.mul_add_e_f32s(part(6.0), r, minus_sixth)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::winograd::tests::{geometry, values};

    /// The definition, in f64.
    fn naive(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f64> {
        let mut weight = vec![0.0; g.co * 9 * g.ci];
        for (position, grad) in grad.chunks_exact(g.co).enumerate() {
            let (n, oy, ox) = (position / (g.oh * g.ow), position / g.ow % g.oh, position % g.ow);
            for tap in 0..9 {
                let (iy, ix) = ((oy + tap / 3).wrapping_sub(g.top), (ox + tap % 3).wrapping_sub(g.left));
                if iy < g.h && ix < g.w {
                    let x = &x[((n * g.h + iy) * g.w + ix) * g.ci..][..g.ci];
                    for (o, d) in grad.iter().enumerate() {
                        for (i, x) in x.iter().enumerate() {
                            weight[(o * 9 + tap) * g.ci + i] += f64::from(*d) * f64::from(*x);
                        }
                    }
                }
            }
        }
        weight
    }

    /// The bound is a share of the root of the sum of squares of the products, as for the forward
    /// pass. The last shapes need several chunks.
    #[test]
    fn the_error_stays_within_the_stated_bound() {
        let shapes = [((1, 2), 16, 17, 1), ((13, 9), 19, 32, 1), ((6, 7), 16, 16, 0), ((70, 66), 128, 64, 1)];
        for ((h, w), ci, co, padding) in shapes {
            let g = geometry(2, (h, w), ci, co, padding);
            let positions = g.n * g.oh * g.ow;
            let (x, grad) = (values(g.n * h * w * ci, 1), values(positions * co, 2));
            let typical = (positions as f64).sqrt() / 3.0;
            let worst = weight_gradient(&x, &grad, &g)
                .iter()
                .zip(naive(&x, &grad, &g))
                .map(|(actual, expected)| (f64::from(*actual) - expected).abs() / typical)
                .fold(0.0, f64::max);
            assert!(worst < 5e-5, "{h}x{w}, {ci} to {co} channels: {worst:e}");
        }
    }
}
