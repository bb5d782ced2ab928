use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{elements, is_native, output, vectorized};
use crate::half::{is_half, widened};

/// Gaussian blur of the last two axes, mirrored at the border (the edge pixel counts twice: `d c b a | a b c d`) and
/// cut at four standard deviations, as `scipy.ndimage.gaussian_filter` does by default.
///
/// # Shapes and units
/// `x`: `[..., H, W]`; `sigma` in pixels, 0 leaves the image as it is. No gradient is recorded.
///
/// # Errors
/// When `x` has fewer than two axes.
pub fn gaussian_blur(x: &Tensor, sigma: f64) -> Result<Tensor> {
    if sigma <= 0.0 {
        return Ok(x.detach());
    }
    if is_half(x) {
        // Rounded, the weights would not add up to 1.
        return gaussian_blur(&widened(x)?, sigma)?.to_dtype(x.dtype());
    }
    let (h, w) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    let kernel = kernel(sigma);
    if is_native(x) {
        let kernel = kernel.into_iter().map(|weight| weight as f32).collect();
        return x.contiguous()?.apply_op1_no_bwd(&Blur { kernel });
    }
    let matrix = |size: usize| -> Result<Tensor> {
        let mut matrix = vec![0.0_f64; size * size];
        for (i, row) in matrix.chunks_exact_mut(size).enumerate() {
            for (k, weight) in kernel.iter().enumerate() {
                row[mirror(i as isize + k as isize - (kernel.len() / 2) as isize, size)] += weight;
            }
        }
        Tensor::from_vec(matrix, (size, size), x.device())?.to_dtype(x.dtype())
    };
    let flat = x.detach().reshape(((), h, w))?;
    let n = flat.dim(0)?;
    let rows = matrix(h)?.broadcast_left(n)?;
    let cols = matrix(w)?.t()?.contiguous()?.broadcast_left(n)?;
    rows.matmul(&flat)?.matmul(&cols)?.reshape(x.shape())
}

fn kernel(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let weights: Vec<f64> = (-radius..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The image index that stands at `index` when the image is mirrored beyond its borders.
fn mirror(index: isize, size: usize) -> usize {
    let period = 2 * size as isize;
    let wrapped = index.rem_euclid(period);
    (if wrapped < size as isize { wrapped } else { period - 1 - wrapped }) as usize
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
            vectorized(|| {
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
            });
        });
        output(y, layout.shape().clone())
    }
}
