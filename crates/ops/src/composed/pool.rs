//! Max pooling of candle's operators: candle's own has no padding and a wrong gradient.

use candle_core::{Result, Tensor};

/// Max pooling of `x`, `[N, C, H, W]`. The taps of the windows are strided slices, and a constant
/// mask selects the first occurrence of the maximum over the taps.
pub(crate) fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
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
    // The copy that picks the winner is lowered outside the image; the values themselves stay
    // exact.
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
