//! Max pooling along the channels.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, output, vectorized};
use crate::cpu::target::computed;

/// Max pooling of `x`, `[N, H, W, C]`.
pub(crate) fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(MaxPool { kernel, stride, padding })
}

struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl MaxPool {
    /// Calls `tap` with the position of every element of an output position's window.
    #[inline(always)]
    fn taps(&self, (oy, ox): (usize, usize), (h, w): (usize, usize), mut tap: impl FnMut(usize)) {
        for iy in window(oy, self.stride, self.kernel, self.padding, h) {
            for ix in window(ox, self.stride, self.kernel, self.padding, w) {
                tap(iy * w + ix);
            }
        }
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = elements(storage, layout)?;
        let (n, h, w, c) = layout.shape().dims4()?;
        let size = |s: usize| (s + 2 * self.padding - self.kernel) / self.stride + 1;
        let (oh, ow) = (size(h), size(w));
        let row = |n: usize, row: usize, y: &mut [f32]| {
            let image = &x[n * h * w * c..][..h * w * c];
            vectorized(
                #[inline(always)]
                || {
                    y.fill(f32::NEG_INFINITY);
                    for (ox, y) in y.chunks_exact_mut(c).enumerate() {
                        self.taps((row, ox), (h, w), |position| {
                            let x = &image[position * c..][..c];
                            for (y, x) in y.iter_mut().zip(x) {
                                // NaN wins, and stays.
                                *y = if (*x > *y) | x.is_nan() { *x } else { *y };
                            }
                        });
                    }
                },
            );
        };
        let y = computed(n * oh * ow * c, |y| y.pieces(oh * ow * c, ow * c, row));
        output(y, (n, oh, ow, c))
    }

    /// The gradient goes to the first of a window's elements that has the maximum.
    fn bwd(&self, arg: &Tensor, res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (x, y, grad) = (Host::new(arg)?, Host::new(res)?, Host::new(&grad)?);
        let (_, h, w, c) = arg.dims4()?;
        let (_, oh, ow, _) = res.dims4()?;
        let mut dx = vec![0.0_f32; x.len()];
        let outputs = y.par_chunks((oh * ow * c).max(1)).zip(grad.par_chunks((oh * ow * c).max(1)));
        let images = dx.par_chunks_mut((h * w * c).max(1)).zip(x.par_chunks((h * w * c).max(1)));
        images.zip(outputs).for_each(|((dx, x), (y, grad))| {
            let mut left = vec![0.0_f32; c];
            vectorized(
                #[inline(always)]
                || {
                    for (position, (y, grad)) in y.chunks_exact(c).zip(grad.chunks_exact(c)).enumerate() {
                        left.copy_from_slice(grad);
                        self.taps((position / ow, position % ow), (h, w), |at| {
                            let (dx, x) = (&mut dx[at * c..][..c], &x[at * c..][..c]);
                            for (((dx, x), y), left) in dx.iter_mut().zip(x).zip(y).zip(&mut left) {
                                let wins = (x == y) | (x.is_nan() & y.is_nan());
                                *dx += if wins { *left } else { 0.0 };
                                *left = if wins { 0.0 } else { *left };
                            }
                        });
                    }
                },
            );
        });
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}

fn window(out: usize, stride: usize, kernel: usize, padding: usize, size: usize) -> Range<usize> {
    let start = out * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}
