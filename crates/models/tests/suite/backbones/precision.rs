//! Networks in bf16 against the same in f32.

use candle_core::{DType, Device, Tensor, Var};
use fmam_core::Seed;
use fmam_models::{Backbone, BackboneSpec, FeaturePyramid, LoadedBackbone, Params, Precision};

use super::students::distance_to_noise;
use super::{named, registered, teacher};
use crate::reference::image;

const SHAPE: [usize; 4] = [2, 3, 64, 96];

fn both(spec: &BackboneSpec) -> [LoadedBackbone; 2] {
    [Precision::F32, Precision::Bf16].map(|precision| {
        let backbone = teacher(spec).with_precision(precision);
        assert_eq!(backbone.precision(), precision);
        backbone
    })
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The error of each scale as a share of the scale. No network in bf16 comes closer than a part in
/// a thousand.
#[track_caller]
fn assert_rounded(what: &str, [expected, actual]: [&FeaturePyramid; 2], bound: f64) {
    assert_eq!(actual.scales.len(), expected.scales.len(), "{what}");
    for (k, (expected, actual)) in expected.scales.iter().zip(&actual.scales).enumerate() {
        assert_eq!((actual.dtype(), actual.dims()), (DType::F32, expected.dims()), "{what}");
        let (expected, actual) = (values(expected), values(actual));
        let error = norm(expected.iter().zip(&actual).map(|(e, a)| a - e)) / norm(expected.iter().copied());
        assert!((1e-3..bound).contains(&error), "{what}, scale {k}: {error}");
    }
}

// PyTorch's autocast moves the features of EfficientNet-Lite0 by 1.8, 2.5 and 3.5 per cent on the
// same image.
#[test]
fn teachers_give_rounded_features() {
    for spec in registered() {
        let Some(bound) = spec.bf16_error else { continue };
        let [exact, rounded] = both(spec);
        let features = [&exact, &rounded].map(|teacher| teacher.features(&image(&SHAPE)).unwrap());
        assert_rounded(spec.name, features.each_ref(), bound);
        // Cut from the graph, as ever; once more, with the copies of the weights at hand.
        assert!(features[1].scales.iter().all(|scale| !scale.track_op()));
        let again = rounded.features(&image(&SHAPE)).unwrap();
        assert!(again.scales.iter().zip(&features[1].scales).all(|(a, b)| values(a) == values(b)));
    }
}

/// The gradients of all parameters together, and the largest deviation of a running statistic.
#[track_caller]
fn assert_learns_alike(
    what: &str,
    build: impl Fn(&LoadedBackbone, &Params) -> FeaturePyramid,
    bounds: [f64; 2],
) {
    let runs = both(named("tiny")).map(|backbone| {
        let params = Params::trainable(Seed::new(1), &Device::Cpu);
        let output = build(&backbone, &params);
        let gradients = distance_to_noise(&output).backward().unwrap();
        let gradient = |var: &Var| {
            let gradient = gradients.get(var).unwrap();
            assert_eq!((gradient.dtype(), var.dtype()), (DType::F32, DType::F32), "{what}");
            values(gradient)
        };
        let gradients: Vec<f64> = params.vars().iter().flat_map(gradient).collect();
        let tensors = params.tensors().unwrap();
        assert!(tensors.values().all(|tensor| tensor.dtype() == DType::F32), "{what}");
        let running = tensors.iter().filter(|(name, _)| name.contains("running_"));
        let statistics: Vec<f64> = running.flat_map(|(_, tensor)| values(tensor)).collect();
        (output, gradients, statistics)
    });
    let [(expected, gradient, statistics), (actual, rounded, rounded_statistics)] = runs;
    assert_rounded(what, [&expected, &actual], bounds[0]);
    let dot: f64 = gradient.iter().zip(&rounded).map(|(a, b)| a * b).sum();
    let lengths = [&gradient, &rounded].map(|gradient| norm(gradient.iter().copied()));
    let (cosine, ratio) = (dot / (lengths[0] * lengths[1]), lengths[1] / lengths[0]);
    let moved = statistics.iter().zip(&rounded_statistics).map(|(e, a)| (e - a).abs()).fold(0.0, f64::max);
    assert!(1.0 - cosine < bounds[1] && (ratio - 1.0).abs() < 0.02, "{what}: {cosine}, {ratio}");
    assert!(gradient != rounded && moved < 1e-2, "{what}: {moved}");
}

#[test]
fn students_have_the_gradients_of_f32_nearly() {
    assert_learns_alike(
        "symmetric",
        |teacher, params| teacher.symmetric_student(params).unwrap().forward(&image(&SHAPE)).unwrap(),
        [2e-2, 1e-2],
    );
    assert_learns_alike(
        "reverse",
        |teacher, params| {
            let features = teacher.features(&image(&SHAPE)).unwrap();
            teacher.reverse_student(params).unwrap().forward(&features).unwrap()
        },
        [2e-2, 1e-2],
    );
    assert_learns_alike(
        "cloner",
        |teacher, params| teacher.cloner(params).unwrap().forward(&image(&SHAPE)).unwrap(),
        [2e-2, 1e-2],
    );
}

#[test]
fn the_last_block_learns_from_its_given_weights() {
    let [exact, rounded] = both(named("efficientnet-lite0")).map(|backbone| {
        let (student, params) = backbone.with_trainable_last_block(&Device::Cpu).unwrap();
        let output = student.forward(&image(&SHAPE)).unwrap();
        let gradients = distance_to_noise(&output).backward().unwrap();
        let vars = params.vars();
        (output, norm(vars.iter().map(|var| norm(values(gradients.get(var).unwrap())))))
    });
    assert_rounded("last block", [&exact.0, &rounded.0], 5e-2);
    assert!((rounded.1 / exact.1 - 1.0).abs() < 0.05, "{} and {}", exact.1, rounded.1);
}

#[test]
fn gradients_reach_the_image_through_a_frozen_network() {
    let [exact, rounded] = both(named("tiny")).map(|backbone| {
        let network = backbone.passing_gradients(&Device::Cpu).unwrap();
        let images = Var::from_tensor(&image(&SHAPE)).unwrap();
        let output = network.forward(&images).unwrap();
        let gradients = distance_to_noise(&output).backward().unwrap();
        (output, values(gradients.get(&images).unwrap()))
    });
    assert_rounded("passing gradients", [&exact.0, &rounded.0], 2e-2);
    let error = norm(exact.1.iter().zip(&rounded.1).map(|(e, a)| e - a)) / norm(exact.1.iter().copied());
    assert!((1e-3..5e-2).contains(&error), "{error}");
}
