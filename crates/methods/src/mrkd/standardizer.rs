//! Features in deviations from their mean on normal images, channel by channel.

use candle_core::{DType, Device, Tensor};
use fmam_models::{FeatureMoments, FeaturePyramid};

use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};

/// Share of a scale's mean deviation that is added to that of each channel: one that hardly varies
/// on normal images would be blown up.
const SHARED_DEVIATION: f64 = 0.1;

/// Mean and deviation of each channel of each scale.
pub(crate) struct Standardizer {
    /// `[1, C, 1, 1]` each.
    scales: Vec<[Tensor; 2]>,
}

impl Standardizer {
    /// From the `channels` of each scale of the features that `moments` has gathered.
    pub(crate) fn new(
        moments: &FeatureMoments,
        channels: &[usize],
        device: &Device,
    ) -> Result<Self, MethodError> {
        let scale = |(k, &c): (usize, &usize)| {
            let covariance = moments.covariance(k);
            let deviations: Vec<f64> = (0..c).map(|i| covariance[i * c + i].max(0.0).sqrt()).collect();
            let shared = SHARED_DEVIATION * deviations.iter().sum::<f64>() / c as f64;
            // Features without any variance at all, as of one black image, stay as they are.
            let shared = if shared > 0.0 { shared } else { 1.0 };
            let tensor = |values: Vec<f64>| {
                let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
                Tensor::from_vec(values, (1, c, 1, 1), device)
            };
            let deviations = deviations.into_iter().map(|deviation| deviation + shared).collect();
            Ok([tensor(moments.mean(k))?, tensor(deviations)?])
        };
        Ok(Self { scales: channels.iter().enumerate().map(scale).collect::<Result<_, MethodError>>()? })
    }

    /// Leaves features of `channels` as they are.
    pub(crate) fn identity(channels: &[usize], device: &Device) -> Result<Self, MethodError> {
        let scale = |&c: &usize| {
            let shape = (1, c, 1, 1);
            Ok([Tensor::zeros(shape, DType::F32, device)?, Tensor::ones(shape, DType::F32, device)?])
        };
        Ok(Self { scales: channels.iter().map(scale).collect::<Result<_, MethodError>>()? })
    }

    /// The tensors that [`Standardizer::take_from`] takes.
    pub(crate) fn tensors(&self) -> Tensors {
        let named = |(k, [mean, deviation]): (usize, &[Tensor; 2])| {
            [(name(k, "mean"), mean.clone()), (name(k, "deviation"), deviation.clone())]
        };
        self.scales.iter().enumerate().flat_map(named).collect()
    }

    /// Takes the saved values for `channels` out of `saved`.
    pub(crate) fn take_from(
        saved: &mut Checkpoint,
        channels: &[usize],
        device: &Device,
    ) -> Result<Self, MethodError> {
        let mut take = |name: String, c| -> Result<Tensor, MethodError> {
            let tensor = saved.tensor(&name, &[Some(1), Some(c), Some(1), Some(1)])?;
            let tensor = tensor.to_dtype(DType::F32)?.to_device(device)?;
            saved.tensors.remove(&name);
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let is_usable = |value: &f32| value.is_finite() && (*value > 0.0 || !name.ends_with("deviation"));
            if values.iter().all(is_usable) { Ok(tensor) } else { Err(MethodError::UndefinedFeatures) }
        };
        let mut scale =
            |(k, &c): (usize, &usize)| Ok([take(name(k, "mean"), c)?, take(name(k, "deviation"), c)?]);
        Ok(Self { scales: channels.iter().enumerate().map(&mut scale).collect::<Result<_, MethodError>>()? })
    }

    /// Features in deviations from the mean.
    pub(crate) fn apply(&self, features: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        self.each(features, |x, [mean, deviation]| x.broadcast_sub(mean)?.broadcast_div(deviation))
    }

    /// The features of which these are the deviations from the mean.
    pub(crate) fn invert(&self, deviations: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        self.each(deviations, |x, [mean, deviation]| x.broadcast_mul(deviation)?.broadcast_add(mean))
    }

    fn each(
        &self,
        features: &FeaturePyramid,
        map: impl Fn(&Tensor, &[Tensor; 2]) -> candle_core::Result<Tensor>,
    ) -> Result<FeaturePyramid, MethodError> {
        let scales = features.scales.iter().zip(&self.scales).map(|(x, standard)| map(x, standard));
        Ok(FeaturePyramid { scales: scales.collect::<Result<_, _>>()? })
    }
}

fn name(k: usize, what: &str) -> String {
    format!("standard.{k}.{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_features_come_to_mean_0_and_deviation_below_1() {
        let device = &Device::Cpu;
        // One channel of mean 10 and deviation 2, one that does not vary.
        let values = Tensor::new(&[8.0_f32, 12.0, 5.0, 5.0], device).unwrap().reshape((1, 2, 1, 2)).unwrap();
        let features = FeaturePyramid { scales: vec![values] };
        let mut moments = FeatureMoments::default();
        moments.add(&features).unwrap();
        let standard = Standardizer::new(&moments, &[2], device).unwrap();
        let applied = standard.apply(&features).unwrap();
        let scaled: Vec<f32> = applied.scales[0].flatten_all().unwrap().to_vec1().unwrap();
        // The shared part is a tenth of (2 + 0) / 2.
        for (value, expected) in scaled.iter().zip([-2.0 / 2.1, 2.0 / 2.1, 0.0, 0.0]) {
            assert!((value - expected).abs() < 1e-6, "{scaled:?}");
        }
        let back: Vec<f32> =
            standard.invert(&applied).unwrap().scales[0].flatten_all().unwrap().to_vec1().unwrap();
        for (value, expected) in back.iter().zip([8.0, 12.0, 5.0, 5.0]) {
            assert!((value - expected).abs() < 1e-5, "{back:?}");
        }
        let mut saved = Checkpoint::new(standard.tensors(), "a test");
        let read = Standardizer::take_from(&mut saved, &[2], device).unwrap();
        assert!(saved.tensors.is_empty());
        let read = read.apply(&features).unwrap();
        assert_eq!(read.scales[0].flatten_all().unwrap().to_vec1::<f32>().unwrap(), scaled);
    }
}
