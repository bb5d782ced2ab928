//! An inverted residual (1x1, depthwise, 1x1), or its last two layers behind any dense layer or
//! alone, whose hidden channels are computed two vectors at a time. The hidden maps exist for a few
//! rows, some columns and a few channels only, which stay in the first-level cache. The last layer
//! adds the products of each group of channels to the result, in the order of one long sum.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::panels::{Epilogue, Panels, Rows, add_products, load, store};
use crate::fused::stage::{Kernel, Stage};
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;

/// Positions of a depthwise row that are computed together.
const GROUP: usize = 8;
/// Rows of a matrix that are multiplied together.
const BLOCK: usize = 6;
/// Bytes of hidden rows: most of a first-level cache of 32 KiB.
const HIDDEN_BYTES: usize = 24 << 10;

/// The layers for one shape of input.
pub(crate) struct InvertedResidual<'a> {
    expand: Option<(&'a Panels, &'a Stage<'a>)>,
    depthwise: (&'a [f32], &'a Stage<'a>),
    project: (&'a Panels, &'a Stage<'a>),
}

impl<'a> InvertedResidual<'a> {
    /// The layers, if they have this form and a depthwise kernel that is written out here.
    pub(crate) fn of(stages: &'a [Stage<'a>]) -> Option<Self> {
        let (first, middle, last) = match stages {
            [first, middle, last] => (Some(first), middle, last),
            [middle, last] => (None, middle, last),
            _ => return None,
        };
        let pointwise = |stage: &'a Stage<'a>| match &stage.kernel {
            Kernel::Pointwise(panels) => Some((*panels, stage)),
            Kernel::Dense(_) | Kernel::Depthwise(..) => None,
        };
        let Kernel::Depthwise(weight, _) = &middle.kernel else { return None };
        let g = &middle.geometry;
        if g.kh != g.kw || !matches!((g.kw, g.stride), (3 | 5, 1 | 2)) {
            return None;
        }
        let expand = match first {
            Some(first) => match &first.kernel {
                Kernel::Pointwise(panels) | Kernel::Dense(panels) => Some((*panels, first)),
                Kernel::Depthwise(..) => return None,
            },
            None => None,
        };
        Some(Self { expand, depthwise: (*weight, middle), project: pointwise(last)? })
    }

    fn geometry(&self) -> &Geometry {
        &self.depthwise.1.geometry
    }

    /// Columns of the result that are computed together, for vectors of `lanes`: whole groups,
    /// whose hidden rows fit the cache.
    fn tile(&self, lanes: usize) -> usize {
        let g = self.geometry();
        let fitting = HIDDEN_BYTES / (2 * lanes * size_of::<f32>() * g.kh);
        let tile = (fitting.saturating_sub(g.kw) / g.stride + 1) / GROUP;
        let groups = g.ow.div_ceil(GROUP);
        // Tiles of the same width.
        groups.div_ceil(groups.div_ceil(tile.max(1))) * GROUP
    }

    /// Columns of a hidden row below `tile` columns of the result.
    fn reach(&self, tile: usize) -> usize {
        (tile - 1) * self.geometry().stride + self.geometry().kw
    }

    /// Elements of the memory that [`Part`] works in, for vectors of `lanes`.
    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        let (g, tile) = (self.geometry(), self.tile(lanes));
        2 * lanes * (tile + g.kh * self.reach(tile) + g.kh * g.kw) + self.lines(tile)
    }

    /// Elements of the input's rows below `tile` columns of the result, with the zeros around them,
    /// where the first layer reads more than one pixel.
    fn lines(&self, tile: usize) -> usize {
        self.expand.filter(|(_, stage)| !stage.geometry.is_pointwise()).map_or(0, |(_, stage)| {
            let g = &stage.geometry;
            g.kh * ((self.reach(tile) - 1) * g.stride + g.kw) * g.ci
        })
    }
}

