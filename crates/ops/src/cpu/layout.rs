//! Images with their channels first to images with their channels last.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::cpu::host::{elements, output, vectorized};
use crate::cpu::parallel::block_rows;
use crate::cpu::target::computed;

/// `x`, `[N, C, H, W]`, as contiguous `[N, H, W, C]`. Nothing is copied where `x` is a view of
/// such.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor> {
    let last = x.permute((0, 2, 3, 1))?;
    if last.is_contiguous() {
        return Ok(last);
    }
    x.contiguous()?.apply_op1(ChannelsLast)
}

struct ChannelsLast;

impl CustomOp1 for ChannelsLast {
    fn name(&self) -> &'static str {
        "channels_last"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = elements(storage, layout)?;
        let (n, c, h, w) = layout.shape().dims4()?;
        let (pixels, image) = (h * w, h * w * c);
        let rows = block_rows(c);
        let y = computed(x.len(), |y| {
            y.pieces(image, rows * c, |n, index, y| {
                let x = &x[n * image..][..image];
                vectorized(
                    #[inline(always)]
                    || match c {
                        // The usual number for itself: the compiler knows the distance of writes.
                        3 => interleave(x, pixels, index * rows, y.as_chunks_mut::<3>().0),
                        _ => {
                            for (k, x) in x.chunks_exact(pixels).enumerate() {
                                for (y, x) in y.chunks_exact_mut(c).zip(&x[index * rows..]) {
                                    y[k] = *x;
                                }
                            }
                        }
                    },
                );
            });
        });
        output(y, (n, h, w, c))
    }

    fn bwd(&self, _arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.permute((0, 3, 1, 2)).map(Some)
    }
}

/// The channels of the pixels from `first` on, side by side.
#[inline(always)]
pub(crate) fn interleave<const C: usize>(x: &[f32], pixels: usize, first: usize, y: &mut [[f32; C]]) {
    let mut channels = [x; C];
    for (k, channel) in channels.iter_mut().enumerate() {
        *channel = &x[k * pixels + first..][..y.len()];
    }
    for (at, y) in y.iter_mut().enumerate() {
        for k in 0..C {
            y[k] = channels[k][at];
        }
    }
}
