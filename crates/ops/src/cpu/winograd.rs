//! 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016,
//! arXiv:1509.09308): 36 multiplications for 16 outputs instead of 144.
//!
//! A strip of output tiles is transformed, multiplied and transformed back while it is in the
//! cache. Every output is computed alone, so that neither the cut into strips nor the number of
//! threads changes a bit.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::host::vectorized;
use crate::cpu::panels::{Epilogue, PanelsRef, load, machine_lanes, multiply_matrix, store};
use crate::cpu::parallel::with_scratch;
use crate::cpu::target::{Target, computed};
use crate::geometry::Geometry;

/// Side of an output tile.
pub(crate) const TILE: usize = 4;
/// Side of the input that a tile reads.
pub(crate) const WINDOW: usize = TILE + 2;
/// Products for each tile and pair of channels.
pub(crate) const POINTS: usize = WINDOW * WINDOW;

/// The filter transform `G`, 6x3.
const G: [[f64; 3]; WINDOW] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A transformed weight: one `[C_in, C_out]` matrix in panels for each of the 36 points. A panel of
/// each point lies beside those of the others: `[panels][36][C_in][2 lanes]`.
#[derive(Debug, Clone)]
pub(crate) struct WinogradWeight {
    data: Vec<f32>,
    ci: usize,
    co: usize,
    lanes: usize,
}

/// True if the method applies and pays: with few channels the transforms cost more than the
/// multiplications that they save. The size of the image does not count, so that a weight can be
/// packed before any image is known.
pub(crate) fn applies(g: &Geometry) -> bool {
    (g.kh, g.kw, g.stride) == (3, 3, 1) && g.ci >= 16 && g.co >= 16
}

impl WinogradWeight {
    /// `element(o, i, ky, kx)` is the weight from input channel `i` to output channel `o`.
    pub(crate) fn new(
        ci: usize,
        co: usize,
        element: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        Self::with_lanes(machine_lanes(), ci, co, element)
    }

    fn with_lanes(
        lanes: usize,
        ci: usize,
        co: usize,
        element: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        /// Input channels at a time, whose points stay in the cache.
        const ROWS: usize = 16;
        let width = 2 * lanes;
        let (point, panel) = (ci * width, POINTS * ci * width);
        let fill = |index: usize, panel: &mut [f32]| {
            for first in (0..ci).step_by(ROWS) {
                let rows = ROWS.min(ci - first);
                with_scratch(POINTS * rows * width, |points| {
                    for row in 0..rows {
                        for column in (0..width).step_by(FILTERS) {
                            let filters = FILTERS.min(width - column);
                            let mut taps = [[0.0; FILTERS]; 9];
                            for k in 0..filters {
                                let o = index * width + column + k;
                                for (tap, values) in taps.iter_mut().enumerate() {
                                    values[k] = match o < co {
                                        true => f64::from(element(o, first + row, tap / 3, tap % 3)),
                                        false => 0.0,
                                    };
                                }
                            }
                            let to = &mut points[row * width + column..];
                            vectorized(
                                #[inline(always)]
                                || transform(&taps, to, rows * width, filters),
                            );
                        }
                    }
                    for (from, to) in points.chunks_exact(rows * width).zip(panel.chunks_exact_mut(point)) {
                        to[first * width..][..rows * width].copy_from_slice(from);
                    }
                });
            }
        };
        let len = co.div_ceil(width) * panel;
        let data = computed(len, |data| data.pieces(len, panel, |_, index, panel| fill(index, panel)));
        Self { data, ci, co, lanes }
    }

    /// The matrix of a point.
    fn point(&self, point: usize) -> PanelsRef<'_> {
        let size = self.ci * 2 * self.lanes;
        let data = &self.data[point * size..];
        PanelsRef { data, step: POINTS * size, depth: self.ci, columns: self.co, lanes: self.lanes }
    }
}

/// Filters that are transformed together.
const FILTERS: usize = 8;

/// `G g G^T` of some filters: tap by tap the values of all, to point by point, `step` apart, the
/// first `count` of them.
#[inline(always)]
fn transform(taps: &[[f64; FILTERS]; 9], points: &mut [f32], step: usize, count: usize) {
    for (row, u) in G.iter().enumerate() {
        let mut half = [[0.0; FILTERS]; 3];
        for (kx, half) in half.iter_mut().enumerate() {
            for (k, value) in half.iter_mut().enumerate() {
                *value = u[0] * taps[kx][k] + u[1] * taps[3 + kx][k] + u[2] * taps[6 + kx][k];
            }
        }
        for (column, v) in G.iter().enumerate() {
            let mut sums = [0.0_f32; FILTERS];
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = (half[0][k] * v[0] + half[1][k] * v[1] + half[2][k] * v[2]) as f32;
            }
            points[(row * WINDOW + column) * step..][..count].copy_from_slice(&sums[..count]);
        }
    }
}

