//! Gradients against finite differences in f64, and convolution against the definition, over random
//! shapes. Each check runs native kernels in f32, and composed ones in f32 and f64.

use candle_core::{DType, Result, Tensor, Var};
use fmam_ops::{
    Activation, Conv2dConfig, Kernels, LayerKind, Nonlinearity, Padding, TrainLayer, add_nonlinearity,
    batch_norm, batch_norm_train, channel_affine, conv_transpose2d, conv2d, cosine_distance_with, max_pool2d,
    nonlinearity, train_layers, upsample_bilinear_with, upsample_nearest,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::device;

fn random(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let data: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(data, shape, device()).unwrap()
}

/// A fixed random projection turns the output into a scalar.
fn projected(y: &Tensor) -> f64 {
    let weights = random(&mut ChaCha8Rng::seed_from_u64(99), y.dims());
    (y.to_dtype(DType::F64).unwrap() * weights).unwrap().sum_all().unwrap().to_scalar().unwrap()
}

const BOTH: [Kernels; 2] = [Kernels::Native, Kernels::Composed];

/// Compares the gradients of every input with central differences of the f64 forward pass.
fn check(what: &str, inputs: &[Tensor], f: impl Fn(Kernels, &[Tensor]) -> Result<Tensor>) {
    let numeric: Vec<Vec<f64>> = (0..inputs.len())
        .map(|k| {
            let values = inputs[k].flatten_all().unwrap().to_vec1::<f64>().unwrap();
            (0..values.len())
                .map(|i| {
                    let at = |step: f64| {
                        let mut moved = values.clone();
                        moved[i] += step;
                        let mut inputs = inputs.to_vec();
                        inputs[k] = Tensor::from_vec(moved, inputs[k].shape(), device()).unwrap();
                        projected(&f(Kernels::Composed, &inputs).unwrap())
                    };
                    (at(1e-5) - at(-1e-5)) / 2e-5
                })
                .collect()
        })
        .collect();
    let paths = [
        (DType::F64, Kernels::Composed, 1e-6),
        (DType::F32, Kernels::Native, 1e-4),
        (DType::F32, Kernels::Composed, 1e-4),
    ];
    for (dtype, kernels, tolerance) in paths {
        let vars: Vec<Var> =
            inputs.iter().map(|x| Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(kernels, &tensors).unwrap();
        let weights = random(&mut ChaCha8Rng::seed_from_u64(99), y.dims()).to_dtype(dtype).unwrap();
        let grads = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        for (k, (var, numeric)) in vars.iter().zip(&numeric).enumerate() {
            let grad = grads.get(var).unwrap_or_else(|| panic!("{what}: input {k} has no gradient"));
            let grad = grad.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let scale = numeric.iter().fold(0.1_f64, |m, v| m.max(v.abs()));
            for (i, (g, n)) in grad.iter().zip(numeric).enumerate() {
                assert!(
                    (g - n).abs() <= tolerance * scale,
                    "{what} {dtype:?} {kernels:?}: gradient {i} of input {k} is {g}, finite differences give {n}"
                );
            }
        }
    }
}

fn inputs(shapes: &[&[usize]]) -> Vec<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    shapes.iter().map(|s| random(&mut rng, s)).collect()
}

fn act(kernels: Kernels, x: &Tensor) -> Activation {
    Activation::from_nchw_with(x, kernels).unwrap()
}

/// An inverted residual: widening, depthwise and narrowing convolution, each normalised, and the
/// sum with the input.
#[test]
fn gradients_flow_through_layers_that_are_one_operator() {
    let config = Conv2dConfig::same(3);
    let kinds = [
        LayerKind::Conv(Conv2dConfig::same(1)),
        LayerKind::Conv(Conv2dConfig { groups: 6, ..config }),
        LayerKind::Conv(Conv2dConfig::same(1)),
    ];
    let shapes: [&[usize]; 10] =
        [&[2, 3, 4, 5], &[6, 3, 1, 1], &[6], &[6], &[6, 1, 3, 3], &[6], &[6], &[3, 6, 1, 1], &[3], &[3]];
    let inside = [Nonlinearity::Relu6, Nonlinearity::Relu, Nonlinearity::Identity];
    for shortcut in [None, Some(Nonlinearity::Identity), Some(Nonlinearity::Relu)] {
        check("train_layers", &inputs(&shapes), |kernels, x| {
            train_layers(&act(kernels, &x[0]), &layers(&x[1..], &kinds, &inside), shortcut)?.0.to_nchw()
        });
    }
    let up = [LayerKind::Transposed { stride: 2, padding: 0 }];
    check("transposed train_layers", &inputs(&[&[2, 3, 2, 3], &[3, 4, 2, 2], &[4], &[4]]), |kernels, x| {
        train_layers(&act(kernels, &x[0]), &layers(&x[1..], &up, &inside), None)?.0.to_nchw()
    });
}

/// `tensors` holds weight, scale and shift of each layer.
fn layers<'a>(tensors: &'a [Tensor], kinds: &[LayerKind], inside: &[Nonlinearity]) -> Vec<TrainLayer<'a>> {
    tensors
        .chunks_exact(3)
        .zip(kinds.iter().zip(inside))
        .map(|(t, (kind, nonlinearity))| TrainLayer {
            weight: &t[0],
            kind: *kind,
            norm_weight: &t[1],
            norm_bias: &t[2],
            epsilon: 1e-3,
            nonlinearity: *nonlinearity,
            running: None,
        })
        .collect()
}

