//! Fixtures that PyTorch made, and comparison.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

/// The device of the tests: see [`fmam_testkit::test_device`].
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        fmam_testkit::test_device().map_or(Device::Cpu, |index| fmam_ops::cuda_device(index).unwrap())
    })
}

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Fixture {
    pub(crate) fn tensor(&self, dtype: DType) -> Tensor {
        Tensor::from_slice(&self.data, self.shape.as_slice(), device()).unwrap().to_dtype(dtype).unwrap()
    }
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) op: String,
    pub(crate) params: Value,
    pub(crate) inputs: BTreeMap<String, Fixture>,
    pub(crate) output: Fixture,
    pub(crate) grad_output: Option<Fixture>,
    #[serde(default)]
    pub(crate) grads: Option<BTreeMap<String, Fixture>>,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

impl Case {
    pub(crate) fn size(&self, key: &str) -> usize {
        self.params[key].as_u64().unwrap_or_else(|| panic!("{}: no {key}", self.name)) as usize
    }

    pub(crate) fn vector(&self, key: &str) -> Vec<f64> {
        serde_json::from_value::<Fixture>(self.rest[key].clone()).unwrap().data
    }
}

pub(crate) fn read<T: for<'a> Deserialize<'a>>(file: &str) -> T {
    let path = format!("{}/../../tests/reference/ops/{file}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

pub(crate) fn cases(file: &str) -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    read::<File>(file).cases
}

/// Largest difference, as a share of the largest expected value (or of 0.01 where all are smaller).
pub(crate) fn assert_close(what: &str, actual: &Tensor, expected: &[f64], tolerance: f64) {
    let actual: Vec<f64> = actual.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let scale = expected.iter().fold(1e-2_f64, |m, v| m.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "{what}[{i}]: {a} instead of {e} (largest {scale})");
    }
}
