use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::Activation;
use crate::cpu::host::{Host, elements, output, vectorized, zeros};
use crate::cpu::parallel::block_rows;
use crate::half::widened;

/// Elements to a parallel piece.
const CHUNK: usize = 1 << 14;

/// What follows a normalised convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// Nothing.
    Identity,
    /// `max(x, 0)`; its gradient at exactly 0 is 0.
    Relu,
    /// `min(max(x, 0), 6)`; its gradient at exactly 0 and 6 is 0.
    Relu6,
}

impl Nonlinearity {
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Self::Relu6 => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        }
    }

    /// The gradient passes where the result lies strictly between these.
    pub(crate) fn bounds(self) -> (f32, f32) {
        match self {
            Self::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }

    /// The composed form for other devices and dtypes: a product with a constant mask, because the gradient of
    /// candle's own ReLU at 0 is 1.
    pub(crate) fn compose(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Relu => x.mul(&x.detach().gt(0.0)?.to_dtype(x.dtype())?),
            Self::Relu6 => {
                let above = x.detach().ge(6.0)?.to_dtype(x.dtype())?;
                let inside = (x.detach().gt(0.0)?.to_dtype(x.dtype())? - &above)?;
                x.mul(&inside)? + (above * 6.0)?
            }
        }
    }
}

/// Applies `kind` element by element.
///
/// # Errors
/// When the device fails.
pub fn nonlinearity(x: &Activation, kind: Nonlinearity) -> Result<Activation> {
    if kind == Nonlinearity::Identity {
        return Ok(x.clone());
    }
    if !x.channels_last() {
        return x.with(kind.compose(x.tensor())?);
    }
    x.with(x.tensor().contiguous()?.apply_op1(Apply(kind))?)
}

/// `kind(a + b)` in one pass: the end of a residual block.
///
/// # Errors
/// When the shapes differ.
pub fn add_nonlinearity(a: &Activation, b: &Activation, kind: Nonlinearity) -> Result<Activation> {
    if !a.channels_last() {
        return nonlinearity(&a.with(a.tensor().add(b.tensor())?)?, kind);
    }
    if a.dims()? != b.dims()? {
        let (lhs, rhs) = (a.tensor().shape().clone(), b.tensor().shape().clone());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "add_nonlinearity" }.bt());
    }
    a.with(a.tensor().contiguous()?.apply_op2(&b.tensor().contiguous()?, AddApply(kind))?)
}

/// `x scale + shift` with constants of each channel: no gradient reaches them.
///
/// # Shapes and units
/// `x`: (N, C, H, W); `scale`, `shift`: `[C]`.
///
/// # Errors
/// When a constant has another length than C.
pub fn channel_affine(x: &Activation, scale: &Tensor, shift: &Tensor) -> Result<Activation> {
    let (_, c, ..) = x.dims()?;
    if scale.dims() != [c] || shift.dims() != [c] {
        let (lhs, rhs) = (x.tensor().shape().clone(), scale.shape().clone());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "channel_affine" }.bt());
    }
    let (scale, shift) = (scale.detach().contiguous()?, shift.detach().contiguous()?);
    if !x.channels_last() {
        let (scale, shift) = (scale.reshape((1, c, 1, 1))?, shift.reshape((1, c, 1, 1))?);
        let y = widened(x.tensor())?.broadcast_mul(&scale)?.broadcast_add(&shift)?;
        return x.with(y.to_dtype(x.dtype())?);
    }
    let op = ChannelAffine { scale: Host::new(&scale)?.to_vec(), shift: Host::new(&shift)?.to_vec() };
    x.with(x.tensor().contiguous()?.apply_op1(op)?)
}

struct ChannelAffine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl ChannelAffine {
    fn apply(&self, x: &[f32], shift: &[f32]) -> Vec<f32> {
        let c = self.scale.len();
        let mut y = zeros(x.len());
        let chunk = block_rows(c) * c;
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| {
            vectorized(|| {
                let (scale, shift) = (&self.scale[..c], &shift[..c]);
                for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                    let (y, x) = (&mut y[..c], &x[..c]);
                    for k in 0..c {
                        y[k] = x[k] * scale[k] + shift[k];
                    }
                }
            });
        });
        y
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
        let mut y = zeros(x.len());
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorized(|| {
                y.copy_from_slice(x);
                self.0.apply(y);
            });
        });
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
        let mut y = zeros(a.len());
        let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
        y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, (a, b))| {
            vectorized(|| {
                for (y, (a, b)) in y.iter_mut().zip(a.iter().zip(b)) {
                    *y = a + b;
                }
                self.0.apply(y);
            });
        });
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

/// `to = kind(to + from)`.
pub(crate) fn accumulate(to: &mut [f32], from: &[f32], kind: Nonlinearity) {
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| {
        vectorized(|| {
            for (to, from) in to.iter_mut().zip(from) {
                *to += from;
            }
            kind.apply(to);
        });
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
    let mut dx = zeros(g.len());
    let inputs = y.par_chunks(CHUNK).zip(g.par_chunks(CHUNK));
    dx.par_chunks_mut(CHUNK).zip(inputs).for_each(|(dx, (y, g))| {
        vectorized(|| {
            for (dx, (y, g)) in dx.iter_mut().zip(y.iter().zip(g)) {
                *dx = masked(*g, *y, bounds);
            }
        });
    });
    Tensor::from_vec(dx, res.shape(), res.device())
}