#[test]
fn batch_norm_gradients_flow_through_the_statistics() {
    for kind in [Nonlinearity::Identity, Nonlinearity::Relu, Nonlinearity::Relu6] {
        check("batch_norm_train", &inputs(&[&[2, 3, 4, 5], &[3], &[3]]), |kernels, x| {
            batch_norm_train(&act(kernels, &x[0]), &x[1], &x[2], 1e-5, kind, None)?.0.to_nchw()
        });
    }
    check("batch_norm", &inputs(&[&[2, 3, 4, 5], &[3], &[3]]), |kernels, x| {
        let mean = Tensor::new(&[0.1, -0.2, 0.3], device())?.to_dtype(x[0].dtype())?;
        let variance = Tensor::new(&[0.5, 1.5, 0.7], device())?.to_dtype(x[0].dtype())?;
        batch_norm(&act(kernels, &x[0]), [&x[1], &x[2], &mean, &variance], 1e-3, Nonlinearity::Relu)?
            .to_nchw()
    });
}

#[test]
fn pointwise_gradients() {
    for kind in [Nonlinearity::Relu, Nonlinearity::Relu6] {
        check("nonlinearity", &inputs(&[&[2, 3, 4, 5]]), |kernels, x| {
            nonlinearity(&act(kernels, &(&x[0] * 8.0)?), kind)?.to_nchw()
        });
        check("add_nonlinearity", &inputs(&[&[2, 3, 4, 5], &[2, 3, 4, 5]]), |kernels, x| {
            add_nonlinearity(&act(kernels, &x[0]), &act(kernels, &(&x[1] * 8.0)?), kind)?.to_nchw()
        });
    }
    check("channel_affine", &inputs(&[&[2, 3, 4, 5]]), |kernels, x| {
        let constant = |v: [f64; 3]| Tensor::new(&v, device())?.to_dtype(x[0].dtype());
        channel_affine(&act(kernels, &x[0]), &constant([0.5, -2.0, 3.0])?, &constant([1.0, 0.0, -1.0])?)?
            .to_nchw()
    });
    check("add and cat", &inputs(&[&[1, 3, 2, 2], &[1, 3, 2, 2]]), |kernels, x| {
        let (a, b) = (act(kernels, &x[0]), act(kernels, &x[1]));
        Activation::cat(&[&a.add(&b)?, &b])?.to_nchw()
    });
}

