use candle_core::{Tensor, Var};
use fmam_ops::{Activation, channel_affine};

use crate::{FeaturePyramid, Init, ModelError, Params};

/// Gives a student's outputs the teacher's mean and deviation per channel: `mean + deviation * output`.
///
/// A student whose last layers are linear and normalised starts out with channels of mean 0 and deviation 1, while
/// the features of a homogeneous surface are a large constant with little around it. Learning that constant against
/// the student's own noise took hundreds of steps (`docs/src/method.md`); here it is measured once instead.
///
/// # Source
/// Ours; Batzner et al. 2023 (arXiv:2303.14535) scale the teacher's features instead.
#[derive(Debug)]
pub struct OutputAffine {
    /// Mean and deviation of each scale, `[C]`.
    scales: Vec<[Var; 2]>,
}

impl OutputAffine {
    /// The identity under trainable `params`, the saved values under frozen ones.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn new(channels: &[usize], params: &Params) -> Result<Self, ModelError> {
        let scales = channels.iter().enumerate().map(|(k, &c)| {
            let params = params.pp(k);
            Ok([
                params.buffer("mean", c, Init::Const(0.0))?,
                params.buffer("deviation", c, Init::Const(1.0))?,
            ])
        });
        Ok(Self { scales: scales.collect::<Result<_, ModelError>>()? })
    }

    /// Takes over the statistics of `features`, which stand for the teacher's on all training images.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the number of channels differs.
    pub fn measure(&self, features: &[FeaturePyramid]) -> Result<(), ModelError> {
        for (k, [mean, deviation]) in self.scales.iter().enumerate() {
            let (mut count, mut sum, mut squares) = (0, mean.zeros_like()?, mean.zeros_like()?);
            for pyramid in features {
                let scale = &pyramid.scales[k];
                let (n, _, h, w) = scale.dims4()?;
                count += n * h * w;
                sum = (sum + scale.sum((0, 2, 3))?)?;
                squares = (squares + scale.sqr()?.sum((0, 2, 3))?)?;
            }
            let count = count.max(1) as f64;
            let average = (sum / count)?;
            let variance = ((squares / count)? - average.sqr()?)?.maximum(1e-6)?;
            mean.set(&average)?;
            deviation.set(&variance.sqrt()?)?;
        }
        Ok(())
    }

    /// # Shapes and units
    /// `pyramid`: a student's output; gives the same shapes.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the number of channels differs.
    pub fn forward(&self, pyramid: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        let scales = pyramid.scales.iter().zip(&self.scales).map(|(scale, [mean, deviation])| {
            let constant = |var: &Var| -> Tensor { var.as_detached_tensor() };
            Ok(channel_affine(&Activation::from_nchw(scale)?, &constant(deviation), &constant(mean))?
                .to_nchw()?)
        });
        Ok(FeaturePyramid { scales: scales.collect::<Result<_, ModelError>>()? })
    }
}
