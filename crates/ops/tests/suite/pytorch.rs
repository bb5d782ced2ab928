//! Every operator against values and gradients that PyTorch computed in f64: native kernels in f32,
//! and composed ones, which a GPU runs, in f32 and f64.

use crate::support::{Case, assert_close, cases, device, read};
use candle_core::{DType, Result, Tensor, Var};
use fmam_ops::{
    Activation, Adam, AdamConfig, Conv2dConfig, FrozenConv2d, Kernels, Nonlinearity, Optimizer, Padding, Sgd,
    SgdConfig, batch_norm, batch_norm_train, conv_transpose2d, conv2d, cosine_distance_with,
    gaussian_blur_with, max_pool2d, nonlinearity, upsample_bilinear_with, upsample_nearest,
};

const PATHS: [(DType, Kernels, f64); 3] = [
    (DType::F32, Kernels::Native, 2e-5),
    (DType::F32, Kernels::Composed, 2e-5),
    (DType::F64, Kernels::Composed, 1e-9),
];

/// Runs `forward` on every case of `file` for which it answers, and compares output and gradients.
fn check(file: &str, forward: impl Fn(&Case, Kernels, &dyn Fn(&str) -> Tensor) -> Option<Result<Tensor>>) {
    let mut checked = 0;
    for case in cases(file) {
        for (dtype, kernels, tolerance) in PATHS {
            let vars: std::collections::BTreeMap<&str, Var> = case
                .inputs
                .iter()
                .map(|(name, f)| (name.as_str(), Var::from_tensor(&f.tensor(dtype)).unwrap()))
                .collect();
            let input = |name: &str| vars[name].as_tensor().clone();
            let what = format!("{} {dtype:?} {kernels:?}", case.name);
            let Some(output) = forward(&case, kernels, &input) else { continue };
            let output = output.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(output.dims(), case.output.shape, "{what}");
            assert_close(&what, &output, &case.output.data, tolerance);
            checked += 1;
            let (Some(grads), Some(grad_output)) = (&case.grads, &case.grad_output) else { continue };
            let loss = (output * grad_output.tensor(dtype)).unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap_or_else(|e| panic!("{what}: {e}"));
            for (name, expected) in grads {
                let grad = store.get(&vars[name.as_str()]).unwrap_or_else(|| panic!("{what}: no d{name}"));
                assert_close(&format!("{what} d{name}"), grad, &expected.data, 5.0 * tolerance);
            }
        }
    }
    assert!(checked > 0, "{file} holds no case for this test");
}

fn conv_config(case: &Case) -> Conv2dConfig {
    let padding = if case.params["padding"] == "same" {
        Padding::TfSame
    } else {
        Padding::Symmetric(case.params["pads"][0].as_u64().unwrap() as usize)
    };
    Conv2dConfig { stride: case.size("stride"), padding, groups: case.size("groups") }
}

fn with_bias(case: &Case, y: Tensor, input: &dyn Fn(&str) -> Tensor) -> Result<Tensor> {
    if case.inputs.contains_key("bias") {
        y.broadcast_add(&input("bias").reshape((1, (), 1, 1))?)
    } else {
        Ok(y)
    }
}

#[test]
fn convolution() {
    for file in ["conv2d_dense", "conv2d_same", "conv2d_grouped"] {
        check(file, |case, kernels, input| {
            let y = Activation::from_nchw_with(&input("x"), kernels)
                .and_then(|x| conv2d(&x, &input("weight"), &conv_config(case)))
                .and_then(|y| y.to_nchw());
            Some(y.and_then(|y| with_bias(case, y, input)))
        });
    }
}

#[test]
fn frozen_convolution_gives_the_same_values() {
    for file in ["conv2d_dense", "conv2d_same", "conv2d_grouped"] {
        for case in cases(file) {
            for (dtype, kernels, tolerance) in PATHS {
                let input = |name: &str| case.inputs[name].tensor(dtype);
                let bias = case.inputs.contains_key("bias").then(|| input("bias"));
                let conv = FrozenConv2d::new(
                    &input("weight"),
                    bias.as_ref(),
                    conv_config(&case),
                    Nonlinearity::Relu6,
                )
                .unwrap();
                let y = conv.forward(&Activation::from_nchw_with(&input("x"), kernels).unwrap()).unwrap();
                let expected: Vec<f64> = case.output.data.iter().map(|v| v.clamp(0.0, 6.0)).collect();
                assert_close(&case.name, &y.to_nchw().unwrap(), &expected, tolerance);
            }
        }
    }
}

#[test]
fn transposed_convolution() {
    check("conv_transpose2d", |case, kernels, input| {
        let y = Activation::from_nchw_with(&input("x"), kernels)
            .and_then(|x| conv_transpose2d(&x, &input("weight"), case.size("stride"), case.size("padding")))
            .and_then(|y| y.to_nchw());
        Some(y.and_then(|y| with_bias(case, y, input)))
    });
}

