//! Depthwise convolution over channels-last images: each position is a short list of (source position, tap)
//! pairs, the same for all channels, so the inner loop runs along the channels without a branch. The input
//! gradient is the same loop with the pairs read the other way round.

use rayon::prelude::*;

use crate::conv_kernel::{Epilogue, Geometry, sum_in_order};
use crate::host::vectorized;

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

/// `[N, H, W, C]` to `[N, H', W', C]`.
pub(crate) fn forward(x: &[f32], packed: &[f32], g: &Geometry, epilogue: &Epilogue<'_>) -> Vec<f32> {
    let c = g.co;
    let mut y = vec![0.0; g.n * g.oh * g.ow * c];
    let horizontal: Vec<_> = (0..g.ow).map(|ox| taps_of_output(ox, g.kw, g.stride, g.left, g.w)).collect();
    y.par_chunks_mut(g.ow * c).with_min_len(2).enumerate().for_each(|(row, out)| {
        let image = &x[row / g.oh * g.h * g.w * c..][..g.h * g.w * c];
        let vertical = taps_of_output(row % g.oh, g.kh, g.stride, g.top, g.h);
        accumulate_row(out, image, packed, (c, g.w, g.kw), &vertical, &horizontal);
        epilogue.apply(out, c);
    });
    y
}

/// Gradient of the output to that of the input.
pub(crate) fn input_gradient(grad: &[f32], packed: &[f32], g: &Geometry) -> Vec<f32> {
    let c = g.co;
    let mut dx = vec![0.0; g.n * g.h * g.w * c];
    let horizontal: Vec<_> = (0..g.w).map(|ix| taps_of_input(ix, g.kw, g.stride, g.left, g.ow)).collect();
    dx.par_chunks_mut(g.w * c).with_min_len(2).enumerate().for_each(|(row, out)| {
        let image = &grad[row / g.h * g.oh * g.ow * c..][..g.oh * g.ow * c];
        let vertical = taps_of_input(row % g.h, g.kh, g.stride, g.top, g.oh);
        accumulate_row(out, image, packed, (c, g.ow, g.kw), &vertical, &horizontal);
    });
    dx
}

/// Gradient of the packed weight, `[k_h][k_w][C]`.
pub(crate) fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry) -> Vec<f32> {
    let (c, size) = (g.co, g.kh * g.kw * g.co);
    let partials: Vec<Vec<f32>> = x
        .par_chunks(g.h * g.w * c)
        .zip(grad.par_chunks(g.oh * g.ow * c))
        .map(|(image, grad)| {
            let mut sum = vec![0.0; size];
            for oy in 0..g.oh {
                let grad = &grad[oy * g.ow * c..][..g.ow * c];
                for (iy, ky) in taps_of_output(oy, g.kh, g.stride, g.top, g.h) {
                    let line = &image[iy * g.w * c..][..g.w * c];
                    for kx in 0..g.kw {
                        let sum = &mut sum[(ky * g.kw + kx) * c..][..c];
                        vectorized(|| correlate_row(sum, line, grad, kx, g));
                    }
                }
            }
            sum
        })
        .collect();
    sum_in_order(partials, size)
}

/// The input indices and taps that output index `out` reads along one axis.
fn taps_of_output(
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

/// One row of the result; `width` is the source's, `horizontal` holds each position's pairs along the row.
fn accumulate_row(
    out: &mut [f32],
    image: &[f32],
    packed: &[f32],
    (c, width, kw): (usize, usize, usize),
    vertical: &[(usize, usize)],
    horizontal: &[Vec<(usize, usize)>],
) {
    let mut pairs = Vec::with_capacity(vertical.len() * kw);
    for (out, horizontal) in out.chunks_exact_mut(c).zip(horizontal) {
        pairs.clear();
        for &(y, ky) in vertical {
            for &(x, kx) in horizontal {
                pairs.push(((y * width + x) * c, (ky * kw + kx) * c));
            }
        }
        vectorized(|| accumulate(out, image, packed, &pairs));
    }
}

#[inline(always)]
fn accumulate(out: &mut [f32], image: &[f32], packed: &[f32], pairs: &[(usize, usize)]) {
    let mut done = 0;
    while done + 16 <= out.len() {
        lanes::<16>(out, image, packed, pairs, done);
        done += 16;
    }
    while done + 8 <= out.len() {
        lanes::<8>(out, image, packed, pairs, done);
        done += 8;
    }
    while done < out.len() {
        lanes::<1>(out, image, packed, pairs, done);
        done += 1;
    }
}

#[inline(always)]
fn lanes<const L: usize>(
    out: &mut [f32],
    image: &[f32],
    packed: &[f32],
    pairs: &[(usize, usize)],
    channel: usize,
) {
    let mut sum = [0.0_f32; L];
    for &(source, tap) in pairs {
        let x = &image[source + channel..][..L];
        let w = &packed[tap + channel..][..L];
        for lane in 0..L {
            sum[lane] += x[lane] * w[lane];
        }
    }
    out[channel..channel + L].copy_from_slice(&sum);
}

/// Adds to `sum` the products of one output row's gradient with the input row, shifted by tap `kx`.
#[inline(always)]
fn correlate_row(sum: &mut [f32], line: &[f32], grad: &[f32], kx: usize, g: &Geometry) {
    let c = g.co;
    // Output columns whose source lies inside the row: 0 <= ox * stride + kx - left < w.
    let first = g.left.saturating_sub(kx).div_ceil(g.stride);
    let last = (g.w + g.left).saturating_sub(kx).div_ceil(g.stride).min(g.ow);
    let mut channel = 0;
    while channel < c {
        let lanes = (c - channel).min(16);
        let mut block = [0.0_f32; 16];
        for ox in first..last {
            let x = &line[(ox * g.stride + kx - g.left) * c + channel..][..lanes];
            let d = &grad[ox * c + channel..][..lanes];
            if lanes == 16 {
                for lane in 0..16 {
                    block[lane] += x[lane] * d[lane];
                }
            } else {
                for (b, (x, d)) in block.iter_mut().zip(x.iter().zip(d)) {
                    *b += x * d;
                }
            }
        }
        for (s, b) in sum[channel..channel + lanes].iter_mut().zip(block) {
            *s += b;
        }
        channel += lanes;
    }
}