/// `[N, H, W, C_in]` to `[N, H', W', C_out]`, every element of which is written.
pub(crate) fn forward(
    x: &[f32],
    weight: &WinogradWeight,
    g: &Geometry,
    epilogue: &Epilogue<'_>,
    y: Target<'_>,
) {
    let across = g.ow.div_ceil(TILE);
    // Enough tiles to use a weight often while it is in the cache, few enough to occupy all
    // threads.
    let strips = g.oh.div_ceil(TILE);
    let wanted = 32_usize.div_ceil(across).min((g.n * strips).div_ceil(4)).clamp(1, strips);
    let (image, rows) = (g.oh * g.ow * g.co, wanted * TILE);
    let block = rows * g.ow * g.co;
    y.pieces(image, block, |n, index, y| {
        let x = &x[n * g.h * g.w * g.ci..][..g.h * g.w * g.ci];
        let residual = epilogue.residual.map(|r| &r[n * image + index * block..][..y.len()]);
        let tiles = (y.len() / (g.ow * g.co)).div_ceil(TILE) * across;
        let (inputs, outputs) = (POINTS * tiles * g.ci, POINTS * tiles * g.co);
        with_scratch(inputs + outputs, |scratch| {
            let (v, m) = scratch.split_at_mut(inputs);
            let (epilogue, first) = (Epilogue { residual, ..*epilogue }, index * rows);
            Arch::new().dispatch(Strip { x, weight, g, epilogue, y, v, m, tiles, across, first });
        });
    });
}

struct Strip<'a> {
    x: &'a [f32],
    weight: &'a WinogradWeight,
    g: &'a Geometry,
    epilogue: Epilogue<'a>,
    y: &'a mut [f32],
    v: &'a mut [f32],
    m: &'a mut [f32],
    tiles: usize,
    across: usize,
    /// First output row.
    first: usize,
}

impl WithSimd for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (ci, co) = (self.g.ci, self.g.co);
        for tile in 0..self.tiles {
            let at = (self.first + tile / self.across * TILE, tile % self.across * TILE);
            transform_input(simd, self.x, self.g, at, &mut self.v[tile * ci..], self.tiles * ci);
        }
        let products = self.v.chunks_exact(self.tiles * ci).zip(self.m.chunks_exact_mut(self.tiles * co));
        for (point, (v, m)) in products.enumerate() {
            multiply_matrix(simd, v, self.weight.point(point), &Epilogue::NONE, m);
        }
        for tile in 0..self.tiles {
            self.transform_output(simd, tile);
        }
    }
}

impl Strip<'_> {
    /// `Y = A^T m A`, bias, residual and nonlinearity for each channel of one tile. Outputs beyond
    /// the image are not written.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "an iterator over an array of vectors moves it to memory")]
    fn transform_output<S: Simd>(&mut self, simd: S, tile: usize) {
        let (g, co) = (self.g, self.g.co);
        let (y0, x0) = (tile / self.across * TILE, tile % self.across * TILE);
        let (height, width) = ((self.y.len() / (g.ow * co) - y0).min(TILE), (g.ow - x0).min(TILE));
        let mut half = [[simd.splat_f32s(0.0); WINDOW]; TILE];
        let mut channel = 0;
        while channel < co {
            let lanes = (co - channel).min(S::F32_LANES);
            let bias = self.epilogue.bias(simd, channel);
            for j in 0..WINDOW {
                let at = |i| ((i * WINDOW + j) * self.tiles + tile) * co + channel;
                let m = |i| load(simd, &self.m[at(i)..at(i) + lanes]);
                let column = output_transform(simd, [m(0), m(1), m(2), m(3), m(4), m(5)]);
                for i in 0..TILE {
                    half[i][j] = column[i];
                }
            }
            for (i, row) in half.iter().enumerate().take(height) {
                let row = output_transform(simd, *row);
                for j in 0..width {
                    let at = ((y0 + i) * g.ow + x0 + j) * co + channel;
                    let mut sum = simd.add_f32s(row[j], bias);
                    if let Some(residual) = self.epilogue.residual {
                        sum = simd.add_f32s(sum, load(simd, &residual[at..at + lanes]));
                    }
                    store(simd, &mut self.y[at..at + lanes], self.epilogue.finish(simd, sum));
                }
            }
            channel += lanes;
        }
    }
}

