//! Cosine distance of candle's operators, with its gradients in closed form.

use candle_core::{Result, Tensor};

use crate::recorded::{Pass, record2, result_of};

/// Cosine distance of `a` and `b`, `[N, C, H, W]`, at each position.
pub(crate) fn cosine_distance(a: &Tensor, b: &Tensor, smallest_norm: f64) -> Result<Tensor> {
    let norm = |x: &Tensor| -> Result<Tensor> {
        x.sqr()?.sum_keepdim(1)?.maximum(smallest_norm * smallest_norm)?.sqrt()
    };
    let (left, right) = (a.detach(), b.detach());
    let norms = [norm(&left)?, norm(&right)?];
    let cosine = left.mul(&right)?.sum_keepdim(1)?.div(&norms[0].mul(&norms[1])?)?;
    let distance = (1.0 - &cosine)?.squeeze(1)?;
    record2("cosine_distance", [a, b], result_of(&distance)?, move |pass: &Pass<'_, 2>| {
        let grad = pass.grad.unsqueeze(1)?;
        // -grad (other / (|this| |other|) - cos this / |this|²); a norm at its bound is a constant.
        let gradient = |this: usize| {
            let (x, other) = (pass.args[this].detach(), pass.args[1 - this].detach());
            let across = grad.neg()?.div(&norms[0].mul(&norms[1])?)?;
            let is_free = norms[this].gt(smallest_norm)?.to_dtype(x.dtype())?;
            let along = grad.mul(&cosine)?.mul(&is_free)?.div(&norms[this].sqr()?)?;
            other.broadcast_mul(&across)? + x.broadcast_mul(&along)?
        };
        Ok([pass.gradient(0, || gradient(0))?, pass.gradient(1, || gradient(1))?])
    })
}