#[test]
fn batch_normalisation() {
    check("batch_norm", |case, kernels, input| {
        let x = Activation::from_nchw_with(&input("x"), kernels).unwrap();
        let epsilon = case.params["eps"].as_f64().unwrap();
        let dtype = x.dtype();
        let y = if case.params["training"] == true {
            let (y, batch) =
                batch_norm_train(&x, &input("weight"), &input("bias"), epsilon, Nonlinearity::Identity, None)
                    .unwrap();
            let momentum = case.params["momentum"].as_f64().unwrap();
            let unbiased = batch.count as f64 / (batch.count - 1) as f64;
            for (name, batch, factor) in
                [("running_mean", &batch.mean, 1.0), ("running_var", &batch.variance, unbiased)]
            {
                let old = Tensor::new(case.vector(name), device()).unwrap().to_dtype(dtype).unwrap();
                let new =
                    ((old * (1.0 - momentum)).unwrap() + (batch * (factor * momentum)).unwrap()).unwrap();
                assert_close(name, &new, &case.vector(&format!("new_{name}")), 2e-5);
            }
            y
        } else {
            let [mean, variance] = ["running_mean", "running_var"]
                .map(|n| Tensor::new(case.vector(n), device()).unwrap().to_dtype(dtype).unwrap());
            let parameters = [&input("weight"), &input("bias"), &mean, &variance];
            batch_norm(&x, parameters, epsilon, Nonlinearity::Identity).unwrap()
        };
        Some(y.to_nchw())
    });
}

#[test]
fn max_pooling() {
    check("pool", |case, kernels, input| {
        (case.op == "max_pool2d").then(|| {
            let x = Activation::from_nchw_with(&input("x"), kernels)?;
            max_pool2d(&x, case.size("kernel"), case.size("stride"), case.size("padding"))?.to_nchw()
        })
    });
}

#[test]
fn nonlinearities() {
    check("activation", |case, kernels, input| {
        let kind = match case.op.as_str() {
            "relu" => Nonlinearity::Relu,
            "relu6" => Nonlinearity::Relu6,
            _ => return None,
        };
        let x = input("x");
        // Fixtures may have any rank; an activation has four axes.
        let flat = x.reshape((1, 1, 1, ())).unwrap();
        let y = nonlinearity(&Activation::from_nchw_with(&flat, kernels).unwrap(), kind)
            .unwrap()
            .to_nchw()
            .unwrap();
        Some(y.reshape(x.shape()))
    });
}

#[test]
fn upsampling() {
    check("upsample", |case, kernels, input| {
        let size: Vec<usize> = serde_json::from_value(case.params["size"].clone()).unwrap();
        let x = input("x");
        if case.params["mode"] == "nearest" {
            let (_, _, h, w) = x.dims4().unwrap();
            return (size[0].is_multiple_of(h) && size[0] / h * w == size[1])
                .then(|| upsample_nearest(&x, size[0] / h));
        }
        Some(upsample_bilinear_with(&x, size[0], size[1], case.params["align_corners"] == true, kernels))
    });
}

#[test]
fn blur_is_scipys() {
    check("gaussian_blur", |case, kernels, input| {
        Some(gaussian_blur_with(&input("x"), case.params["sigma"].as_f64().unwrap(), kernels))
    });
}

#[test]
fn cosine_distances() {
    check("cosine_distance", |_, kernels, input| {
        Some(cosine_distance_with(&input("a"), &input("b"), kernels))
    });
}

#[test]
fn optimizers_walk_pytorchs_path() {
    let file: serde_json::Value = read("optimizer");
    for case in file["cases"].as_array().unwrap() {
        let p = |key: &str| case["params"][key].as_f64().unwrap_or(0.0);
        let fixture =
            |v: &serde_json::Value| serde_json::from_value::<crate::support::Fixture>(v.clone()).unwrap();
        for (dtype, kernels, tolerance) in PATHS {
            let var = Var::from_tensor(&fixture(&case["start"]).tensor(dtype)).unwrap();
            let name = case["name"].as_str().unwrap();
            let make = || -> Box<dyn Optimizer> {
                if name.starts_with("adam") {
                    let betas: Vec<f64> = serde_json::from_value(case["params"]["betas"].clone()).unwrap();
                    let config = AdamConfig {
                        learning_rate: p("lr"),
                        betas: (betas[0], betas[1]),
                        epsilon: p("eps"),
                        weight_decay: p("weight_decay"),
                    };
                    Box::new(Adam::with_kernels(vec![var.clone()], config, kernels).unwrap())
                } else {
                    let config = SgdConfig {
                        learning_rate: p("lr"),
                        momentum: p("momentum"),
                        weight_decay: p("weight_decay"),
                    };
                    Box::new(Sgd::with_kernels(vec![var.clone()], config, kernels).unwrap())
                }
            };
            let mut optimizer = make();
            let steps = case["gradients"].as_array().unwrap().iter().zip(case["after"].as_array().unwrap());
            for (i, (gradient, after)) in steps.enumerate() {
                let g = fixture(gradient).tensor(dtype);
                let store = (var.as_tensor() * g).unwrap().sum_all().unwrap().backward().unwrap();
                // A restored optimizer takes every step, so that a part missing in the state shows.
                let state = optimizer.state().unwrap();
                assert_eq!(state.steps, i);
                optimizer = make();
                optimizer.restore(&state).unwrap();
                optimizer.step(&store).unwrap();
                let expected: Vec<f64> = if after["param"].is_array() {
                    serde_json::from_value(after["param"].clone()).unwrap()
                } else {
                    fixture(&after["param"]).data
                };
                assert_close(&format!("{name} step {i} {dtype:?} {kernels:?}"), &var, &expected, tolerance);
            }
        }
    }
}
