//! Whole state dicts of torchvision's shape, filled by the formula of `tests/reference/models/make.py`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use fmam_models::{BACKBONES, BackboneEntry, LoadedBackbone, Weights, backbone_from_tensors, load_backbone};
use serde::Deserialize;

use crate::reference::uniform;

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    name: String,
    shape: Vec<usize>,
}

/// The fixture name of a torchvision backbone.
pub(crate) fn arch(backbone: &str) -> String {
    backbone.replace('-', "_")
}

/// Elements of the largest tensor that is made: the classifier of VGG-16 would take longer than all tests.
const LARGEST: usize = 1 << 24;

/// The full state dict of a torchvision backbone, with the classifier and all but what is huge.
pub(crate) fn torchvision(backbone: &str) -> BTreeMap<String, Tensor> {
    let keys: Keys = fmam_testkit::read_fixture(&format!("models/keys_{}.json", arch(backbone)));
    let branch_end =
        if backbone.ends_with("18") || backbone.ends_with("34") { ".bn2.weight" } else { ".bn3.weight" };
    let keys = keys.keys.into_iter().filter(|key| key.shape.iter().product::<usize>() <= LARGEST);
    keys.map(|key| (key.name.clone(), formula(&key, branch_end))).collect()
}

fn formula(Key { name, shape }: &Key, branch_end: &str) -> Tensor {
    if name.ends_with("num_batches_tracked") {
        return Tensor::zeros(shape.as_slice(), DType::I64, &Device::Cpu).unwrap();
    }
    let value: Box<dyn Fn(f64) -> f64> = if name.ends_with("running_mean") || name.ends_with("bias") {
        Box::new(|u| (u - 0.5) * 0.2)
    } else if name.ends_with("running_var") {
        Box::new(|u| 0.5 + u)
    } else if shape.len() == 4 {
        let bound = 1.4 * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        Box::new(move |u| (2.0 * u - 1.0) * bound)
    } else if shape.len() == 2 {
        Box::new(|u| (u - 0.5) * 0.02)
    } else if name.starts_with("layer") && name.ends_with(branch_end) {
        Box::new(|u| 0.2 + 0.2 * u)
    } else {
        Box::new(|u| 0.5 + 0.5 * u)
    };
    let values: Vec<f32> =
        uniform(name, shape.iter().product()).into_iter().map(|u| value(u) as f32).collect();
    Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap()
}

/// The registered backbones that have students.
pub(crate) fn trainable() -> impl Iterator<Item = &'static BackboneEntry> {
    BACKBONES.iter().copied().filter(|entry| entry.name != crate::dinov2::NAME)
}

/// Any of [`trainable`]; those that need a file get the formula's weights.
pub(crate) fn teacher(entry: &BackboneEntry) -> LoadedBackbone {
    if matches!(entry.weights, Weights::File) {
        return backbone_from_tensors(entry.name, torchvision(entry.name), "formula", &Device::Cpu).unwrap();
    }
    load_backbone(entry.name, None, &Device::Cpu).unwrap()
}
