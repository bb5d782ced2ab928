//! Inputs and expected features of `tests/reference/backbones`; the formulas are in the docstring
//! of its `make.py`.

use candle_core::{Device, Tensor};
use fmam_testkit::assert_close;
use serde::Deserialize;

/// One scale's features as PyTorch computed them.
#[derive(Deserialize)]
pub(crate) struct Features {
    pub(crate) scale: String,
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    abs_max: f64,
    walk: Vec<f32>,
}

impl Features {
    /// Asserts that `actual`, of the network `name`, has these features, to `tolerance` of the
    /// largest.
    #[track_caller]
    pub(crate) fn assert_match_to(&self, tolerance: f32, name: &str, actual: &Tensor) {
        assert_eq!(actual.dims(), self.shape, "{name}: {}", self.scale);
        let values: Vec<f32> = actual.flatten_all().unwrap().to_vec1().unwrap();
        let walk: Vec<f32> = (0..256).map(|i| values[i * 7919 % values.len()]).collect();
        let tolerance = tolerance * self.abs_max as f32;
        assert_close(&walk, &self.walk, 0.0, tolerance);
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        let largest = values.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
        assert_close(
            &[mean as f32, variance.sqrt() as f32, largest],
            &[self.mean as f32, self.std as f32, self.abs_max as f32],
            0.0,
            tolerance,
        );
    }
}

/// The input image of the fixtures.
pub(crate) fn image(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = fmam_testkit::uniform("input", shape.iter().product())
        .into_iter()
        .map(|u| (2.0 * u - 1.0) as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}
