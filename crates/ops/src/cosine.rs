use candle_core::{CpuStorage, CustomOp2, D, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, is_native, output, vectorized};
use crate::cpu::parallel::block_rows;
use crate::half::{is_half, widened};

/// Lower bound of each norm, as in PyTorch's `cosine_similarity`.
const EPSILON: f64 = 1e-8;

/// Cosine distance of two feature maps at each position: `1 - a·b / (max(|a|, 1e-8) max(|b|, 1e-8))`.
///
/// # Shapes and units
/// `a`, `b`: `[N, C, H, W]`. Gives `[N, H, W]` with values in 0..=2.
///
/// # Errors
/// When the shapes differ or are not of rank 4.
pub fn cosine_distance(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.dims4()?;
    if a.dims() != b.dims() {
        return Err(Error::ShapeMismatchBinaryOp {
            lhs: a.shape().clone(),
            rhs: b.shape().clone(),
            op: "cosine_distance",
        }
        .bt());
    }
    if is_half(a) && is_half(b) {
        return cosine_distance(&widened(a)?, &widened(b)?)?.to_dtype(a.dtype());
    }
    if is_native(a) && is_native(b) {
        // Free of copies where the tensors come out of our own networks.
        let a = a.permute((0, 2, 3, 1))?.contiguous()?;
        let b = b.permute((0, 2, 3, 1))?.contiguous()?;
        return a.apply_op2(&b, CosineDistance);
    }
    let norm = |x: &Tensor| -> Result<Tensor> { x.sqr()?.sum(1)?.maximum(EPSILON * EPSILON)?.sqrt() };
    let cosine = a.mul(b)?.sum(1)?.div(&norm(a)?.mul(&norm(b)?)?)?;
    1.0 - cosine
}

struct CosineDistance;

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
            vectorized(|| {
                for (offset, d) in distance.iter_mut().enumerate() {
                    let start = (block * rows + offset) * c;
                    let (dot, aa, bb) = products(&a[start..start + c], &b[start..start + c]);
                    *d = 1.0 - dot / (clamped(aa) * clamped(bb));
                }
            });
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
                    vectorized(|| {
                        for (offset, dx) in dx.chunks_exact_mut(c).enumerate() {
                            let position = block * rows + offset;
                            let range = position * c..(position + 1) * c;
                            row_gradient(dx, &x[range.clone()], &other[range], grad[position]);
                        }
                    });
                });
                Tensor::from_vec(dx, this.shape(), this.device())
            })
        };
        Ok((gradient(a, &a_host, &b_host).transpose()?, gradient(b, &b_host, &a_host).transpose()?))
    }
}

/// `grad * d(1 - cos)/dx = -grad (o / (|x| |o|) - cos x / |x|²)`; a clamped norm is a constant.
#[inline(always)]
fn row_gradient(dx: &mut [f32], x: &[f32], other: &[f32], grad: f32) {
    let (dot, xx, oo) = products(x, other);
    let (x_norm, o_norm) = (clamped(xx), clamped(oo));
    let across = -grad / (x_norm * o_norm);
    let along = if x_norm > EPSILON as f32 { -across * dot / (x_norm * x_norm) } else { 0.0 };
    for ((d, x), o) in dx.iter_mut().zip(x).zip(other) {
        *d = across * o + along * x;
    }
}

#[inline(always)]
fn clamped(square: f32) -> f32 {
    square.sqrt().max(EPSILON as f32)
}

/// `(a·b, a·a, b·b)`: eight lanes of f32 over a block, blocks in f64, so that a whole map may be one vector.
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
