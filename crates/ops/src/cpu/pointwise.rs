//! Operators that work element by element, each in one pass.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::host::{Host, elements, output, vectorized};
use crate::cpu::parallel::block_rows;
use crate::cpu::target::computed;
use crate::nonlinearity::Nonlinearity;

/// Elements to a parallel piece.
const CHUNK: usize = 1 << 14;

/// `kind(x)`.
pub(crate) fn nonlinearity(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Apply(kind))
}

/// `kind(a + b)` of two tensors of one shape.
pub(crate) fn add_nonlinearity(a: &Tensor, b: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, AddApply(kind))
}

/// `x scale + shift` of `x`, `[N, H, W, C]`, with constants `[C]`.
pub(crate) fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let op = ChannelAffine { scale: Host::new(scale)?.to_vec(), shift: Host::new(shift)?.to_vec() };
    x.contiguous()?.apply_op1(op)
}

struct ChannelAffine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl ChannelAffine {
    fn apply(&self, x: &[f32], shift: &[f32]) -> Vec<f32> {
        let c = self.scale.len();
        let chunk = block_rows(c) * c;
        let piece = |index: usize, y: &mut [f32]| {
            let x = &x[index * chunk..][..y.len()];
            vectorized(
                #[inline(always)]
                || {
                    let (scale, shift) = (&self.scale[..c], &shift[..c]);
                    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                        let (y, x) = (&mut y[..c], &x[..c]);
                        for k in 0..c {
                            y[k] = x[k] * scale[k] + shift[k];
                        }
                    }
                },
            );
        };
        computed(x.len(), |y| y.pieces(x.len(), chunk, |_, index, y| piece(index, y)))
    }
}

impl CustomOp1 for ChannelAffine {
    fn name(&self) -> &'static str {
        "channel_affine"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        output(self.apply(elements(storage, layout)?, &self.shift), layout.shape().clone())
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dx = self.apply(&Host::new(&grad)?, &vec![0.0; self.scale.len()]);
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}

struct Apply(Nonlinearity);

impl CustomOp1 for Apply {
    fn name(&self) -> &'static str {
        "nonlinearity"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = elements(storage, layout)?;
        let piece = |index: usize, y: &mut [f32]| {
            vectorized(
                #[inline(always)]
                || {
                    y.copy_from_slice(&x[index * CHUNK..][..y.len()]);
                    self.0.apply(y);
                },
            );
        };
        let y = computed(x.len(), |y| y.pieces(x.len(), CHUNK, |_, index, y| piece(index, y)));
        output(y, layout.shape().clone())
    }

    fn bwd(&self, _arg: &Tensor, res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        masked_gradient(self.0, res, grad).map(Some)
    }
}

struct AddApply(Nonlinearity);

impl CustomOp2 for AddApply {
    fn name(&self) -> &'static str {
        "add_nonlinearity"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (elements(s1, l1)?, elements(s2, l2)?);
        let piece = |index: usize, y: &mut [f32]| {
            let (a, b) = (&a[index * CHUNK..][..y.len()], &b[index * CHUNK..][..y.len()]);
            vectorized(
                #[inline(always)]
                || {
                    for (y, (a, b)) in y.iter_mut().zip(a.iter().zip(b)) {
                        *y = a + b;
                    }
                    self.0.apply(y);
                },
            );
        };
        let y = computed(a.len(), |y| y.pieces(a.len(), CHUNK, |_, index, y| piece(index, y)));
        output(y, l1.shape().clone())
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = masked_gradient(self.0, res, grad)?;
        Ok((a.track_op().then(|| grad.clone()), b.track_op().then_some(grad)))
    }
}

/// `to = to + from`.
pub(crate) fn accumulate(to: &mut [f32], from: &[f32]) {
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| {
        vectorized(
            #[inline(always)]
            || {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += from;
                }
            },
        );
    });
}

/// `grad` where the result `y` lies strictly inside `bounds`, 0 elsewhere; without a branch.
#[inline(always)]
pub(crate) fn masked(grad: f32, y: f32, (lower, upper): (f32, f32)) -> f32 {
    if (y > lower) & (y < upper) { grad } else { 0.0 }
}

pub(crate) fn masked_gradient(kind: Nonlinearity, res: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let grad = grad.contiguous()?;
    if kind == Nonlinearity::Identity {
        return Ok(grad);
    }
    let bounds = kind.bounds();
    let (y, g) = (Host::new(res)?, Host::new(&grad)?);
    let piece = |index: usize, dx: &mut [f32]| {
        let (y, g) = (&y[index * CHUNK..][..dx.len()], &g[index * CHUNK..][..dx.len()]);
        vectorized(
            #[inline(always)]
            || {
                for (dx, (y, g)) in dx.iter_mut().zip(y.iter().zip(g)) {
                    *dx = masked(*g, *y, bounds);
                }
            },
        );
    };
    let dx = computed(g.len(), |dx| dx.pieces(g.len(), CHUNK, |_, index, dx| piece(index, dx)));
    Tensor::from_vec(dx, res.shape(), res.device())
}
