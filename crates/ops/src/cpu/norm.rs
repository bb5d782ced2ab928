//! Batch normalisation as an operator of candle, with its gradients.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use crate::cpu::host::{Host, elements, output};
use crate::cpu::normalizer::Normalizer;
use crate::cpu::target::{Target, computed};
use crate::nonlinearity::Nonlinearity;

/// Normalises `x`, `[N, H, W, C]`, by the statistics of the batch. Gives the result, and the mean
/// and the biased variance.
pub(crate) fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    kind: Nonlinearity,
) -> Result<(Tensor, [Tensor; 2])> {
    let x = x.contiguous()?;
    let normalizer = Normalizer::measure(&Host::new(&x)?, weight.elem_count(), epsilon, kind);
    let statistics = normalizer.statistics(x.device())?;
    let y = x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Train(normalizer))?;
    Ok((y, statistics))
}

struct Train(Normalizer);

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, parameters) = (elements(s1, l1)?, (elements(s2, l2)?, elements(s3, l3)?));
        output(computed(x.len(), |y| self.0.normalize(x, parameters, None, y)), l1.shape().clone())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_host, grad) = (Host::new(x)?, Host::new(&grad)?);
        let (w, b) = (Host::new(weight)?, Host::new(bias)?);
        let sums = self.0.gradient_sums(&x_host, &grad, (&w, &b));
        let dx = x
            .track_op()
            .then(|| {
                let compute = |dx: Target<'_>| self.0.input_gradient(&x_host, &grad, (&w, &b), &sums, dx);
                let dx = computed(grad.len(), compute);
                Tensor::from_vec(dx, x.shape(), x.device())
            })
            .transpose()?;
        Ok((dx, channel_gradient(weight, &sums.weight)?, channel_gradient(bias, &sums.bias)?))
    }
}

/// The gradient of a parameter that is tracked.
fn channel_gradient(parameter: &Tensor, values: &[f64]) -> Result<Option<Tensor>> {
    let values = || values.iter().map(|v| *v as f32).collect::<Vec<_>>();
    parameter
        .track_op()
        .then(|| Tensor::from_vec(values(), parameter.shape(), parameter.device()))
        .transpose()
}
