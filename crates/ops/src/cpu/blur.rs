//! Gaussian blur, one thread to an image.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{elements, output, vectorized};
use crate::separable::{Gaussian, mirror};

/// Blurs the last two axes of `x`.
pub(crate) fn gaussian_blur(x: &Tensor, gaussian: &Gaussian) -> Result<Tensor> {
    let kernel = gaussian.weights.iter().map(|&weight| weight as f32).collect();
    x.contiguous()?.apply_op1_no_bwd(&Blur { kernel })
}

struct Blur {
    kernel: Vec<f32>,
}

impl CustomOp1 for Blur {
    fn name(&self) -> &'static str {
        "gaussian_blur"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = elements(storage, layout)?;
        let dims = layout.dims();
        let (h, w) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let radius = (self.kernel.len() / 2) as isize;
        let mut y = vec![0.0_f32; x.len()];
        y.par_chunks_mut((h * w).max(1)).zip(x.par_chunks((h * w).max(1))).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    let mut across = vec![0.0_f32; h * w];
                    let mut padded = vec![0.0_f32; w + self.kernel.len() - 1];
                    for (out, x) in across.chunks_exact_mut(w).zip(x.chunks_exact(w)) {
                        for (k, p) in padded.iter_mut().enumerate() {
                            *p = x[mirror(k as isize - radius, w)];
                        }
                        for (k, weight) in self.kernel.iter().enumerate() {
                            for (o, p) in out.iter_mut().zip(&padded[k..]) {
                                *o += weight * p;
                            }
                        }
                    }
                    for (row, out) in y.chunks_exact_mut(w).enumerate() {
                        for (k, weight) in self.kernel.iter().enumerate() {
                            let source = mirror(row as isize + k as isize - radius, h);
                            for (o, p) in out.iter_mut().zip(&across[source * w..][..w]) {
                                *o += weight * p;
                            }
                        }
                    }
                },
            );
        });
        output(y, layout.shape().clone())
    }
}
