//! Operators that work element by element.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch::{self, Affine};
use super::runner::Runner;
use crate::nonlinearity::Nonlinearity;
use crate::recorded::{Pass, record1, record2};

/// `kind(x)`.
pub(crate) fn nonlinearity(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    let x = x.contiguous()?;
    let runner = Runner::of(&x)?;
    let none = Affine { scale: None, shift: None, added: None };
    let y = launch::pointwise(&runner, &Array::of(&x)?, &none, kind, (x.elem_count(), 1))?;
    record1("nonlinearity", &x, y.result(x.shape())?, move |pass: &Pass<'_, 1>| {
        Ok([pass.gradient(0, || masked(&runner, kind, pass.result, pass.grad))?])
    })
}

/// `kind(a + b)` of two tensors of one shape.
pub(crate) fn add_nonlinearity(a: &Tensor, b: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let runner = Runner::of(&a)?;
    let added = Array::of(&b)?;
    let sum = Affine { scale: None, shift: None, added: Some(&added) };
    let y = launch::pointwise(&runner, &Array::of(&a)?, &sum, kind, (a.elem_count(), 1))?;
    record2("add_nonlinearity", [&a, &b], y.result(a.shape())?, move |pass: &Pass<'_, 2>| {
        let grad = masked(&runner, kind, pass.result, pass.grad)?;
        let gradient = |index| pass.gradient(index, || Ok(grad.clone()));
        Ok([gradient(0)?, gradient(1)?])
    })
}

/// The gradient of the input of `kind`.
fn masked(runner: &Runner, kind: Nonlinearity, result: &Tensor, grad: &Tensor) -> Result<Tensor> {
    if kind == Nonlinearity::Identity {
        return Ok(grad.clone());
    }
    let (grad, y) = (Array::of(grad)?, Array::of(result)?);
    launch::sum_masked(runner, (&grad, None), (&y, kind), result.elem_count())?.into_tensor(result.shape())
}

/// `x scale + shift` of `x`, `[N, H, W, C]`, with constants `[C]`.
pub(crate) fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let (x, c) = (x.contiguous()?, scale.elem_count());
    let runner = Runner::of(&x)?;
    let (scale, shift, length) = (Array::parameter(scale)?, Array::parameter(shift)?, x.elem_count());
    let affine = Affine { scale: Some(&scale), shift: Some(&shift), added: None };
    let y = launch::pointwise(&runner, &Array::of(&x)?, &affine, Nonlinearity::Identity, (length, c))?;
    record1("channel_affine", &x, y.result(x.shape())?, move |pass: &Pass<'_, 1>| {
        let affine = Affine { scale: Some(&scale), shift: None, added: None };
        let grad = Array::of(pass.grad)?;
        let dx = || {
            let dx = launch::pointwise(&runner, &grad, &affine, Nonlinearity::Identity, (length, c))?;
            dx.into_tensor(pass.args[0].shape())
        };
        Ok([pass.gradient(0, dx)?])
    })
}
