use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::Activation;
use crate::cpu::host::{Host, elements, output, vectorized};

/// Max pooling over square windows. Padding never wins; of equal values the first in row order gets the gradient,
/// as in PyTorch.
///
/// # Shapes and units
/// `x`: (N, C, H, W). Gives (N, C, (H + 2 padding - kernel) / stride + 1, ...).
///
/// # Errors
/// When a window would be larger than the padded image, or `padding` exceeds half the kernel.
pub fn max_pool2d(x: &Activation, kernel: usize, stride: usize, padding: usize) -> Result<Activation> {
    let (_, _, h, w) = x.dims()?;
    if kernel == 0
        || stride == 0
        || 2 * padding > kernel
        || h + 2 * padding < kernel
        || w + 2 * padding < kernel
    {
        return Err(Error::Msg(format!(
            "max_pool2d: kernel {kernel}, stride {stride}, padding {padding} do not fit {h}x{w}"
        ))
        .bt());
    }
    if x.channels_last() {
        let op = MaxPool { kernel, stride, padding };
        return x.with(x.tensor().contiguous()?.apply_op1(op)?);
    }
    x.with(compose(x.tensor(), kernel, stride, padding)?)
}

/// candle's own pooling has no padding and a wrong gradient. Composed: the windows' taps are strided slices, and the
/// maximum over them is selected by a constant mask on its first occurrence.
fn compose(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (oh, ow) = ((h + 2 * padding - kernel) / stride + 1, (w + 2 * padding - kernel) / stride + 1);
    let reach = |out: usize| (out - 1) * stride + kernel;
    let pad = |x: &Tensor| -> Result<Tensor> {
        let mut x = x.clone();
        for (axis, size, out) in [(2, h, oh), (3, w, ow)] {
            x = x.pad_with_zeros(axis, padding, reach(out).saturating_sub(padding + size))?;
            x = x.narrow(axis, 0, reach(out))?;
        }
        x.contiguous()
    };
    let padded = pad(x)?;
    // Only the copy that picks the winner is lowered outside the image: the values themselves stay exact.
    let outside = (1.0 - pad(&x.ones_like()?.detach())?)?;
    let ranked = (&padded.detach() - (outside * 1e30)?)?;
    let strided = |axis: usize, x: &Tensor, start: usize, out: usize| -> Result<Tensor> {
        let index: Vec<u32> = (0..out).map(|i| (start + i * stride) as u32).collect();
        x.index_select(&Tensor::from_vec(index, out, x.device())?, axis)
    };
    let windows = |x: &Tensor| -> Result<Vec<Tensor>> {
        let mut taps = Vec::with_capacity(kernel * kernel);
        for ky in 0..kernel {
            let rows = strided(2, x, ky, oh)?.contiguous()?;
            for kx in 0..kernel {
                taps.push(strided(3, &rows, kx, ow)?);
            }
        }
        Ok(taps)
    };
    let (taps, ranks) = (windows(&padded)?, windows(&ranked)?);
    let best = Tensor::stack(&ranks, 0)?.max_keepdim(0)?;
    let mut taken = best.zeros_like()?.squeeze(0)?;
    let mut result = taken.clone();
    for (tap, rank) in taps.iter().zip(&ranks) {
        let equal = rank.eq(&best.squeeze(0)?)?.to_dtype(x.dtype())?;
        let first = equal.mul(&(1.0 - &taken)?)?;
        taken = (taken + &first)?;
        result = (result + tap.mul(&first)?)?;
    }
    Ok(result)
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
        let mut y = vec![f32::NEG_INFINITY; n * oh * ow * c];
        y.par_chunks_mut((ow * c).max(1)).enumerate().for_each(|(row, y)| {
            let image = &x[row / oh * h * w * c..][..h * w * c];
            vectorized(|| {
                for (ox, y) in y.chunks_exact_mut(c).enumerate() {
                    self.taps((row % oh, ox), (h, w), |position| {
                        let x = &image[position * c..][..c];
                        for (y, x) in y.iter_mut().zip(x) {
                            // NaN wins, and stays.
                            *y = if (*x > *y) | x.is_nan() { *x } else { *y };
                        }
                    });
                }
            });
        });
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
            vectorized(|| {
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
            });
        });
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}

fn window(out: usize, stride: usize, kernel: usize, padding: usize, size: usize) -> std::ops::Range<usize> {
    let start = out * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}