#[test]
fn pooling_gradients() {
    for (kernel, stride, padding, h, w) in [(2, 2, 0, 4, 6), (3, 2, 1, 9, 8), (3, 1, 1, 4, 5)] {
        check("max_pool2d", &inputs(&[&[2, 2, h, w]]), |kernels, x| {
            max_pool2d(&act(kernels, &x[0]), kernel, stride, padding)?.to_nchw()
        });
    }
}

#[test]
fn resampling_gradients() {
    check("upsample_nearest", &inputs(&[&[2, 2, 3, 2]]), |_, x| upsample_nearest(&x[0], 3));
    for align in [false, true] {
        check("upsample_bilinear", &inputs(&[&[2, 2, 3, 4]]), |kernels, x| {
            upsample_bilinear_with(&x[0], 7, 8, align, kernels)
        });
        check("downsample", &inputs(&[&[1, 2, 5, 6]]), |kernels, x| {
            upsample_bilinear_with(&x[0], 3, 4, align, kernels)
        });
    }
    // A second use of the input: candle's own upsampling overwrites the gradient of the first.
    check("nearest twice", &inputs(&[&[1, 1, 2, 2]]), |_, x| {
        upsample_nearest(&x[0], 2)? + upsample_nearest(&x[0].sqr()?, 2)?
    });
}

#[test]
fn cosine_gradients() {
    for c in [2, 3, 8, 19] {
        check("cosine_distance", &inputs(&[&[2, c, 3, 4], &[2, c, 3, 4]]), |kernels, x| {
            cosine_distance_with(&x[0], &x[1], kernels)
        });
    }
}

#[test]
fn a_constant_input_costs_no_gradient() {
    let x = Tensor::ones((1, 2, 4, 4), DType::F32, device()).unwrap();
    let w = Var::ones((3, 2, 3, 3), DType::F32, device()).unwrap();
    for kernels in BOTH {
        let y = conv2d(&act(kernels, &x), &w, &Conv2dConfig::same(3)).unwrap().to_nchw().unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&w).is_some());
        assert!(grads.get(&x).is_none());
    }
}

