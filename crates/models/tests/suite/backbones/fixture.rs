//! The fixture of a backbone, and whole state dicts filled by the formula of
//! `tests/reference/backbones/make.py`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use fmam_models::{BackboneSpec, LoadedBackbone, Weights, backbone_from_tensors, load_backbone};
use serde::Deserialize;

use fmam_testkit::uniform;

use crate::reference::Features;

#[derive(Deserialize)]
pub(super) struct Fixture {
    /// End of the names of the last normalisation weights in residual branches.
    branch_end: Option<String>,
    /// Factor of the other normalisation weights.
    #[serde(default = "one")]
    norm_gain: f64,
    /// Error of a feature that is accepted, as a share of the largest.
    #[serde(default = "usual_tolerance")]
    pub(super) tolerance: f32,
    /// All keys of the published state dict.
    pub(super) keys: Vec<Key>,
    pub(super) features: Vec<Case>,
}

fn one() -> f64 {
    1.0
}

fn usual_tolerance() -> f32 {
    1e-4
}

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) name: String,
    shape: Vec<usize>,
    /// Sum of the published elements.
    pub(super) sum: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) input_shape: Vec<usize>,
    /// Relative changes of the features by what another implementation does otherwise.
    #[serde(default)]
    #[cfg_attr(not(feature = "dinov2"), expect(dead_code, reason = "only DINOv2's fixture has it"))]
    pub(super) deviation: BTreeMap<String, f64>,
    #[serde(flatten)]
    pub(super) features: Features,
}

/// The features and keys of a published network; `None` for a backbone whose weights are drawn.
pub(super) fn fixture(spec: &BackboneSpec) -> Option<Fixture> {
    if matches!(spec.weights, Weights::Seeded(_)) {
        return None;
    }
    let name = format!("backbones/{}.json", spec.name);
    let path = fmam_testkit::fixture_path(&name);
    assert!(
        path.is_file(),
        "the backbone {0} has no fixture: write {1} (make.py beside it tells what it defines) and run \
         `python tests/reference/backbones/make.py {0}`",
        spec.name,
        path.with_extension("py").display(),
    );
    Some(fmam_testkit::read_fixture(&name))
}

/// Elements of the largest tensor that is made: the classifier of VGG-16 would take longer than all
/// tests.
const LARGEST: usize = 1 << 24;

/// The whole published state dict with values of the formula, but for tensors that are huge.
pub(crate) fn state_dict(spec: &BackboneSpec) -> BTreeMap<String, Tensor> {
    let fixture = fixture(spec).unwrap();
    let keys = fixture.keys.iter().filter(|key| key.shape.iter().product::<usize>() <= LARGEST);
    keys.map(|key| (key.name.clone(), formula(key, &fixture))).collect()
}

fn formula(Key { name, shape, .. }: &Key, fixture: &Fixture) -> Tensor {
    if name.ends_with("num_batches_tracked") {
        return Tensor::zeros(shape.as_slice(), DType::I64, &Device::Cpu).unwrap();
    }
    let u = uniform(name, shape.iter().product());
    let value: Box<dyn Fn(f64) -> f64> = if name == "pos_embed" {
        let values: Vec<f32> = positions(&u, shape[2]).into_iter().map(|v| v as f32).collect();
        return Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap();
    } else if name == "cls_token" || name.ends_with("running_mean") || name.ends_with("bias") {
        Box::new(|u| (u - 0.5) * 0.2)
    } else if name.ends_with("running_var") {
        Box::new(|u| 0.5 + u)
    } else if shape.len() == 2 || shape.len() == 4 {
        let gain = if name.contains("qkv") { 2.0 } else { 1.4 };
        let bound = gain * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        Box::new(move |u| (2.0 * u - 1.0) * bound)
    } else if name.ends_with("gamma") {
        Box::new(|u| 0.1 + 0.4 * u)
    } else if fixture.branch_end.as_deref().is_some_and(|end| name.ends_with(end)) {
        Box::new(|u| 0.2 + 0.2 * u)
    } else {
        Box::new(|u| (0.5 + 0.5 * u) * fixture.norm_gain)
    };
    let values: Vec<f32> = u.into_iter().map(|u| value(u) as f32).collect();
    Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap()
}

/// Smooth position embeddings of 37x37 patches.
fn positions(u: &[f64], width: usize) -> Vec<f64> {
    let p: Vec<Vec<f64>> = (0..5)
        .map(|k| uniform(&format!("pos_embed.{k}"), width).into_iter().map(|u| (u - 0.5) * 0.4).collect())
        .collect();
    let (class, patches) = u.split_at(width);
    let mut values: Vec<f64> = class.iter().map(|u| (u - 0.5) * 0.2).collect();
    for (patch, u) in patches.chunks(width).enumerate() {
        let at = |i: usize| (i as f64 - 18.0) / 18.0;
        let (s, t) = (at(patch / 37), at(patch % 37));
        values.extend(u.iter().enumerate().map(|(c, u)| {
            let linear = p[0][c] * s + p[1][c] * t;
            linear + (p[2][c] * s * t + (p[3][c] * s * s + p[4][c] * t * t)) + 0.02 * (2.0 * u - 1.0)
        }));
    }
    values
}

/// The backbone with its own weights, or with those of the formula where it has none.
pub(crate) fn teacher(spec: &BackboneSpec) -> LoadedBackbone {
    if matches!(spec.weights, Weights::File(_)) {
        return backbone_from_tensors(spec.name, state_dict(spec), "formula", &Device::Cpu).unwrap();
    }
    load_backbone(spec.name, None, &Device::Cpu).unwrap()
}
