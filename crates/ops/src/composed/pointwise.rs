//! Operators that work element by element, of candle's operators.

use candle_core::{Result, Tensor};

use crate::composed::half::widened;
use crate::nonlinearity::Nonlinearity;
use crate::recorded::{Pass, record1, result_of};

/// `kind(x)`. The gradient of candle's own ReLU at 0 is 1, so that this one has its own.
pub(crate) fn nonlinearity(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    if kind == Nonlinearity::Identity {
        return Ok(x.clone());
    }
    let y = rectified(&x.detach(), kind)?;
    record1("nonlinearity", x, result_of(&y)?, move |pass: &Pass<'_, 1>| {
        Ok([pass.gradient(0, || masked_gradient(kind, pass.result, pass.grad))?])
    })
}

/// `kind(x)` without a gradient. A value that is not a number stays.
pub(crate) fn rectified(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    let dtype = x.dtype();
    match kind {
        Nonlinearity::Identity => Ok(x.clone()),
        Nonlinearity::Relu => x.mul(&x.gt(0.0)?.to_dtype(dtype)?),
        Nonlinearity::Relu6 => {
            let above = x.ge(6.0)?.to_dtype(dtype)?;
            let inside = (x.gt(0.0)?.to_dtype(dtype)? - &above)?;
            x.mul(&inside)? + (above * 6.0)?
        }
    }
}

/// `grad` where the result `y` lies strictly between the bounds of `kind`, 0 elsewhere.
pub(crate) fn masked_gradient(kind: Nonlinearity, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let inside = match kind {
        Nonlinearity::Identity => return Ok(grad.clone()),
        Nonlinearity::Relu => y.detach().gt(0.0)?,
        Nonlinearity::Relu6 => (y.detach().gt(0.0)? * y.detach().lt(6.0)?)?,
    };
    grad.mul(&inside.to_dtype(grad.dtype())?)
}

/// `kind(a + b)` of two tensors of one shape.
pub(crate) fn add_nonlinearity(a: &Tensor, b: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    nonlinearity(&a.add(b)?, kind)
}

/// `x scale + shift` of `x`, `[N, C, H, W]`, with constants `[C]`.
pub(crate) fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let [scale, shift] = [scale, shift].map(|constant| constant.reshape((1, (), 1, 1)));
    widened(x)?.broadcast_mul(&scale?)?.broadcast_add(&shift?)?.to_dtype(x.dtype())
}
