use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, is_native, output};
use crate::half::{is_half, widened};

/// Nearest-neighbour upsampling by a whole factor.
///
/// # Shapes and units
/// `x`: `[N, C, H, W]`. Gives `[N, C, factor H, factor W]`.
///
/// # Errors
/// When `x` is not of rank 4.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    // As a broadcast, whose gradient is a sum: candle's own operator overwrites gradients of its input.
    let (n, c, h, w) = x.dims4()?;
    x.reshape((n, c, h, 1, w, 1))?.broadcast_as((n, c, h, factor, w, factor))?.contiguous()?.reshape((
        n,
        c,
        h * factor,
        w * factor,
    ))
}

/// Bilinear resampling to any size.
///
/// # Shapes and units
/// `x`: `[N, C, H, W]`. Gives `[N, C, height, width]`. With `align_corners` the corner pixels of both grids coincide;
/// without it, pixels are areas, as in PyTorch's `interpolate`.
///
/// # Errors
/// When `x` is not of rank 4 or a size is zero.
pub fn upsample_bilinear(x: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    if [h, w, height, width].contains(&0) {
        return Err(Error::Msg(format!("upsample_bilinear: from {h}x{w} to {height}x{width}")).bt());
    }
    if is_half(x) {
        // Rounded, the weights of a pixel would not add up to 1.
        return upsample_bilinear(&widened(x)?, height, width, align_corners)?.to_dtype(x.dtype());
    }
    let (rows, cols) = (Taps::new(h, height, align_corners), Taps::new(w, width, align_corners));
    if is_native(x) {
        return x.contiguous()?.apply_op1(Bilinear { rows, cols });
    }
    // Two multiplications with interpolation matrices: exact gradients from candle's matmul on any device.
    let rows = rows.matrix(x)?;
    let cols = cols.matrix(x)?;
    let x = x.reshape((n * c * h, w))?.matmul(&cols.t()?)?;
    let x = x.reshape((n * c, h, width))?;
    rows.broadcast_left(n * c)?.matmul(&x)?.reshape((n, c, height, width))
}

/// Linear interpolation along one axis: output `i` is `near (1 - t) + far t`.
#[derive(Debug, Clone)]
struct Taps {
    size: usize,
    taps: Vec<(usize, usize, f64)>,
}

impl Taps {
    fn new(size: usize, out: usize, align_corners: bool) -> Self {
        let last = size.saturating_sub(1);
        let taps = (0..out)
            .map(|i| {
                let position = if align_corners {
                    if out > 1 { i as f64 * last as f64 / (out - 1) as f64 } else { 0.0 }
                } else {
                    ((i as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0)
                };
                let near = (position.floor() as usize).min(last);
                (near, (near + 1).min(last), position - near as f64)
            })
            .collect();
        Self { size, taps }
    }

    fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        let mut matrix = vec![0.0_f64; self.taps.len() * self.size];
        for (row, &(near, far, t)) in matrix.chunks_exact_mut(self.size.max(1)).zip(&self.taps) {
            row[near] += 1.0 - t;
            row[far] += t;
        }
        Tensor::from_vec(matrix, (self.taps.len(), self.size), like.device())?.to_dtype(like.dtype())
    }
}

struct Bilinear {
    rows: Taps,
    cols: Taps,
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
