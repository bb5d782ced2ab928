//! Depthwise convolution over channels-last images. Inside a row, where all taps lie inside the
//! image, a few positions are computed together, vector by vector along the channels. At the edges
//! each position goes through the list of its (source position, tap) pairs. The input gradient is
//! the same computation with the kernel turned, or with the pairs reversed.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::panels::{Epilogue, load, store};
use crate::cpu::parallel::sum_in_order;
use crate::cpu::target::Target;
use crate::geometry::Geometry;

/// `[C][k_h][k_w]` to `[k_h][k_w][C]`.
pub(crate) fn pack(weight: &[f32], g: &Geometry) -> Vec<f32> {
    transpose(weight, g.co, g.kh * g.kw)
}

/// The inverse of [`pack`].
pub(crate) fn unpack(packed: &[f32], g: &Geometry) -> Vec<f32> {
    transpose(packed, g.kh * g.kw, g.co)
}

fn transpose(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| data[r * cols + c])).collect()
}

/// `[N, H, W, C]` to `[N, H', W', C]`, every element of which is written.
pub(crate) fn forward(x: &[f32], packed: &[f32], g: &Geometry, epilogue: &Epilogue<'_>, y: Target<'_>) {
    let (c, image) = (g.co, g.h * g.w * g.co);
    let plan = Plan::of_output(g);
    y.pieces(g.oh * g.ow * c, g.ow * c, |n, row, out| {
        let image = &x[n * image..][..image];
        let vertical = taps_of_output(row, g.kh, g.stride, g.top, g.h);
        let residual = epilogue.residual.map(|r| &r[(n * g.oh + row) * g.ow * c..][..g.ow * c]);
        let epilogue = Epilogue { residual, ..*epilogue };
        Arch::new().dispatch(Row {
            out,
            image,
            packed,
            c,
            width: g.w,
            kw: g.kw,
            vertical,
            plan: &plan,
            epilogue,
        });
    });
}

/// Gradient of the output to that of the input, every element of which is written.
pub(crate) fn input_gradient(grad: &[f32], packed: &[f32], g: &Geometry, dx: Target<'_>) {
    if g.has_adjoint() {
        let taps = g.kh * g.kw;
        let turned: Vec<f32> =
            (0..taps).rev().flat_map(|tap| &packed[tap * g.co..][..g.co]).copied().collect();
        return forward(grad, &turned, &g.adjoint(), &Epilogue::NONE, dx);
    }
    let (c, image) = (g.co, g.oh * g.ow * g.co);
    let plan = Plan::of_input(g);
    dx.pieces(g.h * g.w * c, g.w * c, |n, row, out| {
        let image = &grad[n * image..][..image];
        let vertical = taps_of_input(row, g.kh, g.stride, g.top, g.oh);
        let (width, kw, epilogue) = (g.ow, g.kw, Epilogue::NONE);
        Arch::new().dispatch(Row { out, image, packed, c, width, kw, vertical, plan: &plan, epilogue });
    });
}

/// Positions that are computed together.
const GROUP: usize = 4;

/// The sources of the positions of a row.
pub(crate) struct Plan {
    /// The (source column, tap) pairs of each position.
    horizontal: Vec<Vec<(usize, usize)>>,
    /// The positions that have every tap; empty where neighbouring positions do not share their
    /// taps.
    interior: std::ops::Range<usize>,
    /// The distance between the sources of neighbouring interior positions.
    step: usize,
}

impl Plan {
    pub(crate) fn of_output(g: &Geometry) -> Self {
        let horizontal: Vec<_> =
            (0..g.ow).map(|ox| taps_of_output(ox, g.kw, g.stride, g.left, g.w)).collect();
        let full = |taps: &Vec<_>| taps.len() == g.kw;
        let start = horizontal.iter().position(full).unwrap_or(0);
        let end = horizontal.iter().rposition(full).map_or(start, |last| last + 1);
        Self { horizontal, interior: start..end, step: g.stride }
    }

    fn of_input(g: &Geometry) -> Self {
        let horizontal = (0..g.w).map(|ix| taps_of_input(ix, g.kw, g.stride, g.left, g.ow)).collect();
        Self { horizontal, interior: 0..0, step: 0 }
    }
}

/// One row of the result; `width` is the source's.
pub(crate) struct Row<'a, 'y> {
    pub(crate) out: &'y mut [f32],
    pub(crate) image: &'a [f32],
    pub(crate) packed: &'a [f32],
    pub(crate) c: usize,
    pub(crate) width: usize,
    pub(crate) kw: usize,
    /// The (source row, tap) pairs.
    pub(crate) vertical: Vec<(usize, usize)>,
    pub(crate) plan: &'a Plan,
    pub(crate) epilogue: Epilogue<'a>,
}