/// Some rows of one image's result.
pub(crate) struct Part<'a, 's> {
    pub(crate) layers: &'a InvertedResidual<'a>,
    /// The image, `[H, W, C_in]`.
    pub(crate) x: &'a [f32],
    /// First row of the result.
    pub(crate) first: usize,
    /// The result's rows, `[rows, W', C_out]`, every element of which is written.
    pub(crate) y: &'s mut [f32],
    /// Laid out as `y`.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) scratch: &'s mut [f32],
}

impl WithSimd for Part<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.layers.geometry();
        match (g.kw, g.stride) {
            (3, 1) => self.run::<S, 3, 1>(simd),
            (3, _) => self.run::<S, 3, 2>(simd),
            (_, 1) => self.run::<S, 5, 1>(simd),
            (..) => self.run::<S, 5, 2>(simd),
        }
    }
}

impl Part<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const K: usize, const STRIDE: usize>(self, simd: S) {
        let Self { layers, x, first, y, residual, scratch } = self;
        let ((depthwise, filter_stage), (project, last)) = (layers.depthwise, layers.project);
        let (g, lanes, tile) = (layers.geometry(), S::F32_LANES, layers.tile(S::F32_LANES));
        let (ci, co, reach) =
            (layers.expand.map_or(g.co, |(_, s)| s.geometry.ci), last.geometry.co, layers.reach(tile));
        // `[k_h][..][C_in]`, `[tile][2]`, `[2][k_h][reach]`, `[2][k_h k_w]`
        let (lines, rest) = scratch.split_at_mut(layers.lines(tile));
        let (filtered, rest) = rest.split_at_mut(2 * lanes * tile);
        let (hidden, weights) = S::as_mut_simd_f32s(rest).0.split_at_mut(2 * K * reach);
        let zero = simd.splat_f32s(0.0);
        let (rows, panels) = (y.len() / (g.ow * co), g.co.div_ceil(2 * lanes));
        for panel in 0..panels {
            let channel = panel * 2 * lanes;
            let width = (g.co - channel).min(2 * lanes);
            let count = width.div_ceil(lanes);
            // Channels of vector `v` among all hidden channels.
            let range = |v: usize| {
                let start = (channel + v * lanes).min(g.co);
                start..(start + lanes).min(g.co)
            };
            for v in 0..count {
                for tap in 0..K * K {
                    let row = &depthwise[tap * g.co..][..g.co];
                    weights[v * K * K + tap] = load(simd, &row[range(v)]);
                }
            }
            let bias = |stage: &Stage<'_>, v: usize| match stage.bias {
                Some(bias) => load(simd, &bias[range(v)]),
                None => zero,
            };
            let expand_bias = layers.expand.map_or([zero; 2], |(_, stage)| [bias(stage, 0), bias(stage, 1)]);
            let filter_bias = [bias(filter_stage, 0), bias(filter_stage, 1)];
            for left in (0..g.ow).step_by(tile) {
                let positions = tile.min(g.ow - left);
                // The columns of the image under the tile, and the zeros before them.
                let start = (left * STRIDE).saturating_sub(g.left).min(g.w);
                let before = g.left.saturating_sub(left * STRIDE).min(reach);
                let columns = (reach - before).min(g.w - start);
                // Columns beside the image stay zero.
                hidden.fill(zero);
                let mut next = 0;
                for row in 0..rows {
                    let sources = filter_stage.sources(&(first + row..first + row + 1));
                    for iy in sources.start.max(next)..sources.end {
                        let at = iy % K * reach + before;
                        let (low, high) = hidden.split_at_mut(K * reach);
                        let outs = [&mut low[at..at + columns], &mut high[at..at + columns]];
                        match layers.expand {
                            None => {
                                let line = &x[(iy * g.w + start) * ci..][..columns * ci];
                                copy_row(simd, line, ci, [range(0), range(1)], outs);
                            }
                            Some((weight, stage)) => {
                                let window = &stage.geometry;
                                let data = match window.is_pointwise() {
                                    true => &x[(iy * g.w + start) * ci..][..columns * ci],
                                    false => {
                                        copy_lines(x, window, (iy, start), columns, lines);
                                        &*lines
                                    }
                                };
                                let panel = (weight.vectors::<S>(panel, 0..window.depth()), expand_bias);
                                let step = window.stride * ci;
                                let rows = Rows {
                                    data,
                                    count: columns,
                                    base: |p| p * step,
                                    runs: window.kh,
                                    run: window.kw * ci,
                                    run_stride: ((columns.max(1) - 1) * window.stride + window.kw) * ci,
                                };
                                if count == 2 {
                                    expand_row::<S, _, 2>(simd, &rows, panel, stage.nonlinearity, outs);
                                } else {
                                    expand_row::<S, _, 1>(simd, &rows, panel, stage.nonlinearity, outs);
                                }
                            }
                        }
                    }
                    next = sources.end.max(next);
                    // The rows of the kernel that lie inside of the image.
                    let top = (first + row) * STRIDE;
                    let taps = match sources.len() {
                        0 => 0..0,
                        count => sources.start + g.top - top..sources.start + g.top - top + count,
                    };
                    for v in 0..count {
                        let filter = Filter {
                            rows: &hidden[v * K * reach..][..K * reach],
                            reach,
                            weights: &weights[v * K * K..][..K * K],
                            taps: taps.clone(),
                            source: sources.start,
                            bias: filter_bias[v],
                            nonlinearity: filter_stage.nonlinearity,
                        };
                        filter.row::<S, K, STRIDE>(simd, S::as_mut_simd_f32s(filtered).0, v);
                    }
                    let base = |p| p * 2 * lanes;
                    let rows =
                        Rows { data: &*filtered, count: positions, base, runs: 1, run: width, run_stride: 0 };
                    let at = (row * g.ow + left) * co..(row * g.ow + left + positions) * co;
                    let epilogue = (panel + 1 == panels).then_some(Epilogue {
                        bias: last.bias,
                        residual: residual.map(|r| &r[at.clone()]),
                        nonlinearity: last.nonlinearity,
                    });
                    let part = (&(channel..channel + width), panel == 0);
                    add_row(simd, &rows, project, part, epilogue.as_ref(), &mut y[at]);
                }
            }
        }
    }
}

