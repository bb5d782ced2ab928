//! Bilinear resampling, the rows first.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, output};
use crate::separable::Interpolation;

/// Resamples `x`, `[N, C, H, W]`, along the last two axes.
pub(crate) fn upsample_bilinear(x: &Tensor, rows: Interpolation, cols: Interpolation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Bilinear { rows, cols })
}

struct Bilinear {
    rows: Interpolation,
    cols: Interpolation,
}

impl CustomOp1 for Bilinear {
    fn name(&self) -> &'static str {
        "upsample_bilinear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = elements(storage, layout)?;
        let (n, c, h, w) = layout.shape().dims4()?;
        let (height, width) = (self.rows.taps.len(), self.cols.taps.len());
        let mut y = vec![0.0; n * c * height * width];
        y.par_chunks_mut((height * width).max(1)).zip(x.par_chunks((h * w).max(1))).for_each(|(y, x)| {
            let mut wide = vec![0.0; h * width];
            for (wide, x) in wide.chunks_exact_mut(width).zip(x.chunks_exact(w)) {
                for (out, &(near, far, t)) in wide.iter_mut().zip(&self.cols.taps) {
                    *out = x[near] + (x[far] - x[near]) * t as f32;
                }
            }
            for (y, &(near, far, t)) in y.chunks_exact_mut(width).zip(&self.rows.taps) {
                let (near, far) = (&wide[near * width..][..width], &wide[far * width..][..width]);
                for (out, (a, b)) in y.iter_mut().zip(near.iter().zip(far)) {
                    *out = a + (b - a) * t as f32;
                }
            }
        });
        output(y, (n, c, height, width))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (_, _, h, w) = arg.dims4()?;
        let (height, width) = (self.rows.taps.len(), self.cols.taps.len());
        let mut dx = vec![0.0; arg.elem_count()];
        let grad = Host::new(&grad)?;
        dx.par_chunks_mut((h * w).max(1)).zip(grad.par_chunks((height * width).max(1))).for_each(
            |(dx, grad)| {
                let mut wide = vec![0.0; h * width];
                for (grad, &(near, far, t)) in grad.chunks_exact(width).zip(&self.rows.taps) {
                    for (k, g) in grad.iter().enumerate() {
                        wide[near * width + k] += g * (1.0 - t) as f32;
                        wide[far * width + k] += g * t as f32;
                    }
                }
                for (dx, wide) in dx.chunks_exact_mut(w).zip(wide.chunks_exact(width)) {
                    for (g, &(near, far, t)) in wide.iter().zip(&self.cols.taps) {
                        dx[near] += g * (1.0 - t) as f32;
                        dx[far] += g * t as f32;
                    }
                }
            },
        );
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}
