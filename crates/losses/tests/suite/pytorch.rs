//! Every loss against values and gradients of PyTorch, and its gradients against finite
//! differences.

use std::collections::BTreeMap;

use candle_core::{DType, Error, Result, Tensor, Var};
use fmam_losses::{
    AngularMargin, PairMasks, cosine_distillation, flattened_cosine_distillation, hypersphere_classifier,
    keep, multiresolution_distillation,
};
use serde::Deserialize;

use crate::device;

#[derive(Deserialize)]
struct Fixture {
    shape: Vec<usize>,
    data: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    loss: String,
    params: BTreeMap<String, f64>,
    inputs: BTreeMap<String, Fixture>,
    value: f64,
    grads: BTreeMap<String, Fixture>,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

fn loss(case: &Case, input: &dyn Fn(&str) -> Tensor) -> Result<Tensor> {
    let masks = || -> Result<PairMasks> {
        // [N, 1, H, W] shares of defective and of visibly defective pixels, thresholded as the
        // design says.
        let (m, v) = (input("m").squeeze(1)?, input("v").squeeze(1)?);
        Ok(PairMasks { positives: m.lt(0.01)?, negatives: v.gt(0.5)? })
    };
    let angular = || AngularMargin { scale: case.params["s"], margin: case.params["margin"] };
    match case.loss.as_str() {
        "cosine_per_position" => cosine_distillation(&input("a"), &input("b")),
        "cosine_flattened" => flattened_cosine_distillation(&input("a"), &input("b")),
        "hypersphere_classifier" => {
            let labels: Vec<bool> = case.inputs["y"].data.iter().map(|&y| y > 0.5).collect();
            hypersphere_classifier(&input("outputs"), &labels)
        }
        "multiresolution" => {
            multiresolution_distillation(&input("teacher"), &input("cloner"), case.params["lambda"])
        }
        "keep" => keep(&input("z"), &input("f"), case.params["lambda"]),
        "angular_margin_cos" => angular().loss_of_distances(&(1.0 - input("cos").squeeze(1)?)?, &masks()?),
        "angular_margin_features" => angular().loss(&input("z_defect"), &input("z_normal"), &masks()?),
        other => panic!("unknown loss {other}"),
    }
}

fn tensors(case: &Case, dtype: DType) -> BTreeMap<&str, Var> {
    case.inputs
        .iter()
        .map(|(name, f)| {
            let x = Tensor::from_slice(&f.data, f.shape.as_slice(), device()).unwrap();
            (name.as_str(), Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap())
        })
        .collect()
}

fn value(case: &Case, vars: &BTreeMap<&str, Var>) -> Tensor {
    loss(case, &|name| vars[name].as_tensor().clone()).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

fn scalar(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn list(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(1e-2_f64, |m, v| m.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "{what}[{i}]: {a} instead of {e}");
    }
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/losses/losses.json");
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(file.cases.len() > 5);
    for case in &file.cases {
        for (dtype, tolerance) in [(DType::F32, 2e-4), (DType::F64, 1e-8)] {
            let vars = tensors(case, dtype);
            let what = format!("{} {dtype:?}", case.name);
            let result = value(case, &vars);
            assert_close(&what, &[scalar(&result)], &[case.value], tolerance);
            let grads = result.backward().unwrap();
            for (name, expected) in &case.grads {
                // A loss without pairs is a constant: no gradient is a gradient of zero.
                let actual = grads.get(&vars[name.as_str()]).map_or(vec![0.0; expected.data.len()], list);
                assert_close(&format!("{what} d{name}"), &actual, &expected.data, tolerance);
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/losses/losses.json");
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // At a kink of the loss or a gradient of 1e8 a finite step is meaningless; PyTorch's value is
    // compared above.
    let kinks = ["zero_vector", "plus_minus_one", "identical", "opposite"];
    for case in file.cases.iter().filter(|case| !kinks.iter().any(|kink| case.name.contains(kink))) {
        let vars = tensors(case, DType::F64);
        let grads = value(case, &vars).backward().unwrap();
        for name in case.grads.keys() {
            let data = &case.inputs[name].data;
            let analytic = grads.get(&vars[name.as_str()]).map_or(vec![0.0; data.len()], list);
            let step = 1e-7 * data.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let numeric: Vec<f64> = (0..data.len())
                .map(|i| {
                    let at = |step: f64| {
                        let mut moved = data.clone();
                        moved[i] += step;
                        let mut vars = vars.clone();
                        let x =
                            Tensor::from_vec(moved, case.inputs[name].shape.as_slice(), device()).unwrap();
                        vars.insert(name, Var::from_tensor(&x).unwrap());
                        scalar(&value(case, &vars))
                    };
                    (at(step) - at(-step)) / (2.0 * step)
                })
                .collect();
            assert_close(&format!("{} d{name}", case.name), &analytic, &numeric, 1e-4);
        }
    }
}

#[test]
fn the_flattened_loss_of_large_maps_keeps_its_precision() {
    let shape = [2, 24, 64, 64];
    let wave = |period: f64| -> Vec<f64> {
        (0..shape.iter().product()).map(|i: usize| (i as f64 / period).sin() + 0.5).collect()
    };
    let teacher = wave(7.3);
    let student: Vec<f64> = teacher.iter().zip(wave(3.1)).map(|(t, w)| t + 0.05 * w).collect();
    // In f64 it is composed of candle's operators.
    let evaluate = |dtype| {
        let tensor =
            |data: &[f64]| Tensor::from_slice(data, &shape, device()).unwrap().to_dtype(dtype).unwrap();
        let student = Var::from_tensor(&tensor(&student)).unwrap();
        let loss = flattened_cosine_distillation(&tensor(&teacher), &student).unwrap();
        (scalar(&loss), list(loss.backward().unwrap().get(&student).unwrap()))
    };
    let ((value, gradient), (expected, expected_gradient)) = (evaluate(DType::F32), evaluate(DType::F64));
    assert!((value - expected).abs() < 3e-4 * expected, "{value} instead of {expected}");
    let largest = expected_gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for (actual, expected) in gradient.iter().zip(&expected_gradient) {
        assert!((actual - expected).abs() < 3e-5 * largest, "{actual} instead of {expected}");
    }
}

#[test]
fn masks_of_another_shape_are_refused() {
    let x = Tensor::ones((1, 2, 3, 3), DType::F32, device()).unwrap();
    let mask = Tensor::ones((1, 3, 2), DType::F32, device()).unwrap();
    let masks = PairMasks { positives: mask.clone(), negatives: mask };
    assert!(AngularMargin { scale: 16.0, margin: 0.3 }.loss(&x, &x, &masks).is_err());
}

#[test]
fn labels_for_another_batch_are_refused() {
    let outputs = Tensor::ones((3, 2, 2), DType::F32, device()).unwrap();
    let mut error = hypersphere_classifier(&outputs, &[true, false]).unwrap_err();
    // candle adds a backtrace where the environment asks for one.
    while let Error::WithBacktrace { inner, .. } = error {
        error = *inner;
    }
    match error {
        Error::UnexpectedShape { expected, got, .. } => {
            assert_eq!((expected.dims(), got.dims()), (&[3][..], &[2][..]));
        }
        other => panic!("{other}"),
    }
}