/// Two vectors of the channels of each position, as they are.
#[inline(always)]
fn copy_row<S: Simd>(
    simd: S,
    line: &[f32],
    channels: usize,
    ranges: [Range<usize>; 2],
    outs: [&mut [S::f32s]; 2],
) {
    for (range, out) in ranges.into_iter().zip(outs).filter(|(range, _)| !range.is_empty()) {
        for (out, pixel) in out.iter_mut().zip(line.chunks_exact(channels)) {
            *out = load(simd, &pixel[range.clone()]);
        }
    }
}

/// The rows of the windows at `columns` positions of an output row from column `start` on, with the
/// zeros around the image.
fn copy_lines(x: &[f32], g: &Geometry, (row, start): (usize, usize), columns: usize, lines: &mut [f32]) {
    let width = (columns.max(1) - 1) * g.stride + g.kw;
    for (ky, line) in lines.chunks_exact_mut(width * g.ci).take(g.kh).enumerate() {
        let Some(y) = (row * g.stride + ky).checked_sub(g.top).filter(|&y| y < g.h) else {
            line.fill(0.0);
            continue;
        };
        // The columns of the image under the windows, and the zeros before them.
        let first = (start * g.stride).saturating_sub(g.left).min(g.w);
        let before = g.left.saturating_sub(start * g.stride).min(width);
        let inside = (width - before).min(g.w - first);
        let (zeros, rest) = line.split_at_mut(before * g.ci);
        let (image, more_zeros) = rest.split_at_mut(inside * g.ci);
        zeros.fill(0.0);
        image.copy_from_slice(&x[(y * g.w + first) * g.ci..][..inside * g.ci]);
        more_zeros.fill(0.0);
    }
}

