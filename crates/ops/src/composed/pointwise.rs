//! Operators that work element by element, of candle's operators.

use candle_core::{Result, Tensor};

use crate::composed::half::widened;
use crate::nonlinearity::Nonlinearity;

/// `kind(x)`, as a product with a constant mask: the gradient of candle's own ReLU at 0 is 1.
pub(crate) fn nonlinearity(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    match kind {
        Nonlinearity::Identity => Ok(x.clone()),
        Nonlinearity::Relu => x.mul(&x.detach().gt(0.0)?.to_dtype(x.dtype())?),
        Nonlinearity::Relu6 => {
            let above = x.detach().ge(6.0)?.to_dtype(x.dtype())?;
            let inside = (x.detach().gt(0.0)?.to_dtype(x.dtype())? - &above)?;
            x.mul(&inside)? + (above * 6.0)?
        }
    }
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
