//! Methods beside anomalib's own torch modules: `tests/reference/anomalib`. Where the two differ on
//! purpose, `docs/src/method.md` says so.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use fmam_core::Seed;
use fmam_losses::flattened_cosine_distillation;
use fmam_models::{Backbone, FeaturePyramid, Params, backbone_from_tensors, random_backbone};
use fmam_testkit::{assert_close, uniform};
use serde::Deserialize;

use crate::memory::fixture::{Array, ImageFeatures, pyramids};
use crate::scoring::{FeatureDistance, MapCombination, predictions};
use crate::training::sum_of_scales;

/// The blur of the fixture in pixels of a 256-pixel image.
pub(crate) const BLUR_SIGMA: f64 = 8.0;

/// Pixels from the border that the border's treatment reaches.
const BORDER: usize = 4;

#[derive(Deserialize)]
pub(crate) struct Peers {
    #[serde(flatten)]
    pub(crate) features: ImageFeatures,
    student: Vec<Array>,
    pub(crate) padim: Padim,
    pub(crate) patchcore: PatchCore,
    stfpm: Stfpm,
    reverse: Reverse,
    reverse_step: Step,
}

#[derive(Deserialize)]
pub(crate) struct Padim {
    pub(crate) channels: Vec<usize>,
    pub(crate) maps: Array,
}

#[derive(Deserialize)]
pub(crate) struct PatchCore {
    pub(crate) neighbours: usize,
    pub(crate) distances: Array,
    pub(crate) scores: Array,
}

#[derive(Deserialize)]
struct Stfpm {
    layers: Vec<Array>,
    loss: f64,
}

#[derive(Deserialize)]
struct Reverse {
    maps: Array,
    loss: f64,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    gradients: BTreeMap<String, Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    walk: Vec<f32>,
}

impl Peers {
    pub(crate) fn read() -> Self {
        fmam_testkit::read_fixture("anomalib/anomalib.json")
    }

    /// The pixels of a map, row by row, that the border does not reach.
    pub(crate) fn inner(&self, map: &[f32]) -> Vec<f32> {
        let side = self.features.size().width;
        let rows = map.chunks_exact(side).skip(BORDER).take(side - 2 * BORDER);
        rows.flat_map(|row| row[BORDER..side - BORDER].to_vec()).collect()
    }
}

/// Features of teacher and student of all test images.
fn pair(peers: &Peers) -> [FeaturePyramid; 2] {
    [peers.features.test(), pyramids(&peers.student)]
        .map(|images| FeaturePyramid::concat(&images.iter().collect::<Vec<_>>()).unwrap())
}

#[test]
fn distances_of_teacher_and_student_and_their_losses_are_anomalibs() {
    let peers = Peers::read();
    let [teacher, student] = pair(&peers);
    let maps = FeatureDistance::Cosine.maps(&teacher, &student).unwrap();
    for (map, expected) in maps.iter().zip(&peers.stfpm.layers) {
        let map: Vec<f32> = map.flatten_all().unwrap().to_vec1().unwrap();
        assert_close(&map, &expected.values(), 1e-4, 1e-5);
    }
    let n = teacher.scales[0].dim(0).unwrap() as f32;
    let scales = || teacher.scales.iter().zip(&student.scales);
    let scalar = |loss: Tensor| loss.to_scalar::<f32>().unwrap();
    let loss = sum_of_scales(scales().map(|(t, s)| Ok(fmam_losses::cosine_distillation(t, s)?))).unwrap();
    assert_close(&[n * scalar(loss)], &[peers.stfpm.loss as f32], 1e-4, 0.0);
    let loss = sum_of_scales(scales().map(|(t, s)| Ok(flattened_cosine_distillation(t, s)?))).unwrap();
    assert_close(&[scalar(loss)], &[peers.reverse.loss as f32], 1e-4, 0.0);

    let found = predictions(&maps, MapCombination::Sum, BLUR_SIGMA, peers.features.size()).unwrap();
    for (n, found) in found.iter().enumerate() {
        let expected = peers.inner(&peers.reverse.maps.image(n));
        assert_close(&peers.inner(found.anomaly_map.data()), &expected, 1e-4, 1e-5);
    }
}

/// A value of the parameter `name` at `u` from 0 to 1: the formula of
/// `tests/reference/backbones/make.py`.
fn formula(name: &str, shape: &[usize], u: f64) -> f32 {
    let value = if name.ends_with("bias") || name.ends_with("running_mean") {
        (u - 0.5) * 0.2
    } else if name.ends_with("running_var") {
        0.5 + u
    } else if let [_, rest @ ..] = shape
        && shape.len() == 4
    {
        (2.0 * u - 1.0) * (1.4 * (3.0 / rest.iter().product::<usize>() as f64).sqrt())
    } else if name.ends_with("bn2.weight") {
        0.2 + 0.2 * u
    } else {
        0.5 + 0.5 * u
    };
    value as f32
}

fn filled(name: &str, shape: &[usize]) -> Tensor {
    let values = uniform(name, shape.iter().product()).into_iter().map(|u| formula(name, shape, u));
    Tensor::from_vec(values.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

#[test]
fn a_step_of_reverse_distillation_has_anomalibs_loss_and_gradients() {
    let (step, name) = (Peers::read().reverse_step, "resnet18");
    // The encoder's weights by the formula, under torchvision's names.
    let drawn = random_backbone(name, Seed::new(0), &Device::Cpu).unwrap();
    let tensors = drawn.tensors().iter().map(|(name, tensor)| (name.clone(), filled(name, tensor.dims())));
    let teacher = backbone_from_tensors(name, tensors.collect(), "the formula", &Device::Cpu).unwrap();

    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let student = teacher.reverse_student(&params).unwrap();
    let tensors = params.tensors().unwrap();
    let trained = tensors.iter().filter(|(name, _)| !name.contains("running_"));
    let vars: Vec<_> = trained.zip(params.vars()).collect();
    let names: Vec<&String> = vars.iter().map(|((name, _), _)| *name).collect();
    assert_eq!(names, step.gradients.keys().collect::<Vec<_>>());
    for ((name, tensor), var) in &vars {
        var.set(&filled(name, tensor.dims())).unwrap();
    }
    let image = uniform("input", 2 * 3 * 64 * 96).into_iter().map(|u| (2.0 * u - 1.0) as f32).collect();
    let image = Tensor::from_vec(image, (2, 3, 64, 96), &Device::Cpu).unwrap();
    let features = teacher.features(&image).unwrap();
    let decoded = student.forward(&features).unwrap();
    let scales = features.scales.iter().zip(&decoded.scales);
    let loss = sum_of_scales(scales.map(|(t, s)| Ok(flattened_cosine_distillation(t, s)?))).unwrap();
    assert_close(&[loss.to_scalar().unwrap()], &[step.loss as f32], 1e-4, 0.0);
    let gradients = loss.backward().unwrap();
    for ((name, _), var) in &vars {
        let expected = &step.gradients[*name];
        let gradient: Vec<f32> = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let norm = gradient.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!((norm / expected.norm - 1.0).abs() < 1e-3, "{name}: {norm}, {}", expected.norm);
        let walk: Vec<f32> = (0..8).map(|i| gradient[i * 7919 % gradient.len()]).collect();
        assert_close(&walk, &expected.walk, 1e-3, 1e-3 * expected.norm as f32);
    }
}