/// The definition, in f64.
fn naive(
    x: &Tensor,
    w: &Tensor,
    config: &Conv2dConfig,
    (top, left): (usize, usize),
    out: &[usize],
) -> Vec<f64> {
    let (n, c, h, width) = x.dims4().unwrap();
    let (co, per_group, kh, kw) = w.dims4().unwrap();
    let xs = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let ws = w.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let mut y = Vec::new();
    for image in 0..n {
        for o in 0..co {
            let group = o / (co / config.groups);
            for oy in 0..out[2] {
                for ox in 0..out[3] {
                    let mut sum = 0.0;
                    for i in 0..per_group {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let iy = (oy * config.stride + ky).wrapping_sub(top);
                                let ix = (ox * config.stride + kx).wrapping_sub(left);
                                if iy < h && ix < width {
                                    sum += xs[((image * c + group * per_group + i) * h + iy) * width + ix]
                                        * ws[((o * per_group + i) * kh + ky) * kw + kx];
                                }
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn convolution_follows_its_definition(
        seed in 0_u64..1000, n in 1_usize..4, h in 1_usize..10, w in 1_usize..10, k in 1_usize..6, wide in 0_usize..2,
        stride in 1_usize..4, kind in 0_usize..5, ci in 1_usize..20, co in 1_usize..20, tf in any::<bool>(),
    ) {
        // Dense, depthwise, two groups, pointwise, and what Winograd's method takes.
        let (groups, ci, co) = match kind {
            1 => (ci, ci, ci),
            2 => (2, 2 * ci, 2 * co),
            4 => (1, 15 + ci, 15 + co),
            _ => (1, ci, co),
        };
        let (kh, kw, k, stride) = match kind { 3 => (1, 1, k, stride), 4 => (3, 3, 3, 1), _ => (k, k + wide, k, stride) };
        let padding = if tf { Padding::TfSame } else { Padding::Symmetric(k / 2) };
        let config = Conv2dConfig { stride, padding, groups };
        let pad = |size: usize, kernel: usize| if tf {
            ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size) / 2
        } else { k / 2 };
        prop_assume!(tf || (h + 2 * (k / 2) >= kh && w + 2 * (k / 2) >= kw));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let x = random(&mut rng, &[n, ci, h, w]);
        let weight = random(&mut rng, &[co, ci / groups, kh, kw]);
        let paths = [
            (DType::F32, Kernels::Native, 2e-6),
            (DType::F32, Kernels::Composed, 2e-6),
            (DType::F64, Kernels::Composed, 1e-12),
        ];
        for (dtype, kernels, tolerance) in paths {
            let input = act(kernels, &x.to_dtype(dtype).unwrap());
            let y = conv2d(&input, &weight.to_dtype(dtype).unwrap(), &config).unwrap().to_nchw().unwrap();
            let expected = naive(&x, &weight, &config, (pad(h, kh), pad(w, kw)), y.dims());
            let actual = y.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let bound = tolerance * (ci / groups * kh * kw) as f64;
            for (a, e) in actual.iter().zip(&expected) {
                prop_assert!((a - e).abs() <= bound, "{a} {e} {config:?} {dtype:?} {kernels:?}");
            }
        }
    }

    #[test]
    fn convolution_gradients_match_finite_differences(
        seed in 0_u64..1000, n in 1_usize..3, h in 2_usize..8, w in 2_usize..8, k in 1_usize..5, stride in 1_usize..3,
        depthwise in any::<bool>(), ci in 1_usize..4, co in 1_usize..4, tf in any::<bool>(), transposed in any::<bool>(),
    ) {
        prop_assume!(h + 2 * (k / 2) >= k && w + 2 * (k / 2) >= k);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let x = random(&mut rng, &[n, ci, h, w]);
        if transposed {
            let weight = random(&mut rng, &[ci, co, k, k]);
            let padding = (k - 1) / 2;
            check("conv_transpose2d", &[x, weight], |kernels, x| conv_transpose2d(&act(kernels, &x[0]), &x[1], stride, padding)?.to_nchw());
        } else {
            let (groups, co) = if depthwise { (ci, ci) } else { (1, co) };
            let weight = random(&mut rng, &[co, ci / groups, k, k]);
            let padding = if tf { Padding::TfSame } else { Padding::Symmetric(k / 2) };
            let config = Conv2dConfig { stride, padding, groups };
            check("conv2d", &[x, weight], |kernels, x| conv2d(&act(kernels, &x[0]), &x[1], &config)?.to_nchw());
        }
    }
}

#[test]
fn padding_may_be_wider_than_the_windows_reach() {
    let x = inputs(&[&[1, 3, 1, 2], &[4, 3, 1, 1]]);
    for stride in [1, 4, 11] {
        let config = Conv2dConfig { stride, padding: Padding::Symmetric(5), groups: 1 };
        check("wide padding", &x, |kernels, x| conv2d(&act(kernels, &x[0]), &x[1], &config)?.to_nchw());
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let x = inputs(&[&[3, 16, 17, 19], &[24, 16, 3, 3], &[24], &[24]]);
            let vars: Vec<Var> =
                x.iter().map(|x| Var::from_tensor(&x.to_dtype(DType::F32).unwrap()).unwrap()).collect();
            let y = conv2d(
                &act(Kernels::Native, &vars[0]),
                &vars[1],
                &Conv2dConfig { stride: 2, ..Conv2dConfig::same(3) },
            )
            .unwrap();
            let y = batch_norm_train(&y, &vars[2], &vars[3], 1e-5, Nonlinearity::Relu, None).unwrap().0;
            let y = y.to_nchw().unwrap().contiguous().unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let mut bits: Vec<u32> = Vec::new();
            for t in vars.iter().map(|v| grads.get(v).unwrap()).chain([&y]) {
                bits.extend(t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()));
            }
            bits
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}