/// `V` vectors of hidden channels at each position of `rows`, whose slices are `outs`.
#[inline(always)]
fn expand_row<S: Simd, F: Fn(usize) -> usize, const V: usize>(
    simd: S,
    rows: &Rows<'_, F>,
    (panel, bias): (&[S::f32s], [S::f32s; 2]),
    nonlinearity: Nonlinearity,
    mut outs: [&mut [S::f32s]; 2],
) {
    let count = rows.count;
    let epilogue = Epilogue { nonlinearity, ..Epilogue::NONE };
    let mut p = 0;
    while p < count {
        p += match count - p {
            BLOCK.. => expand::<S, F, BLOCK, V>(simd, rows, (panel, bias), &epilogue, p, &mut outs),
            4.. => expand::<S, F, 4, V>(simd, rows, (panel, bias), &epilogue, p, &mut outs),
            2.. => expand::<S, F, 2, V>(simd, rows, (panel, bias), &epilogue, p, &mut outs),
            _ => expand::<S, F, 1, V>(simd, rows, (panel, bias), &epilogue, p, &mut outs),
        };
    }
}

/// `R` positions of [`expand_row`], from `p` on. Gives `R`.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
fn expand<S: Simd, F: Fn(usize) -> usize, const R: usize, const V: usize>(
    simd: S,
    rows: &Rows<'_, F>,
    (panel, bias): (&[S::f32s], [S::f32s; 2]),
    epilogue: &Epilogue<'_>,
    p: usize,
    outs: &mut [&mut [S::f32s]; 2],
) -> usize {
    let sums = add_products(simd, rows, panel, p, [[simd.splat_f32s(0.0); V]; R]);
    for v in 0..V {
        let out = &mut outs[v][p..p + R];
        for i in 0..R {
            out[i] = epilogue.finish(simd, simd.add_f32s(sums[i][v], bias[v]));
        }
    }
    R
}

/// One row of a depthwise convolution, for one vector of channels.
struct Filter<'a, V> {
    /// `[k_h][reach]`; row `y` of the image lies in place `y % k_h`.
    rows: &'a [V],
    reach: usize,
    /// `[k_h k_w]`
    weights: &'a [V],
    /// The rows of the kernel that lie inside of the image, and the image's row under the first.
    taps: Range<usize>,
    source: usize,
    bias: V,
    nonlinearity: Nonlinearity,
}

impl<V: Copy> Filter<'_, V> {
    /// Writes vector `v` of the two of each position of `out`.
    #[inline(always)]
    fn row<S: Simd<f32s = V>, const K: usize, const STRIDE: usize>(&self, simd: S, out: &mut [V], v: usize) {
        let epilogue = Epilogue { nonlinearity: self.nonlinearity, ..Epilogue::NONE };
        for (group, out) in out.chunks_exact_mut(2 * GROUP).enumerate() {
            let mut sums = [self.bias; GROUP];
            for (index, ky) in self.taps.clone().enumerate() {
                let row = &self.rows[(self.source + index) % K * self.reach..][..self.reach];
                let window = &row[group * GROUP * STRIDE..][..(GROUP - 1) * STRIDE + K];
                for kx in 0..K {
                    let weight = self.weights[ky * K + kx];
                    for (p, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add_e_f32s(weight, window[p * STRIDE + kx], *sum);
                    }
                }
            }
            for (out, sum) in out.chunks_exact_mut(2).zip(sums) {
                out[v] = epilogue.finish(simd, sum);
            }
        }
    }
}

/// Adds to positions of the result the products with some rows of the projection. `depth` are
/// these rows, which may be the first of all.
#[inline(always)]
fn add_row<S: Simd, F: Fn(usize) -> usize>(
    simd: S,
    rows: &Rows<'_, F>,
    project: &Panels,
    (depth, is_first): (&Range<usize>, bool),
    epilogue: Option<&Epilogue<'_>>,
    out: &mut [f32],
) {
    let columns = project.columns();
    for (index, first) in (0..columns).step_by(2 * S::F32_LANES).enumerate() {
        let panel = project.vectors::<S>(index, depth.clone());
        let place = (first, columns, is_first);
        let mut p = 0;
        while p < rows.count {
            p += match (rows.count - p, columns - first > S::F32_LANES) {
                (BLOCK.., true) => add::<S, F, BLOCK, 2>(simd, rows, panel, epilogue, out, (p, place)),
                (4.., true) => add::<S, F, 4, 2>(simd, rows, panel, epilogue, out, (p, place)),
                (2.., true) => add::<S, F, 2, 2>(simd, rows, panel, epilogue, out, (p, place)),
                (_, true) => add::<S, F, 1, 2>(simd, rows, panel, epilogue, out, (p, place)),
                (BLOCK.., false) => add::<S, F, BLOCK, 1>(simd, rows, panel, epilogue, out, (p, place)),
                (4.., false) => add::<S, F, 4, 1>(simd, rows, panel, epilogue, out, (p, place)),
                (2.., false) => add::<S, F, 2, 1>(simd, rows, panel, epilogue, out, (p, place)),
                (_, false) => add::<S, F, 1, 1>(simd, rows, panel, epilogue, out, (p, place)),
            };
        }
    }
}