impl WithSimd for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (positions, interior) = (self.plan.horizontal.len(), self.plan.interior.clone());
        let mut pairs = Pairs::default();
        for position in (0..interior.start).chain(interior.end..positions) {
            pairs.fill(&self, position);
            self.positions::<S, 1, 4>(simd, &pairs, position, 0);
        }
        if interior.is_empty() {
            return;
        }
        // The pairs of the first one, shifted, are those of all others.
        pairs.fill(&self, interior.start);
        let mut position = interior.start;
        while position < interior.end {
            let shift = (position - interior.start) * self.plan.step * self.c;
            if position + GROUP <= interior.end {
                self.positions::<S, GROUP, 2>(simd, &pairs, position, shift);
                position += GROUP;
            } else {
                self.positions::<S, 1, 4>(simd, &pairs, position, shift);
                position += 1;
            }
        }
    }
}

/// The (source, tap) pairs of a position, as offsets into the image and the kernel.
#[derive(Default)]
struct Pairs {
    list: Vec<(usize, usize)>,
    last_source: usize,
    last_tap: usize,
}

impl Pairs {
    fn fill(&mut self, row: &Row<'_, '_>, position: usize) {
        self.list.clear();
        for &(y, ky) in &row.vertical {
            for &(x, kx) in &row.plan.horizontal[position] {
                self.list.push(((y * row.width + x) * row.c, (ky * row.kw + kx) * row.c));
            }
        }
        self.last_source = self.list.iter().map(|pair| pair.0).max().unwrap_or(0);
        self.last_tap = self.list.iter().map(|pair| pair.1).max().unwrap_or(0);
    }
}

impl Row<'_, '_> {
    /// Computes `P` positions whose sources lie `step` apart, `V` vectors at a time: enough sums to
    /// hide the latency of one.
    #[inline(always)]
    fn positions<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        pairs: &Pairs,
        first: usize,
        shift: usize,
    ) {
        let (c, step) = (self.c, self.plan.step * self.c);
        assert!(
            pairs.last_source + shift + (P - 1) * step + c <= self.image.len()
                && pairs.last_tap + c <= self.packed.len(),
            "a tap lies outside of the image"
        );
        let mut channel = 0;
        while channel + V * S::F32_LANES <= c {
            self.vectors::<S, P, V>(simd, pairs, (first, shift, channel));
            channel += V * S::F32_LANES;
        }
        while channel + S::F32_LANES <= c {
            self.vectors::<S, P, 1>(simd, pairs, (first, shift, channel));
            channel += S::F32_LANES;
        }
        if channel < c {
            let mut sums = [self.epilogue.bias(simd, channel); P];
            for &(source, tap) in &pairs.list {
                let weight = load(simd, &self.packed[tap + channel..tap + c]);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let at = source + shift + i * step;
                    *sum = simd.mul_add_e_f32s(weight, load(simd, &self.image[at + channel..at + c]), *sum);
                }
            }
            for (i, sum) in sums.into_iter().enumerate() {
                self.finish(simd, (first + i) * c + channel, c - channel, sum);
            }
        }
    }

    /// The inner loop, for `V` whole vectors from `channel` on. The caller has checked that the `P`
    /// sources and the tap of every pair have `c` channels, and that the vectors lie inside these.
    #[inline(always)]
    #[allow(
        unsafe_code,
        reason = "the innermost loop cannot afford bounds checks; see the safety argument below"
    )]
    fn vectors<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        pairs: &Pairs,
        (first, shift, channel): (usize, usize, usize),
    ) {
        let (c, step) = (self.c, self.plan.step * self.c);
        let mut sums = [[simd.splat_f32s(0.0); V]; P];
        for v in 0..V {
            let bias = self.epilogue.bias(simd, channel + v * S::F32_LANES);
            for sums in &mut sums {
                sums[v] = bias;
            }
        }
        for &(source, tap) in &pairs.list {
            // SAFETY: `positions` asserts `source + shift + (P - 1) * step + c <= image.len()` and
            // `tap + c <= packed.len()` for the largest source and tap, and calls this only where
            // `channel + V * F32_LANES <= c`, so each range read lies inside its slice; `S::f32s`
            // is `F32_LANES` consecutive f32, of which any bits are valid.
            let vector = |slice: &[f32], at: usize| unsafe {
                slice.as_ptr().add(at + channel).cast::<S::f32s>().read_unaligned()
            };
            let mut weights = [simd.splat_f32s(0.0); V];
            for (v, weight) in weights.iter_mut().enumerate() {
                *weight = vector(self.packed, tap + v * S::F32_LANES);
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                for (v, (sum, weight)) in sums.iter_mut().zip(weights).enumerate() {
                    let x = vector(self.image, source + shift + i * step + v * S::F32_LANES);
                    *sum = simd.mul_add_e_f32s(weight, x, *sum);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                self.finish(simd, (first + i) * c + channel + v * S::F32_LANES, S::F32_LANES, sum);
            }
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, at: usize, lanes: usize, mut sum: S::f32s) {
        if let Some(residual) = self.epilogue.residual {
            sum = simd.add_f32s(sum, load(simd, &residual[at..at + lanes]));
        }
        store(simd, &mut self.out[at..at + lanes], self.epilogue.finish(simd, sum));
    }
}

/// Gradient of the packed weight, `[k_h][k_w][C]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    let (c, size) = (g.co, g.kh * g.kw * g.co);
    // Partial sums over fixed ranges of rows, added in order.
    let range = g.oh.div_ceil(if g.n < 8 { 4 } else { 1 });
    let ranges = g.oh.div_ceil(range);
    let partials: Vec<Vec<f32>> = (0..g.n * ranges)
        .into_par_iter()
        .map(|index| {
            let (n, first) = (index / ranges, index % ranges * range);
            let mut sum = vec![0.0; size];
            let image = &x[n * g.h * g.w * c..][..g.h * g.w * c];
            for oy in first..(first + range).min(g.oh) {
                let grad = &grad[(n * g.oh + oy) * g.ow * c..][..g.ow * c];
                for (iy, ky) in taps_of_output(oy, g.kh, g.stride, g.top, g.h) {
                    let line = &image[iy * g.w * c..][..g.w * c];
                    let sum = &mut sum[ky * g.kw * c..][..g.kw * c];
                    match g.kw {
                        3 => Arch::new().dispatch(Correlation::<3> { sum, line, grad, g }),
                        5 => Arch::new().dispatch(Correlation::<5> { sum, line, grad, g }),
                        _ => Arch::new().dispatch(Correlation::<1> { sum, line, grad, g }),
                    }
                }
            }
            sum
        })
        .collect();
    sum_in_order(partials, size)
}

