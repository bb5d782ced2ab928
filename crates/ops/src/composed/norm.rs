//! Batch normalisation of candle's operators.

use candle_core::{Result, Tensor};

use crate::composed::half::widened;
use crate::composed::pointwise::nonlinearity;
use crate::nonlinearity::Nonlinearity;

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
    // f32, because a sum in half precision stops growing once its terms are small beside it.
    let input = widened(x)?;
    let mean = input.mean_keepdim((0, 2, 3))?;
    let centred = input.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let y = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    let y = y.broadcast_mul(&weight.reshape((1, c, 1, 1))?)?.broadcast_add(&bias.reshape((1, c, 1, 1))?)?;
    let statistics = [mean.detach().reshape(c)?, variance.detach().reshape(c)?];
    Ok((nonlinearity(&y.to_dtype(x.dtype())?, kind)?, statistics))
}
