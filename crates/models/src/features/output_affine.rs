use candle_core::{DType, Tensor, Var};
use fmam_ops::{Activation, Kernels, channel_affine};

use crate::layers::{Conv, ConvShape};
use crate::{FeaturePyramid, Init, ModelError, Params};

/// Gives a student's outputs the teacher's mean and deviation per channel: `mean + deviation *
/// output`.
///
/// A student whose last layers are linear and normalised starts out with channels of mean and
/// deviation near 0 and 1, while the features of a homogeneous surface are a large constant with
/// little around it. Learning that constant against the student's own noise took hundreds of steps
/// (`docs/src/method.md`); here it is measured once instead.
///
/// # Source
/// Ours; Batzner et al. 2023 (arXiv:2303.14535) scale the teacher's features instead.
#[derive(Debug)]
pub struct OutputAffine {
    /// Turns the outputs of each scale first, where they cannot be negative and the teacher's can.
    projection: Option<Vec<Conv>>,
    /// Mean and deviation of each scale, `[C]`.
    scales: Vec<[Var; 2]>,
    kernels: Kernels,
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
        let scales = scales.collect::<Result<_, ModelError>>()?;
        Ok(Self { projection: None, scales, kernels: params.kernels() })
    }

    /// With a trained 1x1 convolution before it at each scale: for a student that ends in a ReLU
    /// and has to learn features of either sign.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn projected(channels: &[usize], params: &Params) -> Result<Self, ModelError> {
        let projection = channels.iter().enumerate().map(|(k, &c)| {
            let shape = ConvShape::dense(c, c, 1, 1);
            Conv::new(&params.pp("projection").pp(k), shape, Init::kaiming_fan_out([c, c, 1, 1], 1))
        });
        let projection = Some(projection.collect::<Result<_, ModelError>>()?);
        Ok(Self { projection, ..Self::new(channels, params)? })
    }

    /// Takes over the statistics of `features`, which stand for the teacher's on all training
    /// images.
    ///
    /// # Errors
    /// [`ModelError::EmptyBatch`] without features, [`ModelError::Tensor`] when the number of
    /// channels differs.
    pub fn measure(&self, features: &[FeaturePyramid]) -> Result<(), ModelError> {
        // In f64 and centred first: the mean may be large beside the deviation.
        for (k, [mean, deviation]) in self.scales.iter().enumerate() {
            let scales = features.iter().map(|pyramid| pyramid.scales[k].to_dtype(DType::F64));
            let scales = scales.collect::<Result<Vec<_>, _>>()?;
            let average = Self::mean(&scales)?;
            let centre = average.reshape((1, (), 1, 1))?;
            let squares = scales.iter().map(|x| x.broadcast_sub(&centre)?.sqr());
            let variance = Self::mean(&squares.collect::<Result<Vec<_>, _>>()?)?.maximum(1e-12)?;
            mean.set(&average.to_dtype(mean.dtype())?)?;
            deviation.set(&variance.sqrt()?.to_dtype(deviation.dtype())?)?;
        }
        Ok(())
    }

    /// Mean per channel over all positions of all batches.
    fn mean(batches: &[Tensor]) -> Result<Tensor, ModelError> {
        let (mut count, mut total) = (0, None);
        for batch in batches {
            let (n, _, h, w) = batch.dims4()?;
            count += n * h * w;
            let sum = batch.sum((0, 2, 3))?;
            total = Some(match total {
                None => sum,
                Some(total) => (total + sum)?,
            });
        }
        Ok((total.ok_or(ModelError::EmptyBatch)? / count as f64)?)
    }

    /// # Shapes and units
    /// `pyramid`: a student's output; gives the same shapes.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the number of channels differs.
    pub fn forward(&self, pyramid: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        let scales =
            pyramid.scales.iter().zip(&self.scales).enumerate().map(|(k, (scale, [mean, deviation]))| {
                let constant = |var: &Var| -> Tensor { var.as_detached_tensor() };
                let mut x = Activation::from_nchw_with(scale, self.kernels)?;
                if let Some(projection) = self.projection.as_ref().and_then(|scales| scales.get(k)) {
                    x = projection.forward(&x)?;
                }
                Ok(channel_affine(&x, &constant(deviation), &constant(mean))?.to_nchw()?)
            });
        Ok(FeaturePyramid { scales: scales.collect::<Result<_, ModelError>>()? })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use fmam_core::Seed;

    use super::*;

    #[test]
    fn a_large_mean_costs_no_digits_of_the_deviation() {
        let params = Params::trainable(Seed::new(0), &Device::Cpu);
        let affine = OutputAffine::new(&[1], &params).unwrap();
        let batch = |offset: f32| {
            let data: Vec<f32> =
                (0..20_000).map(|i| 50.0 + offset + if i % 2 == 0 { 0.02 } else { -0.02 }).collect();
            let scale = Tensor::from_vec(data, (2, 1, 100, 100), &Device::Cpu).unwrap();
            FeaturePyramid { scales: vec![scale] }
        };
        affine.measure(&[batch(0.01), batch(-0.01)]).unwrap();
        let [mean, deviation] = &affine.scales[0];
        let value = |var: &Var| var.as_detached_tensor().to_vec1::<f32>().unwrap()[0];
        assert!((value(mean) - 50.0).abs() < 1e-4);
        // The squares of 0.02 and 0.01 add up.
        assert!((value(deviation) - 0.0005_f32.sqrt()).abs() < 1e-5, "{}", value(deviation));
        let one =
            FeaturePyramid { scales: vec![Tensor::ones((1, 1, 2, 2), DType::F32, &Device::Cpu).unwrap()] };
        let out = affine.forward(&one).unwrap().scales[0].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((out[3] - 50.0 - 0.0005_f32.sqrt()).abs() < 1e-4);
    }
}