/// `R` positions of [`add_row`] from `p` on, in the columns from `first` on. Gives `R`.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
fn add<S: Simd, F: Fn(usize) -> usize, const R: usize, const V: usize>(
    simd: S,
    rows: &Rows<'_, F>,
    panel: &[S::f32s],
    epilogue: Option<&Epilogue<'_>>,
    out: &mut [f32],
    (p, (first, columns, is_first)): (usize, (usize, usize, bool)),
) -> usize {
    let lanes = S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    let is_whole = columns - first >= V * lanes;
    if !is_first {
        for i in 0..R {
            let out = &out[(p + i) * columns..][..columns][first..];
            if is_whole {
                sums[i].copy_from_slice(&S::as_simd_f32s(&out[..V * lanes]).0[..V]);
            } else {
                for v in 0..V {
                    sums[i][v] = load(simd, &out[v * lanes..]);
                }
            }
        }
    }
    let sums = add_products(simd, rows, panel, p, sums);
    if let Some(epilogue) = epilogue {
        epilogue.write(simd, sums, out, (p, first, columns));
        return R;
    }
    for i in 0..R {
        let out = &mut out[(p + i) * columns..][..columns][first..];
        if is_whole {
            S::as_mut_simd_f32s(&mut out[..V * lanes]).0[..V].copy_from_slice(&sums[i]);
        } else {
            for v in 0..V {
                let width = (out.len() - v * lanes).min(lanes);
                store(simd, &mut out[v * lanes..][..width], sums[i][v]);
            }
        }
    }
    R
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::depthwise::Plan;
    use crate::cpu::winograd::tests::values;

    /// Runs each vector width that `pulp` can emulate, so that the widths of other machines are
    /// checked here.
    fn run(lanes: usize, part: Part<'_, '_>) {
        match lanes {
            1 => part.with_simd(pulp::Scalar::new()),
            4 => part.with_simd(pulp::Scalar128b),
            8 => part.with_simd(pulp::Scalar256b),
            _ => part.with_simd(pulp::Scalar512b),
        }
    }

    fn relu6(value: f64) -> f64 {
        value.clamp(0.0, 6.0)
    }

    /// `[positions, C_in]` times `[C_in, C_out]` plus bias, in f64.
    fn product(x: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let (ci, co) = (weight.len() / bias.len(), bias.len());
        x.chunks_exact(ci)
            .flat_map(|x| {
                (0..co).map(|o| {
                    let products = x.iter().enumerate().map(|(i, x)| x * f64::from(weight[i * co + o]));
                    f64::from(bias[o]) + products.sum::<f64>()
                })
            })
            .collect()
    }

    /// The definition, in f64.
    fn filter(x: &[f64], weight: &[f32], bias: &[f32], g: &Geometry) -> Vec<f64> {
        let mut y = Vec::new();
        for (oy, ox) in (0..g.oh * g.ow).map(|p| (p / g.ow, p % g.ow)) {
            for c in 0..g.co {
                let mut sum = f64::from(bias[c]);
                for (ky, kx) in (0..g.kh * g.kw).map(|tap| (tap / g.kw, tap % g.kw)) {
                    let iy = (oy * g.stride + ky).wrapping_sub(g.top);
                    let ix = (ox * g.stride + kx).wrapping_sub(g.left);
                    if iy < g.h && ix < g.w {
                        sum += x[(iy * g.w + ix) * g.co + c] * f64::from(weight[(ky * g.kw + kx) * g.co + c]);
                    }
                }
                y.push(relu6(sum));
            }
        }
        y
    }

    #[test]
    fn every_vector_width_gives_the_three_layers() {
        // Miri interprets every product.
        let shapes: &[(usize, usize, usize)] =
            if cfg!(miri) { &[(3, 1, 5)] } else { &[(3, 1, 21), (3, 2, 40), (5, 1, 19), (5, 2, 70)] };
        for &(kernel, stride, hidden) in shapes {
            let (h, w, ci, co) = if cfg!(miri) { (4, 5, 2, 3) } else { (9, 37, 3, 18) };
            let (oh, ow) = ((h - 1) / stride + 1, (w - 1) / stride + 1);
            let (top, left) = (kernel / 2, kernel / 2);
            let g = Geometry {
                n: 1,
                h,
                w,
                ci: hidden,
                oh,
                ow,
                co: hidden,
                kh: kernel,
                kw: kernel,
                stride,
                top,
                left,
            };
            let pointwise = |(h, w), ci, co| Geometry {
                n: 1,
                h,
                w,
                ci,
                oh: h,
                ow: w,
                co,
                kh: 1,
                kw: 1,
                stride: 1,
                top: 0,
                left: 0,
            };
            let (x, residual) = (values(h * w * ci, 1), values(oh * ow * co, 2));
            let weights =
                [values(ci * hidden, 3), values(kernel * kernel * hidden, 4), values(hidden * co, 5)];
            let biases = [values(hidden, 6), values(hidden, 7), values(co, 8)];
            let wide: Vec<f64> = x.iter().copied().map(f64::from).collect();
            let expanded: Vec<f64> = product(&wide, &weights[0], &biases[0]).into_iter().map(relu6).collect();
            let expected = product(&filter(&expanded, &weights[1], &biases[1], &g), &weights[2], &biases[2]);
            for lanes in [1, 4, 8, 16] {
                let panels = |weight: &[f32], depth: usize| {
                    let columns = weight.len() / depth;
                    Panels::with_lanes(lanes, depth, columns, |k, row| {
                        row.copy_from_slice(&weight[k * columns..][..columns]);
                    })
                };
                let (expand, project) = (panels(&weights[0], ci), panels(&weights[2], hidden));
                let stage =
                    |kernel, geometry, bias, nonlinearity| Stage { kernel, geometry, bias, nonlinearity };
                let stages = [
                    stage(
                        Kernel::Pointwise(&expand),
                        pointwise((h, w), ci, hidden),
                        Some(&*biases[0]),
                        Nonlinearity::Relu6,
                    ),
                    stage(
                        Kernel::Depthwise(&weights[1], Plan::of_output(&g)),
                        g,
                        Some(&*biases[1]),
                        Nonlinearity::Relu6,
                    ),
                    stage(
                        Kernel::Pointwise(&project),
                        pointwise((oh, ow), hidden, co),
                        Some(&*biases[2]),
                        Nonlinearity::Identity,
                    ),
                ];
                let layers = InvertedResidual::of(&stages).unwrap();
                let mut scratch = vec![f32::NAN; layers.scratch(lanes)];
                let mut y = vec![f32::NAN; oh * ow * co];
                // The rows in two parts.
                let (upper, lower) = y.split_at_mut(oh / 2 * ow * co);
                for (first, y) in [(0, upper), (oh / 2, lower)] {
                    let residual = Some(&residual[first * ow * co..][..y.len()]);
                    run(lanes, Part { layers: &layers, x: &x, first, y, residual, scratch: &mut scratch });
                }
                for (i, (actual, sum)) in y.iter().zip(&expected).enumerate() {
                    let expected = sum + f64::from(residual[i]);
                    assert!(
                        (f64::from(*actual) - expected).abs() < 1e-4,
                        "{kernel}x{kernel}/{stride}, {lanes} lanes, {i}: {actual} {expected}"
                    );
                }
            }
        }
    }
}
