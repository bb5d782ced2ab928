use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use crate::Activation;
use crate::host::{Host, elements, output, vectorized};

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
    pub(crate) fn upper(self) -> f32 {
        if self == Self::Relu6 { 6.0 } else { f32::INFINITY }
    }

    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|v| *v = if *v > 0.0 { *v } else { 0.0 }),
            Self::Relu6 => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        }
    }

    /// Multiplies `grad` by the derivative, read off the result `y`.
    #[inline(always)]
    pub(crate) fn mask_gradient(self, grad: &mut [f32], y: &[f32]) {
        if self != Self::Identity {
            let upper = self.upper();
            for (g, &y) in grad.iter_mut().zip(y) {
                *g = if y > 0.0 && y < upper { *g } else { 0.0 };
            }
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
    if !a.channels_last() || kind == Nonlinearity::Identity {
        return nonlinearity(&a.add(b)?, kind);
    }
    if a.dims()? != b.dims()? {
        return a.add(b);
    }
    a.with(a.tensor().contiguous()?.apply_op2(&b.tensor().contiguous()?, AddApply(kind))?)
}

struct Apply(Nonlinearity);

impl CustomOp1 for Apply {
    fn name(&self) -> &'static str {
        "nonlinearity"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = elements(storage, layout)?.to_vec();
        vectorized(|| self.0.apply(&mut y));
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
        let mut y = Vec::with_capacity(a.len());
        y.extend(a.iter().zip(b).map(|(a, b)| a + b));
        vectorized(|| self.0.apply(&mut y));
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

fn masked_gradient(kind: Nonlinearity, res: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let grad_tensor = grad.contiguous()?;
    let (y, mut grad) = (Host::new(res)?, Host::new(&grad_tensor)?.to_vec());
    vectorized(|| kind.mask_gradient(&mut grad, &y));
    Tensor::from_vec(grad, res.shape(), res.device())
}
