//! DINOv2 with the weights of `tests/reference/backbones/dinov2-small.json`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use fmam_core::Seed;
use fmam_models::{
    Backbone, LoadedBackbone, ModelError, Params, Precision, backbone_from_tensors, load_backbone,
    random_backbone,
};
use rayon::prelude::*;

use super::fixture::{fixture, state_dict};
use super::{assert_same, named};
use crate::reference::image;

const NAME: &str = "dinov2-small";

const WIDTH: usize = 384;

/// A state dict with the original names, from the formula.
static ORIGINAL: LazyLock<BTreeMap<String, Tensor>> = LazyLock::new(|| state_dict(named(NAME)));

/// [`ORIGINAL`] under the names of `facebook/dinov2-small`, which the script has transformers load.
fn hugging_face() -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in ORIGINAL.iter() {
        let parts: Vec<&str> = name.split('.').collect();
        let name = match parts[..] {
            ["cls_token"] => "embeddings.cls_token".to_owned(),
            ["pos_embed"] => "embeddings.position_embeddings".to_owned(),
            ["patch_embed", "proj", which] => format!("embeddings.patch_embeddings.projection.{which}"),
            ["norm", which] => format!("layernorm.{which}"),
            ["blocks", n, "attn", "proj", which] => {
                format!("encoder.layer.{n}.attention.output.dense.{which}")
            }
            ["blocks", n, "attn", "qkv", which] => {
                for (i, part) in ["query", "key", "value"].into_iter().enumerate() {
                    let name = format!("encoder.layer.{n}.attention.attention.{part}.{which}");
                    tensors.insert(name, tensor.narrow(0, i * WIDTH, WIDTH).unwrap());
                }
                continue;
            }
            ["blocks", n, "ls1", "gamma"] => format!("encoder.layer.{n}.layer_scale1.lambda1"),
            ["blocks", n, "ls2", "gamma"] => format!("encoder.layer.{n}.layer_scale2.lambda1"),
            ["blocks", n, norm, which] => format!("encoder.layer.{n}.{norm}.{which}"),
            ["blocks", n, "mlp", linear, which] => format!("encoder.layer.{n}.mlp.{linear}.{which}"),
            _ => panic!("unexpected key {name}"),
        };
        tensors.insert(name, tensor.clone());
    }
    tensors.insert("embeddings.mask_token".to_owned(), zeros(&[1, WIDTH]));
    tensors
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

fn load(tensors: BTreeMap<String, Tensor>) -> Result<LoadedBackbone, ModelError> {
    backbone_from_tensors(NAME, tensors, "formula", &Device::Cpu)
}

fn original() -> LoadedBackbone {
    load(ORIGINAL.clone()).unwrap()
}

// The documentation of the network states these figures.
#[test]
fn candles_network_differs_from_the_published_one_as_documented() {
    let fixture = fixture(named(NAME)).unwrap();
    let within = |side: usize, change: &str, low: f64, high: f64| {
        let cases: Vec<_> = fixture.features.iter().filter(|case| case.input_shape[2] == side).collect();
        assert_eq!(cases.len(), 3);
        for deviation in cases.into_iter().map(|case| case.deviation[change]) {
            assert!((low..=high).contains(&deviation), "{change} at {side}: {deviation}");
        }
    };
    within(224, "nearest", 0.044, 0.0475);
    within(448, "nearest", 0.022, 0.025);
    within(224, "tanh, epsilon", 1e-4, 2.5e-4);
    within(448, "tanh, epsilon", 1e-4, 2.5e-4);
}