/// Adds to `sum`, `[k_w][C]`, the products of one output row's gradient with an input row, for `K`
/// taps at a time.
struct Correlation<'a, 's, const K: usize> {
    sum: &'s mut [f32],
    line: &'a [f32],
    grad: &'a [f32],
    g: &'a Geometry,
}

impl<const K: usize> WithSimd for Correlation<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for first in (0..self.g.kw).step_by(K) {
            self.taps(simd, first);
        }
    }
}

impl<const K: usize> Correlation<'_, '_, K> {
    #[inline(always)]
    fn taps<S: Simd>(&mut self, simd: S, tap: usize) {
        let (g, c) = (self.g, self.g.co);
        // Output columns for which the tap `kx` lies inside the row: 0 <= ox * stride + kx - left <
        // w.
        let first_of = |kx: usize| g.left.saturating_sub(kx).div_ceil(g.stride);
        let end_of = |kx: usize| (g.w + g.left).saturating_sub(kx).div_ceil(g.stride).min(g.ow);
        let (start, end) = (first_of(tap), end_of(tap + K - 1));
        for kx in tap..tap + K {
            // Columns for which some of the K taps lie outside go one by one.
            for ox in
                (first_of(kx)..start.min(end_of(kx))).chain(end.max(first_of(kx)).max(start)..end_of(kx))
            {
                let at = (ox * g.stride + kx - g.left) * c;
                let (x, d) = (&self.line[at..at + c], &self.grad[ox * c..][..c]);
                for ((s, x), d) in self.sum[kx * c..][..c].iter_mut().zip(x).zip(d) {
                    *s += x * d;
                }
            }
        }
        // Blocks of a few positions, whose rows stay in the first-level cache.
        for block in (start..end).step_by(8) {
            let block_end = (block + 8).min(end);
            let mut channel = 0;
            while channel < c {
                let lanes = (c - channel).min(S::F32_LANES);
                let mut sums = [simd.splat_f32s(0.0); K];
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = load(simd, &self.sum[(tap + k) * c + channel..][..lanes]);
                }
                for ox in block..block_end {
                    let d = load(simd, &self.grad[ox * c + channel..][..lanes]);
                    let at = (ox * g.stride + tap - g.left) * c + channel;
                    for (k, sum) in sums.iter_mut().enumerate() {
                        let x = load(simd, &self.line[at + k * c..][..lanes]);
                        *sum = simd.mul_add_e_f32s(x, d, *sum);
                    }
                }
                for (k, sum) in sums.into_iter().enumerate() {
                    store(simd, &mut self.sum[(tap + k) * c + channel..][..lanes], sum);
                }
                channel += lanes;
            }
        }
    }
}

/// The input indices and taps that output index `out` reads along one axis.
pub(crate) fn taps_of_output(
    out: usize,
    kernel: usize,
    stride: usize,
    before: usize,
    size: usize,
) -> Vec<(usize, usize)> {
    (0..kernel)
        .filter_map(|k| (out * stride + k).checked_sub(before).filter(|&i| i < size).map(|i| (i, k)))
        .collect()
}

/// The output indices and taps that read input index `input` along one axis.
fn taps_of_input(
    input: usize,
    kernel: usize,
    stride: usize,
    before: usize,
    out: usize,
) -> Vec<(usize, usize)> {
    (0..kernel)
        .filter_map(|k| {
            let shifted = (input + before).checked_sub(k)?;
            (shifted % stride == 0 && shifted / stride < out).then_some((shifted / stride, k))
        })
        .collect()
}
