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
use crate::cpu::outer::OuterProducts;
use crate::cpu::panels::{load, store};
use crate::cpu::winograd::{POINTS, TILE, WINDOW, transform_input};
use crate::geometry::Geometry;

/// Transformed elements at a time: few enough for the last cache.
const CHUNK_ELEMENTS: usize = 1 << 21;

/// Tiles whose values of a point lie side by side.
const BLOCK: usize = 16;

/// Gradient of the packed weight, `[C_out][3][3][C_in]`, from the input `[N, H, W, C_in]` and the
/// gradient of the output `[N, H', W', C_out]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    let (down, across) = (g.oh.div_ceil(TILE), g.ow.div_ceil(TILE));
    let tiles = g.n * down * across;
    if tiles == 0 {
        return vec![0.0; g.co * 9 * g.ci];
    }
    let chunk = (CHUNK_ELEMENTS / (POINTS * (g.ci + g.co))).clamp(1, tiles).next_multiple_of(BLOCK);
    // `[36][BLOCK][C]` a block of tiles.
    let (inputs, outputs) = (POINTS * BLOCK * g.ci, POINTS * BLOCK * g.co);
    let mut products = Buffer::take(POINTS * g.co * g.ci);
    let (mut v, mut d) = (Buffer::take(chunk / BLOCK * inputs), Buffer::take(chunk / BLOCK * outputs));
    for first in (0..tiles).step_by(chunk) {
        let blocks = chunk.min(tiles - first).div_ceil(BLOCK);
        let v_blocks = v[..blocks * inputs].par_chunks_mut(inputs);
        v_blocks.zip(d[..blocks * outputs].par_chunks_mut(outputs)).enumerate().for_each(
            |(block, (v, d))| {
                for index in 0..BLOCK {
                    let tile = first + block * BLOCK + index;
                    let (v, d) = (&mut v[index * g.ci..], &mut d[index * g.co..]);
                    if tile >= tiles {
                        // The rest of the last block adds nothing.
                        v.chunks_mut(BLOCK * g.ci).for_each(|point| point[..g.ci].fill(0.0));
                        d.chunks_mut(BLOCK * g.co).for_each(|point| point[..g.co].fill(0.0));
                        continue;
                    }
                    let (n, at) =
                        (tile / (down * across), (tile / across % down * TILE, tile % across * TILE));
                    let image = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
                    let grad = &grad[n * g.oh * g.ow * g.co..][..g.oh * g.ow * g.co];
                    Arch::new().dispatch(Tile { image, grad, g, at, v, d });
                }
            },
        );
        products.par_chunks_mut(g.co * g.ci).enumerate().for_each(|(point, sums)| {
            if first == 0 {
                sums.fill(0.0);
            }
            let run = |block| {
                let tile = (block * POINTS + point) * BLOCK;
                (tile * g.co, tile * g.ci)
            };
            let runs: Vec<_> = (0..blocks).map(run).collect();
            Arch::new().dispatch(OuterProducts {
                runs: &runs,
                count: BLOCK,
                a: &d,
                a_step: g.co,
                b: &v,
                b_step: g.ci,
                sum: sums,
                sum_step: g.ci,
                rows: g.co,
                columns: g.ci,
            });
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
    /// The tile's row of each point; points lie `BLOCK` rows apart, of C_in elements.
    v: &'s mut [f32],
    /// As `v`, of C_out elements.
    d: &'s mut [f32],
}

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "an iterator over an array of vectors moves it to memory")]
    fn with_simd<S: Simd>(self, simd: S) {
        let (g, co, (y0, x0)) = (self.g, self.g.co, self.at);
        transform_input(simd, self.image, g, self.at, self.v, BLOCK * g.ci);
        let (height, width) = ((g.oh - y0).min(TILE), (g.ow - x0).min(TILE));
        let zero = simd.splat_f32s(0.0);
        // Columns beyond the image stay zero.
        let mut half = [[zero; TILE]; WINDOW];
        let mut channel = 0;
        while channel < co {
            let lanes = (co - channel).min(S::F32_LANES);
            for j in 0..width {
                let at = |i| ((y0 + i) * g.ow + x0 + j) * co + channel;
                let d = |i| if i < height { load(simd, &self.grad[at(i)..][..lanes]) } else { zero };
                let column = gradient_transform(simd, [d(0), d(1), d(2), d(3)]);
                for i in 0..WINDOW {
                    half[i][j] = column[i];
                }
            }
            for (i, row) in half.iter().enumerate() {
                let row = gradient_transform(simd, *row);
                for j in 0..WINDOW {
                    store(simd, &mut self.d[(i * WINDOW + j) * BLOCK * co + channel..][..lanes], row[j]);
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
    #[allow(clippy::needless_range_loop, reason = "an iterator over an array of vectors moves it to memory")]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ci, co) = (self.g.ci, self.g.co);
        let mut half = [[simd.splat_f32s(0.0); WINDOW]; 3];
        let mut channel = 0;
        while channel < ci {
            let lanes = (ci - channel).min(S::F32_LANES);
            for j in 0..WINDOW {
                let at = |i| ((i * WINDOW + j) * co + self.o) * ci + channel;
                let m = |i| load(simd, &self.products[at(i)..at(i) + lanes]);
                let column = filter_transform(simd, [m(0), m(1), m(2), m(3), m(4), m(5)]);
                for i in 0..3 {
                    half[i][j] = column[i];
                }
            }
            for (ky, row) in half.iter().enumerate() {
                let row = filter_transform(simd, *row);
                for kx in 0..3 {
                    store(simd, &mut self.filters[(ky * 3 + kx) * ci + channel..][..lanes], row[kx]);
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
