use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor, Var};
use fmam_models::{Backbone, load_backbone};

use super::fixture::{Case, fixture};
use super::{named, registered, teacher, trainable};
use crate::reference::image;

// Inputs that the strides do not divide are refused; EfficientNet-Lite0's is checked beside its
// encoder.
#[test]
fn every_backbone_gives_the_published_networks_features() {
    for spec in registered() {
        let Some(fixture) = fixture(spec) else { continue };
        let backbone = teacher(spec);
        let stride = spec.strides[spec.strides.len() - 1];
        let is_taken = |shape: &&Vec<usize>| shape[2..].iter().all(|side| side % stride == 0);
        let shapes: BTreeSet<_> =
            fixture.features.iter().map(|case| &case.input_shape).filter(is_taken).collect();
        assert!(
            !shapes.is_empty(),
            "{}: no input of the fixture is a multiple of {stride} pixels",
            spec.name
        );
        for shape in shapes {
            let pyramid = backbone.features(&image(shape)).unwrap();
            let cases: Vec<&Case> =
                fixture.features.iter().filter(|case| case.input_shape == *shape).collect();
            assert_eq!(cases.len(), pyramid.scales.len(), "{}: scales of the fixture", spec.name);
            for (case, scale) in cases.iter().zip(&pyramid.scales) {
                case.features.assert_match_to(fixture.tolerance, spec.name, scale);
            }
        }
    }
}

#[test]
fn features_are_the_same_where_gradients_pass() {
    for spec in trainable() {
        let backbone = teacher(spec);
        let images = Var::from_tensor(&image(&[1, 3, 64, 32])).unwrap();
        let passing = backbone.passing_gradients(&Device::Cpu).unwrap().forward(&images).unwrap();
        let expected = backbone.features(&images).unwrap();
        let mut sum = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        for (actual, expected) in passing.scales.iter().zip(&expected.scales) {
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let largest = values(expected).iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            fmam_testkit::assert_close(&values(actual), &values(expected), 1e-3, 1e-4 * largest);
            sum = (sum + actual.sqr().unwrap().mean_all().unwrap()).unwrap();
        }
        let gradients = sum.backward().unwrap();
        let gradient = gradients.get(&images).unwrap().abs().unwrap().sum_all().unwrap();
        assert!(gradient.to_scalar::<f32>().unwrap() > 0.0, "{}", spec.name);
    }
}

#[test]
fn the_last_block_of_every_backbone_with_students_can_be_trained() {
    for spec in trainable() {
        let backbone = teacher(spec);
        let (network, params) = backbone.with_trainable_last_block(&Device::Cpu).unwrap();
        let pyramid = network.forward(&image(&[2, 3, 64, 32])).unwrap();
        let loss = pyramid.scales[2].sqr().unwrap().mean_all().unwrap();
        let gradients = loss.backward().unwrap();
        let vars = params.vars();
        assert!(!vars.is_empty(), "{}", spec.name);
        let moved = vars.iter().filter(|var| gradients.get(var).is_some()).count();
        assert_eq!(moved, vars.len(), "{}", spec.name);
    }
}

#[test]
fn the_embedded_lite0_holds_the_published_weights_and_no_more() {
    let spec = named("efficientnet-lite0");
    let backbone = load_backbone(spec.name, None, &Device::Cpu).unwrap();
    let keys = fixture(spec).unwrap().keys;
    let sums = keys.iter().filter(|key| !key.name.ends_with("num_batches_tracked"));
    let sums: Vec<_> = sums.filter_map(|key| Some((&key.name, key.sum?))).collect();
    assert_eq!(backbone.tensors().len(), sums.len());
    for (name, sum) in sums {
        let values: Vec<f32> = backbone.tensors()[name].flatten_all().unwrap().to_vec1().unwrap();
        let actual: f64 = values.iter().map(|v| f64::from(*v)).sum();
        assert!((actual - sum).abs() <= 1e-9 * sum.abs().max(1.0), "{name}: {actual} instead of {sum}");
    }
}