#[test]
fn both_namings_give_the_same_features_and_are_rebuilt_from_what_is_saved() {
    let images = image(&[2, 3, 28, 28]);
    let expected = original().features(&images).unwrap();
    assert!(expected.scales.iter().all(|scale| scale.dims() == [2, WIDTH, 2, 2] && !scale.track_op()));
    let first = original().features(&images.narrow(0, 0, 1).unwrap()).unwrap();
    assert_same(&first, &expected.image(0).unwrap(), 0.0);
    let mut full = ORIGINAL.clone();
    full.insert("mask_token".to_owned(), zeros(&[1, WIDTH]));
    full.insert("head.weight".to_owned(), zeros(&[1000, 2 * WIDTH]));
    full.insert("head.bias".to_owned(), zeros(&[1000]));
    for tensors in [full, hugging_face()] {
        let backbone = load(tensors).unwrap();
        assert_same(&backbone.features(&images).unwrap(), &expected, 0.0);
        assert!(
            backbone.tensors().keys().all(|key| !key.ends_with("mask_token") && !key.starts_with("head"))
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backbone.safetensors");
        fmam_models::save_tensors(&path, backbone.tensors()).unwrap();
        let again = load_backbone(NAME, Some(&path), &Device::Cpu).unwrap();
        assert_same(&again.features(&images).unwrap(), &expected, 0.0);
    }
}

#[test]
fn it_computes_in_f32_whatever_is_asked_for() {
    let images = image(&[1, 3, 28, 28]);
    let rounded = original().with_precision(Precision::Bf16);
    assert_eq!(rounded.precision(), Precision::F32);
    let expected = original().features(&images).unwrap();
    assert_same(&rounded.features(&images).unwrap(), &expected, 0.0);
}

#[test]
fn every_patch_is_at_its_place() {
    // The features of the patch that changes in the image change most.
    let backbone = original();
    let mut pixels = vec![0.0_f32; 3 * 56 * 56];
    for (y, x) in (28..42).flat_map(|y| (14..28).map(move |x| (y, x))) {
        pixels[y * 56 + x] = 4.0;
    }
    let changed = Tensor::from_vec(pixels, (1, 3, 56, 56), &Device::Cpu).unwrap();
    let scales = |images| backbone.features(images).unwrap().scales;
    let plain = zeros(&[1, 3, 56, 56]);
    for (a, b) in scales(&changed).iter().zip(&scales(&plain)) {
        let change = (a - b).unwrap().sqr().unwrap().sum(1).unwrap().flatten_all().unwrap();
        let change: Vec<f32> = change.to_vec1().unwrap();
        let largest = (0..16).max_by(|&i, &j| change[i].total_cmp(&change[j]));
        assert_eq!(largest, Some(2 * 4 + 1), "{change:?}");
    }
}

#[test]
fn damaged_state_dicts_are_refused_by_the_name_of_the_key() {
    let without = |mut tensors: BTreeMap<String, Tensor>, key: &str| {
        tensors.remove(key).unwrap();
        tensors
    };
    let with = |mut tensors: BTreeMap<String, Tensor>, key: &str, shape: &[usize]| {
        tensors.insert(key.to_owned(), zeros(shape));
        tensors
    };
    for (tensors, missing) in [
        (ORIGINAL.clone(), "blocks.7.attn.qkv.bias"),
        (ORIGINAL.clone(), "norm.weight"),
        (ORIGINAL.clone(), "cls_token"),
        (hugging_face(), "encoder.layer.3.attention.attention.key.weight"),
        (hugging_face(), "layernorm.bias"),
    ] {
        let result = load(without(tensors, missing));
        assert!(matches!(result, Err(ModelError::MissingKey { key, .. }) if key == missing), "{missing}");
    }
    for (tensors, misshapen, wanted) in [
        (ORIGINAL.clone(), "pos_embed", &[1, 1370, WIDTH][..]),
        (hugging_face(), "embeddings.cls_token", &[1, 1, WIDTH]),
        (hugging_face(), "encoder.layer.0.attention.attention.query.bias", &[WIDTH]),
    ] {
        let result = load(with(tensors, misshapen, &[1, 257, WIDTH]));
        assert!(
            matches!(result, Err(ModelError::MisshapenKey { key, expected, .. }) if key == misshapen && expected == wanted)
        );
    }
    for tensors in [ORIGINAL.clone(), hugging_face()] {
        let result = load(with(tensors, "register_tokens", &[1, 4, WIDTH]));
        assert!(matches!(result, Err(ModelError::SurplusKeys { keys, .. }) if keys == ["register_tokens"]));
    }
}

#[test]
fn images_of_another_shape_are_refused() {
    let backbone = random_backbone(NAME, Seed::new(1), &Device::Cpu).unwrap();
    let result = backbone.features(&zeros(&[1, 3, 256, 256]));
    assert!(matches!(result, Err(ModelError::InputShape { stride: 14, .. })));
    let result = backbone.features(&zeros(&[1, 3, 28, 532]));
    assert!(matches!(result, Err(ModelError::TooLarge { backbone: NAME, largest: 518, .. })));
}

#[test]
fn it_has_no_student_and_passes_no_gradients() {
    let backbone = random_backbone(NAME, Seed::new(1), &Device::Cpu).unwrap();
    assert!(!backbone.has_students());
    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let no_student = |error: Option<ModelError>| {
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(matches!(error, Some(ModelError::NoStudent { backbone }) if backbone == NAME), "{text}");
    };
    no_student(backbone.symmetric_student(&params).err());
    no_student(backbone.reverse_student(&params).err());
    no_student(backbone.cloner(&params).err());
    no_student(backbone.with_trainable_last_block(&Device::Cpu).err());
    no_student(backbone.passing_gradients(&Device::Cpu).err());
    let images = Var::from_tensor(&image(&[1, 3, 28, 28])).unwrap();
    let tracked = backbone.features(images.as_tensor()).unwrap();
    assert!(tracked.scales.iter().all(|scale| !scale.track_op()));
}

/// Set in the process that does the work of the test below.
const STRESS: &str = "FMAM_TEST_DINOV2_STRESS";

// A worker of rayon that waits for its part of a matrix product takes another image meanwhile. The
// network for a new size must therefore not be built under a lock. A process of its own, since a
// deadlock ends with its process alone, and since candle reads the number of threads once.
#[test]
fn images_of_changing_sizes_are_taken_in_parallel() {
    if std::env::var_os(STRESS).is_some() {
        let backbone = random_backbone(NAME, Seed::new(0), &Device::Cpu).unwrap();
        for round in 0..100 {
            let side = if round % 2 == 0 { 28 } else { 42 };
            let images = zeros(&[1, 3, side, side]);
            (0..8).into_par_iter().for_each(|_| drop(backbone.features(&images).unwrap()));
        }
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "backbones::dinov2::images_of_changing_sizes_are_taken_in_parallel"])
        .env(STRESS, "1")
        .env("RAYON_NUM_THREADS", "8")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(240) {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("no end after {:?}: a deadlock", start.elapsed());
}