/// `V = B^T d B` for each channel of the tile whose output begins at row `y` and column `x`; the
/// values of a point lie `stride` after those of the one before.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "an iterator over an array of vectors moves it to memory")]
pub(crate) fn transform_input<S: Simd>(
    simd: S,
    image: &[f32],
    g: &Geometry,
    (y, x): (usize, usize),
    v: &mut [f32],
    stride: usize,
) {
    let ci = g.ci;
    let zero = simd.splat_f32s(0.0);
    // Offsets of the window's pixels; `None` outside of the image.
    let inside = |start: usize, k: usize, before: usize, size: usize| {
        (start + k).checked_sub(before).filter(|&at| at < size)
    };
    let mut pixels = [[None; WINDOW]; WINDOW];
    for (i, row) in pixels.iter_mut().enumerate() {
        for (j, pixel) in row.iter_mut().enumerate() {
            let place = inside(y, i, g.top, g.h).zip(inside(x, j, g.left, g.w));
            *pixel = place.map(|(row, column)| (row * g.w + column) * ci);
        }
    }
    // Every element is written for each vector of channels. Declared here, for the memory is
    // cleared where it is declared.
    let mut half = [[zero; WINDOW]; WINDOW];
    let mut channel = 0;
    while channel < ci {
        let width = (ci - channel).min(S::F32_LANES);
        for j in 0..WINDOW {
            let d = |i: usize| match pixels[i][j] {
                Some(at) => load(simd, &image[at + channel..][..width]),
                None => zero,
            };
            let column = input_transform(simd, [d(0), d(1), d(2), d(3), d(4), d(5)]);
            for i in 0..WINDOW {
                half[i][j] = column[i];
            }
        }
        for (i, row) in half.iter().enumerate() {
            let row = input_transform(simd, *row);
            for j in 0..WINDOW {
                let at = (i * WINDOW + j) * stride + channel;
                store(simd, &mut v[at..at + width], row[j]);
            }
        }
        channel += width;
    }
}

/// `B^T d`.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::f32s; WINDOW]) -> [S::f32s; WINDOW] {
    let (two, four) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0));
    let (minus_two, minus_four, minus_five) =
        (simd.splat_f32s(-2.0), simd.splat_f32s(-4.0), simd.splat_f32s(-5.0));
    let (a, b) = (simd.mul_add_e_f32s(minus_four, d2, d4), simd.mul_add_e_f32s(minus_four, d1, d3));
    let (c, e) = (simd.sub_f32s(d4, d2), simd.sub_f32s(d3, d1));
    [
        simd.mul_add_e_f32s(four, d0, simd.mul_add_e_f32s(minus_five, d2, d4)),
        simd.add_f32s(a, b),
        simd.sub_f32s(a, b),
        simd.mul_add_e_f32s(two, e, c),
        simd.mul_add_e_f32s(minus_two, e, c),
        simd.mul_add_e_f32s(four, d1, simd.mul_add_e_f32s(minus_five, d3, d5)),
    ]
}

