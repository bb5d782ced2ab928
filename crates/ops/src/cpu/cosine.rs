//! Cosine distance along the channels.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, output, vectorized};
use crate::cpu::parallel::block_rows;

/// Cosine distance of `a` and `b`, `[N, C, H, W]`, at each position. Nothing is copied where both
/// lie channels last in memory, as the results of native kernels do.
pub(crate) fn cosine_distance(a: &Tensor, b: &Tensor, smallest_norm: f64) -> Result<Tensor> {
    let a = a.permute((0, 2, 3, 1))?.contiguous()?;
    let b = b.permute((0, 2, 3, 1))?.contiguous()?;
    a.apply_op2(&b, CosineDistance { smallest_norm: smallest_norm as f32 })
}

struct CosineDistance {
    smallest_norm: f32,
}

impl CustomOp2 for CosineDistance {
    fn name(&self) -> &'static str {
        "cosine_distance"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (elements(s1, l1)?, elements(s2, l2)?);
        let (n, h, w, c) = l1.shape().dims4()?;
        let mut distance = vec![0.0; n * h * w];
        let rows = block_rows(c);
        distance.par_chunks_mut(rows).enumerate().for_each(|(block, distance)| {
            vectorized(
                #[inline(always)]
                || {
                    for (offset, d) in distance.iter_mut().enumerate() {
                        let start = (block * rows + offset) * c;
                        let (dot, aa, bb) = products(&a[start..start + c], &b[start..start + c]);
                        *d = 1.0 - dot / (self.clamped(aa) * self.clamped(bb));
                    }
                },
            );
        });
        output(distance, (n, h, w))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (a_host, b_host, grad) = (Host::new(a)?, Host::new(b)?, Host::new(&grad)?);
        let c = a.dim(D::Minus1)?;
        let gradient = |this: &Tensor, x: &[f32], other: &[f32]| {
            this.track_op().then(|| {
                let mut dx = vec![0.0; x.len()];
                let rows = block_rows(c);
                dx.par_chunks_mut((rows * c).max(1)).enumerate().for_each(|(block, dx)| {
                    vectorized(
                        #[inline(always)]
                        || {
                            for (offset, dx) in dx.chunks_exact_mut(c).enumerate() {
                                let position = block * rows + offset;
                                let range = position * c..(position + 1) * c;
                                self.row_gradient(dx, &x[range.clone()], &other[range], grad[position]);
                            }
                        },
                    );
                });
                Tensor::from_vec(dx, this.shape(), this.device())
            })
        };
        Ok((gradient(a, &a_host, &b_host).transpose()?, gradient(b, &b_host, &a_host).transpose()?))
    }
}

impl CosineDistance {
    /// `grad * d(1 - cos)/dx = -grad (o / (|x| |o|) - cos x / |x|²)`; a clamped norm is a constant.
    #[inline(always)]
    fn row_gradient(&self, dx: &mut [f32], x: &[f32], other: &[f32], grad: f32) {
        let (dot, xx, oo) = products(x, other);
        let (x_norm, o_norm) = (self.clamped(xx), self.clamped(oo));
        let across = -grad / (x_norm * o_norm);
        let along = if x_norm > self.smallest_norm { -across * dot / (x_norm * x_norm) } else { 0.0 };
        for ((d, x), o) in dx.iter_mut().zip(x).zip(other) {
            *d = across * o + along * x;
        }
    }

    #[inline(always)]
    fn clamped(&self, square: f32) -> f32 {
        square.sqrt().max(self.smallest_norm)
    }
}

/// `(a·b, a·a, b·b)`: eight lanes of f32 over a block, and f64 over the blocks, since a vector may
/// be a whole map.
#[inline(always)]
fn products(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    const BLOCK: usize = 512;
    let mut total = [0.0_f64; 3];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        for (total, sum) in total.iter_mut().zip(block_products(a, b)) {
            *total += f64::from(sum);
        }
    }
    let [dot, aa, bb] = total;
    (dot as f32, aa as f32, bb as f32)
}

#[inline(always)]
fn block_products(a: &[f32], b: &[f32]) -> [f32; 3] {
    let (mut dot, mut aa, mut bb) = ([0.0_f32; 8], [0.0_f32; 8], [0.0_f32; 8]);
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder());
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            dot[lane] += a[lane] * b[lane];
            aa[lane] += a[lane] * a[lane];
            bb[lane] += b[lane] * b[lane];
        }
    }
    let mut sums = [dot, aa, bb].map(|lanes| lanes.iter().sum::<f32>());
    for (a, b) in rest {
        for (sum, product) in sums.iter_mut().zip([a * b, a * a, b * b]) {
            *sum += product;
        }
    }
    sums
}
