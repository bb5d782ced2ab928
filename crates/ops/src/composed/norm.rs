//! Batch normalisation of candle's operators, with its gradients in closed form: recorded step by
//! step they would take five times as many operators and keep as many maps.

use candle_core::{Result, Tensor};

use crate::composed::half::widened;
use crate::composed::pointwise::{masked_gradient, rectified};
use crate::nonlinearity::Nonlinearity;
use crate::recorded::{Pass, record3, result_of};

/// Normalises `x`, `[N, C, H, W]`, by the statistics of the batch. Gives the result, and the mean
/// and the biased variance.
pub(crate) fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    kind: Nonlinearity,
) -> Result<(Tensor, [Tensor; 2])> {
    let c = weight.elem_count();
    let per_channel = move |values: &Tensor| values.detach().reshape((1, c, 1, 1));
    // f32, because a sum in half precision stops growing once its terms are small beside it.
    let input = widened(&x.detach())?;
    let mean = input.mean_keepdim((0, 2, 3))?;
    let centred = input.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let deviation = (&variance + epsilon)?.sqrt()?;
    let y = centred.broadcast_div(&deviation)?;
    let y = y.broadcast_mul(&per_channel(weight)?)?.broadcast_add(&per_channel(bias)?)?;
    let y = rectified(&y.to_dtype(x.dtype())?, kind)?;
    let statistics = [mean.reshape(c)?, variance.reshape(c)?];
    let y = record3("batch_norm_train", [x, weight, bias], result_of(&y)?, move |pass: &Pass<'_, 3>| {
        let [x, weight, _] = pass.args;
        let normalised = widened(&x.detach())?.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
        let grad = widened(&masked_gradient(kind, pass.result, pass.grad)?)?;
        let sum = |x: &Tensor| x.sum_keepdim((0, 2, 3));
        let (plain, product) = (sum(&grad)?, sum(&(&grad * &normalised)?)?);
        let dx = || {
            let count = (x.elem_count() / c) as f64;
            let along = normalised.broadcast_mul(&(&product / count)?)?;
            let away = (grad.broadcast_sub(&(&plain / count)?)? - along)?;
            away.broadcast_mul(&per_channel(weight)?.div(&deviation)?)
        };
        Ok([
            pass.gradient(0, dx)?,
            pass.gradient(1, || Ok(product.clone()))?,
            pass.gradient(2, || Ok(plain.clone()))?,
        ])
    })?;
    Ok((y, statistics))
}