/// `A^T m`.
#[inline(always)]
fn output_transform<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::f32s; WINDOW]) -> [S::f32s; TILE] {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (p, q) = (simd.add_f32s(m1, m2), simd.sub_f32s(m1, m2));
    let (r, s) = (simd.add_f32s(m3, m4), simd.sub_f32s(m3, m4));
    [
        simd.add_f32s(m0, simd.add_f32s(p, r)),
        simd.mul_add_e_f32s(two, s, q),
        simd.mul_add_e_f32s(four, r, p),
        simd.add_f32s(m5, simd.mul_add_e_f32s(eight, s, q)),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nonlinearity::Nonlinearity;

    /// Values in -1..1 without a pattern.
    pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// The definition, in f64.
    fn naive(x: &[f32], weight: &[f32], g: &Geometry) -> Vec<f64> {
        let mut y = Vec::new();
        for n in 0..g.n {
            for oy in 0..g.oh {
                for ox in 0..g.ow {
                    for o in 0..g.co {
                        let mut sum = 0.0;
                        for (ky, kx) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                            let (iy, ix) = ((oy + ky).wrapping_sub(g.top), (ox + kx).wrapping_sub(g.left));
                            if iy < g.h && ix < g.w {
                                for i in 0..g.ci {
                                    sum += f64::from(x[((n * g.h + iy) * g.w + ix) * g.ci + i])
                                        * f64::from(weight[(o * g.ci + i) * 9 + ky * 3 + kx]);
                                }
                            }
                        }
                        y.push(sum);
                    }
                }
            }
        }
        y
    }

    pub(crate) fn geometry(
        n: usize,
        (h, w): (usize, usize),
        ci: usize,
        co: usize,
        padding: usize,
    ) -> Geometry {
        let (oh, ow) = (h + 2 * padding - 2, w + 2 * padding - 2);
        Geometry { n, h, w, ci, oh, ow, co, kh: 3, kw: 3, stride: 1, top: padding, left: padding }
    }

    /// Runs each vector width that `pulp` can emulate, so that the widths of other machines are
    /// checked here.
    fn strip(lanes: usize, strip: Strip<'_>) {
        match lanes {
            1 => strip.with_simd(pulp::Scalar::new()),
            4 => strip.with_simd(pulp::Scalar128b),
            8 => strip.with_simd(pulp::Scalar256b),
            _ => strip.with_simd(pulp::Scalar512b),
        }
    }

    #[test]
    fn every_vector_width_gives_the_convolution() {
        // Miri interprets every product; few channels still leave a rest beside each vector.
        const CI: usize = if cfg!(miri) { 3 } else { 19 };
        const CO: usize = if cfg!(miri) { 5 } else { 21 };
        let g = geometry(1, (7, 10), CI, CO, 1);
        let (x, w) = (values(7 * 10 * CI, 1), values(CO * CI * 9, 2));
        let (bias, residual) = (values(CO, 3), values(7 * 10 * CO, 4));
        let expected = naive(&x, &w, &g);
        for lanes in [1, 4, 8, 16] {
            let weight =
                WinogradWeight::with_lanes(lanes, CI, CO, |o, i, ky, kx| w[(o * CI + i) * 9 + ky * 3 + kx]);
            let (across, tiles) = (3, 6);
            let (mut v, mut m) = (vec![0.0; POINTS * tiles * CI], vec![0.0; POINTS * tiles * CO]);
            let mut y = vec![0.0; 7 * 10 * CO];
            let epilogue =
                Epilogue { bias: Some(&bias), residual: Some(&residual), nonlinearity: Nonlinearity::Relu };
            let job = Strip {
                x: &x,
                weight: &weight,
                g: &g,
                epilogue,
                y: &mut y,
                v: &mut v,
                m: &mut m,
                tiles,
                across,
                first: 0,
            };
            strip(lanes, job);
            for (i, (actual, sum)) in y.iter().zip(&expected).enumerate() {
                let expected = (sum + f64::from(bias[i % CO]) + f64::from(residual[i])).max(0.0);
                assert!(
                    (f64::from(*actual) - expected).abs() < 1e-4,
                    "{lanes} lanes, {i}: {actual} {expected}"
                );
            }
        }
    }

    /// The bound that the documentation states: 5e-5 of the root of the sum of squares of products,
    /// the size of a result of random signs.
    #[test]
    #[cfg_attr(miri, ignore = "millions of products to interpret, through code that the other test covers")]
    fn the_error_stays_within_the_stated_bound() {
        for (ci, co, size) in [(16, 16, (4, 4)), (64, 64, (13, 9)), (256, 32, (8, 8)), (64, 16, (1, 2))] {
            let g = geometry(2, size, ci, co, 1);
            let (x, w) = (values(2 * size.0 * size.1 * ci, 5), values(co * ci * 9, 6));
            let weight = WinogradWeight::new(ci, co, |o, i, ky, kx| w[(o * ci + i) * 9 + ky * 3 + kx]);
            let mut y = vec![f32::NAN; 2 * size.0 * size.1 * co];
            forward(&x, &weight, &g, &Epilogue::NONE, Target::from(&mut *y));
            let typical = (9.0 * ci as f64).sqrt() / 3.0;
            let worst = y
                .iter()
                .zip(naive(&x, &w, &g))
                .map(|(actual, expected)| (f64::from(*actual) - expected).abs() / typical)
                .fold(0.0, f64::max);
            assert!(worst < 5e-5, "{ci} channels: {worst:e}");
        }
    }
}
