//! Batch normalisation as an operator of candle, with its gradients.

use candle_core::{Result, Tensor};

use super::array::Array;
use super::launch::Norm;
use super::runner::Runner;
use crate::nonlinearity::Nonlinearity;
use crate::norm::Running;
use crate::recorded::{Pass, record3};

/// Normalises `x`, `[N, H, W, C]`, by the statistics of the batch, which move `running`. Gives the
/// result, and the mean and the biased variance.
pub(crate) fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    (epsilon, kind): (f64, Nonlinearity),
    running: Option<&Running<'_>>,
) -> Result<(Tensor, [Tensor; 2])> {
    let (x, c) = (x.contiguous()?, weight.elem_count());
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    let runner = Runner::of(&x)?;
    let norm = Norm { rows: x.elem_count() / c, c, epsilon, kind };
    let input = Array::of(&x)?;
    let moved = Moved::of(running)?;
    let moved = moved.as_ref().map(Moved::arrays);
    let statistics = norm.statistics(&runner, &input, moved)?.into_tensor((2, c))?;
    let both = [statistics.get(0)?, statistics.get(1)?];
    let statistics = Array::of(&statistics)?;
    let parameters = [Array::parameter(&weight)?, Array::parameter(&bias)?];
    let y = norm.apply(&runner, &input, [&statistics, &parameters[0], &parameters[1]], None)?;
    let args = [&x, &weight, &bias];
    let y = record3("batch_norm_train", args, y.result(x.shape())?, move |pass: &Pass<'_, 3>| {
        let layer = [&statistics, &parameters[0], &parameters[1]];
        let arrays = [&Array::of(pass.args[0])?, &Array::of(pass.grad)?];
        let (dx, sums) = norm.gradients(&runner, arrays, layer)?;
        // Of the bias and then of the weight.
        let sums = sums.into_tensor((2, norm.c))?;
        let dx = pass.gradient(0, || dx.into_tensor(pass.args[0].shape()))?;
        let of_weight = pass.gradient(1, || sums.get(1))?;
        Ok([dx, of_weight, pass.gradient(2, || sums.get(0))?])
    })?;
    Ok((y, both))
}

/// The running mean and variance that a launch moves, and how far.
pub(super) struct Moved {
    arrays: [Array; 2],
    momentum: f32,
}

impl Moved {
    pub(super) fn of(running: Option<&Running<'_>>) -> Result<Option<Self>> {
        let arrays = |running: &Running<'_>| {
            let arrays = [Array::of(running.mean)?, Array::of(running.variance)?];
            Ok(Self { arrays, momentum: running.momentum as f32 })
        };
        running.map(arrays).transpose()
    }

    pub(super) fn arrays(&self) -> ([&Array; 2], f32) {
        let [mean, variance] = &self.arrays;
        ([mean, variance], self.momentum)
    }
}
