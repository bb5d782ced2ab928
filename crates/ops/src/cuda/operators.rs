//! The operators of this module against those of the CPU and compositions of candle's, with their
//! gradients: the same calls on the same tensors, on the simulated device and without it.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::runner::tf32;
use super::simulated::{simulated, simulated_in_tf32};
use crate::{
    Activation, Adam, AdamConfig, BatchStatistics, Combination, Conv2dConfig, FrozenConv2d, Kernels,
    LayerKind, Nonlinearity, Optimizer, Padding, PositionSums, Running, Sgd, SgdConfig, TrainLayer,
    add_nonlinearity, batch_norm_train, channel_affine, combined_maps, conv_transpose2d, conv2d,
    cosine_distance, frozen_layers, gaussian_blur, gradients, k_centres, max_pool2d, nearest_rows,
    nonlinearity, normalized_pixels, train_layers, upsample_bilinear,
};

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-2_f32, |largest, v| largest.max(v.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= tolerance * largest;
        assert!(close, "{what}: [{at}] is {found} instead of {expected} (largest {largest})");
    }
}

/// The result of `operator` and the gradients of a projection of it.
fn run(
    inputs: &[Tensor],
    is_tracked: bool,
    operator: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let mut y = None;
    let (_, grads) = gradients(|| {
        let result = operator(&tensors)?;
        let result = y.insert(result);
        result.to_dtype(DType::F32)?.mul(&random(99, result.dims()))?.sum_all()
    })?;
    let y = flat(&y.unwrap());
    if !is_tracked {
        return Ok((y, Vec::new()));
    }
    Ok((y, vars.iter().map(|var| flat(grads.get(var).unwrap_or_else(|| panic!("no gradient")))).collect()))
}

/// Compares `operator` on the simulated device with itself on the CPU. In f32 the two agree. With
/// the first `activations` of its inputs in bf16, it lies no further from f32 than twice what a
/// composition of candle's operators in bf16 does.
fn check(
    what: &str,
    inputs: &[Tensor],
    activations: usize,
    is_tracked: bool,
    operator: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) {
    let exact = run(inputs, is_tracked, operator).unwrap();
    let Some(found) = simulated(|| run(inputs, is_tracked, operator)) else { return };
    compare(&format!("{what}, f32"), &found.unwrap(), &exact, |_| 3e-5);

    let round = |x: &Tensor| x.to_dtype(DType::BF16).unwrap();
    let rounded = |(k, x): (usize, &Tensor)| if k < activations { round(x) } else { x.clone() };
    let inputs: Vec<Tensor> = inputs.iter().enumerate().map(rounded).collect();
    let widened: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let exact = run(&widened, is_tracked, operator).unwrap();
    let composed = run(&inputs, is_tracked, operator).unwrap();
    let found = simulated(|| run(&inputs, is_tracked, operator)).unwrap().unwrap();
    let distance = |k: Option<usize>| {
        let of = |run: &(Vec<f32>, Vec<Vec<f32>>)| k.map_or_else(|| run.0.clone(), |k| run.1[k].clone());
        let (composed, exact) = (of(&composed), of(&exact));
        let largest = exact.iter().fold(1e-2_f32, |largest, v| largest.max(v.abs()));
        composed.iter().zip(&exact).fold(0.0_f32, |far, (a, b)| far.max((a - b).abs())) / largest
    };
    compare(&format!("{what}, bf16"), &found, &exact, |k| 2.0 * distance(k) + 1.0 / 128.0);
}

/// The results and gradients of two runs; `tolerance` is that of a gradient or, of `None`, of the
/// result.
fn compare(
    what: &str,
    found: &(Vec<f32>, Vec<Vec<f32>>),
    expected: &(Vec<f32>, Vec<Vec<f32>>),
    tolerance: impl Fn(Option<usize>) -> f32,
) {
    assert_close(what, &found.0, &expected.0, tolerance(None));
    for (k, (found, expected)) in found.1.iter().zip(&expected.1).enumerate() {
        assert_close(&format!("{what}, gradient {k}"), found, expected, tolerance(Some(k)));
    }
}

fn act(x: &Tensor) -> Activation {
    Activation::from_nchw_with(x, Kernels::Native).unwrap()
}

const KINDS: [Nonlinearity; 3] = [Nonlinearity::Identity, Nonlinearity::Relu, Nonlinearity::Relu6];

#[test]
fn convolutions() {
    for (groups, ci, co, kernel, stride, padding) in [
        (1, 3, 5, 3, 1, Padding::Symmetric(1)),
        (1, 4, 6, 3, 2, Padding::TfSame),
        (4, 4, 4, 3, 2, Padding::Symmetric(1)),
        (2, 4, 6, 3, 1, Padding::Symmetric(1)),
    ] {
        let config = Conv2dConfig { stride, padding, groups };
        let inputs = [random(1, &[2, ci, 6, 5]), random(2, &[co, ci / groups, kernel, kernel])];
        check(&format!("conv2d {config:?}"), &inputs, 1, true, &|x| {
            conv2d(&act(&x[0]), &x[1], &config)?.to_nchw()
        });
    }
    let inputs = [random(1, &[2, 3, 3, 2]), random(2, &[3, 4, 2, 2])];
    check("conv_transpose2d", &inputs, 1, true, &|x| conv_transpose2d(&act(&x[0]), &x[1], 2, 0)?.to_nchw());
}

#[test]
fn tensor_cores_round_the_factors_and_nothing_else() {
    let (x, weight) = (random(1, &[1, 20, 5, 6]), random(2, &[70, 20, 3, 3]));
    let config = Conv2dConfig::same(3);
    let exact = flat(&conv2d(&act(&x), &weight, &config).unwrap().to_nchw().unwrap());
    let run = || flat(&conv2d(&act(&x), &weight, &config).unwrap().to_nchw().unwrap());
    assert!(!tf32());
    let Some(plain) = simulated(run) else { return };
    assert_close("without TF32", &plain, &exact, 1e-5);
    // Factors that TF32 holds: the same sums.
    let coarse = |x: &Tensor| ((x * 64.0).unwrap().round().unwrap() / 64.0).unwrap();
    let (x, weight) = (coarse(&x), coarse(&weight));
    let run = || flat(&conv2d(&act(&x), &weight, &config).unwrap().to_nchw().unwrap());
    let exact = run();
    assert_close("with TF32", &simulated_in_tf32(run).unwrap(), &exact, 1e-5);
}

#[test]
fn elementwise_operators() {
    let shape = [2, 3, 4, 5];
    for kind in KINDS {
        let wide = |seed| (random(seed, &shape) * 8.0).unwrap();
        check(&format!("{kind:?}"), &[wide(1)], 1, true, &|x| nonlinearity(&act(&x[0]), kind)?.to_nchw());
        check(&format!("add {kind:?}"), &[wide(1), wide(2)], 2, true, &|x| {
            add_nonlinearity(&act(&x[0]), &act(&x[1]), kind)?.to_nchw()
        });
    }
    let (scale, shift) = (random(3, &[3]), random(4, &[3]));
    check("channel_affine", &[random(1, &shape)], 1, true, &|x| {
        channel_affine(&act(&x[0]), &scale, &shift)?.to_nchw()
    });
}

#[test]
fn normalisation() {
    for kind in KINDS {
        let inputs = [(random(1, &[2, 3, 4, 5]) * 4.0).unwrap(), random(2, &[3]), random(3, &[3])];
        check(&format!("batch_norm_train {kind:?}"), &inputs, 1, true, &|x| {
            batch_norm_train(&act(&x[0]), &x[1], &x[2], 1e-5, kind, None)?.0.to_nchw()
        });
    }
}

#[test]
fn pooling() {
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (17, 1, 8)] {
        check(&format!("max_pool2d {kernel}"), &[random(1, &[2, 3, 7, 6])], 1, true, &|x| {
            max_pool2d(&act(&x[0]), kernel, stride, padding)?.to_nchw()
        });
    }
}

#[test]
fn cosine_distances() {
    let inputs = [random(1, &[2, 5, 3, 4]), random(2, &[2, 5, 3, 4])];
    check("cosine_distance", &inputs, 2, true, &|x| cosine_distance(&x[0], &x[1]));
}

/// The layers of an inverted residual, and one layer of stride 2.
fn layers<'a>(x: &'a [Tensor], kinds: &[LayerKind], inside: &[Nonlinearity]) -> Vec<TrainLayer<'a>> {
    let layer = |(k, (&kind, &nonlinearity)): (usize, (&LayerKind, &Nonlinearity))| {
        let [weight, norm_weight, norm_bias] = [0, 1, 2].map(|part| &x[3 * k + part]);
        TrainLayer { weight, kind, norm_weight, norm_bias, epsilon: 1e-5, nonlinearity, running: None }
    };
    kinds.iter().zip(inside).enumerate().map(layer).collect()
}

#[test]
fn layers_in_training() {
    use Nonlinearity::{Identity, Relu, Relu6};
    let conv = |kernel: usize, stride, groups| {
        LayerKind::Conv(Conv2dConfig { stride, padding: Padding::Symmetric(kernel / 2), groups })
    };
    let inverted = [conv(1, 1, 1), conv(3, 1, 6), conv(1, 1, 1)];
    let shapes: [&[usize]; 10] =
        [&[2, 3, 5, 4], &[6, 3, 1, 1], &[6], &[6], &[6, 1, 3, 3], &[6], &[6], &[3, 6, 1, 1], &[3], &[3]];
    let inputs: Vec<Tensor> = (1..).zip(shapes).map(|(seed, shape)| random(seed, shape)).collect();
    for shortcut in [None, Some(Identity), Some(Relu)] {
        check(&format!("layers, inverted residual {shortcut:?}"), &inputs, 1, true, &|x| {
            let layers = layers(&x[1..], &inverted, &[Relu6, Relu6, Identity]);
            train_layers(&act(&x[0]), &layers, shortcut)?.0.to_nchw()
        });
    }
    // A depthwise layer alone with a shortcut: its gradient is added to the one around it.
    let depthwise = [random(1, &[2, 3, 5, 4]), random(2, &[3, 1, 3, 3]), random(3, &[3]), random(4, &[3])];
    check("layers, depthwise with a shortcut", &depthwise, 1, true, &|x| {
        let layers = layers(&x[1..], &[conv(3, 1, 3)], &[Relu]);
        train_layers(&act(&x[0]), &layers, Some(Relu))?.0.to_nchw()
    });
    let image = random(1, &[2, 3, 6, 6]);
    let stem = [random(2, &[4, 3, 3, 3]), random(3, &[4]), random(4, &[4])];
    check("layers, stem of an image", &stem, 0, true, &|x| {
        train_layers(&act(&image), &layers(x, &[conv(3, 2, 1)], &[Relu]), None)?.0.to_nchw()
    });
    let up = LayerKind::Transposed { stride: 2, padding: 0 };
    let doubled = [random(1, &[2, 3, 2, 3]), random(2, &[3, 4, 2, 2]), random(3, &[4]), random(4, &[4])];
    check("layers, transposed", &doubled, 1, true, &|x| {
        train_layers(&act(&x[0]), &layers(&x[1..], &[up], &[Relu]), None)?.0.to_nchw()
    });
}

#[test]
fn backward_without_asking_for_it_before_gives_the_same_gradients() {
    use Nonlinearity::{Identity, Relu};
    let shapes: [&[usize]; 7] = [&[2, 3, 4, 4], &[3, 3, 3, 3], &[3], &[3], &[3, 3, 3, 3], &[3], &[3]];
    let kinds = [LayerKind::Conv(Conv2dConfig::same(3)); 2];
    let both = || -> Result<[Vec<Vec<f32>>; 2]> {
        let vars: Vec<Var> =
            (1..).zip(shapes).map(|(seed, shape)| Var::from_tensor(&random(seed, shape)).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let loss = || {
            let layers = layers(&tensors[1..], &kinds, &[Relu, Identity]);
            let y = train_layers(&act(&tensors[0]), &layers, Some(Relu))?.0.to_nchw()?;
            // Layers that run twice have the sum of both gradients.
            let y = train_layers(&act(&y), &layers, Some(Relu))?.0.to_nchw()?;
            y.mul(&random(99, y.dims()))?.sum_all()
        };
        let of = |grads: &candle_core::backprop::GradStore| {
            vars.iter().map(|var| flat(grads.get(var).unwrap())).collect::<Vec<_>>()
        };
        let asked = gradients(loss)?.1;
        Ok([of(&asked), of(&loss()?.backward()?)])
    };
    let expected = both().unwrap();
    let Some(found) = simulated(both) else { return };
    for (found, expected) in found.unwrap().iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert_close("gradient", found, expected, 1e-4);
        }
    }
}

#[test]
fn the_gradient_of_a_computed_parameter_goes_on_to_its_variable() {
    let run = || -> Result<Vec<f32>> {
        let factor = Var::from_tensor(&random(1, &[2]))?;
        let (weight, scale, shift) = (random(2, &[2, 3, 3, 3]), random(3, &[2]), random(4, &[2]));
        let image = random(5, &[1, 3, 4, 4]);
        let loss = || {
            let all = [weight.clone(), scale.mul(&factor)?, shift.clone()];
            let layers = layers(&all, &[LayerKind::Conv(Conv2dConfig::same(3))], &[Nonlinearity::Relu]);
            let y = train_layers(&act(&image), &layers, None)?.0.to_nchw()?;
            y.mul(&random(99, y.dims()))?.sum_all()
        };
        Ok(flat(gradients(loss)?.1.get(&factor).unwrap()))
    };
    let expected = run().unwrap();
    let Some(found) = simulated(run) else { return };
    assert_close("factor", &found.unwrap(), &expected, 1e-4);
}

#[test]
fn running_statistics_move_with_the_batch() {
    let run = || -> Result<(Vec<f32>, Vec<f32>)> {
        let [mean, variance] =
            [1, 2].map(|seed| Var::from_tensor(&random(seed, &[4]).abs().unwrap()).unwrap());
        let (weight, scale, shift) = (random(3, &[4, 3, 3, 3]), random(4, &[4]), random(5, &[4]));
        let layer = TrainLayer {
            weight: &weight,
            kind: LayerKind::Conv(Conv2dConfig::same(3)),
            norm_weight: &scale,
            norm_bias: &shift,
            epsilon: 1e-5,
            nonlinearity: Nonlinearity::Relu,
            running: Some(Running { mean: &mean, variance: &variance, momentum: 0.1 }),
        };
        let mut measured = None;
        for fused in [false, true] {
            let forward = || train_layers(&act(&random(6, &[2, 3, 4, 4])), &[layer], None);
            let (y, statistics) = if fused {
                let mut kept = None;
                gradients(|| kept.insert(forward()?).0.to_nchw()?.sum_all())?;
                kept.unwrap()
            } else {
                forward()?
            };
            assert_eq!(y.dims()?, (2, 4, 4, 4));
            measured = statistics.into_iter().next();
        }
        let BatchStatistics { mean: batch, variance: spread, count } = measured.unwrap();
        assert_eq!(count, 32);
        Ok(([flat(&mean), flat(&variance)].concat(), [flat(&batch), flat(&spread)].concat()))
    };
    let expected = run().unwrap();
    let Some(found) = simulated(run) else { return };
    let found = found.unwrap();
    assert_close("running statistics", &found.0, &expected.0, 1e-5);
    assert_close("statistics", &found.1, &expected.1, 1e-5);
}

#[test]
fn frozen_layers_run_as_on_a_cpu() {
    let conv = |kernel: usize, stride, groups| Conv2dConfig {
        stride,
        padding: Padding::Symmetric(kernel / 2),
        groups,
    };
    let bias = random(9, &[6]);
    for (config, weight, bias) in [
        (conv(3, 2, 1), [6, 4, 3, 3], Some(&bias)),
        (conv(1, 1, 1), [6, 4, 1, 1], None),
        (conv(3, 1, 2), [6, 2, 3, 3], Some(&bias)),
    ] {
        check(&format!("frozen {config:?}"), &[random(1, &[2, 4, 5, 6])], 1, false, &|x| {
            let layer = FrozenConv2d::new(&random(2, &weight), bias, config, Nonlinearity::Relu)?;
            layer.forward(&act(&x[0]))?.to_nchw()
        });
    }
    check("frozen residual", &[random(1, &[2, 6, 5, 6]), random(3, &[2, 6, 5, 6])], 2, false, &|x| {
        let depthwise =
            FrozenConv2d::new(&random(4, &[6, 1, 3, 3]), Some(&bias), conv(3, 1, 6), Nonlinearity::Identity)?;
        let dense =
            FrozenConv2d::new(&random(5, &[6, 6, 1, 1]), Some(&bias), conv(1, 1, 1), Nonlinearity::Identity)?;
        let y = depthwise.forward_add(&act(&x[0]), &act(&x[1]), Nonlinearity::Relu)?;
        frozen_layers(&y, &[&depthwise, &dense], Some((&act(&x[1]), Nonlinearity::Relu6)))?.to_nchw()
    });
    check("frozen transposed", &[random(1, &[2, 3, 3, 2])], 1, false, &|x| {
        let weight = random(2, &[3, 6, 2, 2]);
        let layer = FrozenConv2d::transposed(&weight, Some(&bias), (2, 0), Nonlinearity::Relu)?;
        layer.forward(&act(&x[0]))?.to_nchw()
    });
}

#[test]
fn maps() {
    for (from, to, align_corners) in [
        ([3, 4], (7, 9), true),
        ([3, 4], (7, 9), false),
        ([8, 6], (3, 2), true),
        ([8, 6], (3, 2), false),
        ([1, 5], (4, 1), true),
        ([5, 1], (1, 6), false),
    ] {
        let what = format!("upsample {from:?} {to:?} {align_corners}");
        check(&what, &[random(1, &[2, 2, from[0], from[1]])], 1, true, &|x| {
            upsample_bilinear(&x[0], to.0, to.1, align_corners)
        });
    }
    check("blur", &[random(1, &[2, 7, 5])], 1, false, &|x| gaussian_blur(&x[0], 1.7));
    for combination in [Combination::Sum, Combination::Product] {
        let inputs = [random(1, &[2, 4, 5]), random(2, &[2, 2, 3]), random(3, &[2, 1, 1])];
        check(&format!("{combination:?}"), &inputs, 0, false, &|x| combined_maps(x, 8, 9, combination));
    }
}

#[test]
fn pixels_are_scaled() {
    let pixels: Vec<u8> = (0..2 * 3 * 4 * 3).map(|k| (k * 37 % 256) as u8).collect();
    let constants = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
    let run = || flat(&normalized_pixels(&pixels, (2, 3, 4), constants, &Device::Cpu).unwrap());
    let Some(found) = simulated(run) else { return };
    assert_close("pixels", &found, &run(), 1e-6);
}

#[test]
fn optimizers_change_all_variables_at_once() {
    let run = |kernels| -> Result<Vec<Vec<f32>>> {
        let mut all = Vec::new();
        for is_adam in [true, false] {
            let vars: Vec<Var> = [(1, vec![5000]), (2, vec![3, 4]), (3, vec![7])]
                .map(|(seed, shape)| Var::from_tensor(&random(seed, &shape)).unwrap())
                .to_vec();
            let adam = AdamConfig { learning_rate: 0.1, weight_decay: 0.01, ..AdamConfig::default() };
            let sgd = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01 };
            let new = || -> Result<Box<dyn Optimizer>> {
                Ok(if is_adam {
                    Box::new(Adam::with_kernels(vars.clone(), adam, kernels)?)
                } else {
                    Box::new(Sgd::with_kernels(vars.clone(), sgd, kernels)?)
                })
            };
            let mut optimizer = new()?;
            for step in 0..4 {
                // The second variable has no gradient in one step, and stays as it is.
                let used = vars.iter().enumerate().filter(|(k, _)| *k != 1 || step != 2);
                let squares = used.map(|(_, var)| var.sqr()?.sum_all()).collect::<Result<Vec<_>>>()?;
                optimizer.step(&Tensor::stack(&squares, 0)?.sum_all()?.backward()?)?;
                if step == 1 {
                    // As a training that goes on from a file.
                    let state = optimizer.state()?;
                    assert_eq!(state.steps, 2);
                    optimizer = new()?;
                    optimizer.restore(&state)?;
                }
            }
            all.extend(vars.iter().map(|var| flat(var)));
            all.extend(optimizer.state()?.tensors.iter().map(flat));
        }
        Ok(all)
    };
    let expected = run(Kernels::Native).unwrap();
    let composed = run(Kernels::Composed);
    let simulated = simulated(|| run(Kernels::Native));
    for (what, found) in [("composed", Some(composed)), ("simulated", simulated)] {
        let Some(found) = found else { continue };
        let found = found.unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            // Values that have come near 0 have the rounding errors of those that they were.
            assert_close(what, found, expected, 1e-4);
        }
    }
}

#[test]
fn rows_of_features() {
    let (queries, rows) = (random(1, &[70, 19]), random(2, &[150, 19]));
    let run = || {
        let (squared, nearest) = nearest_rows(&queries, &rows).unwrap();
        (flat(&squared), nearest.to_vec1::<u32>().unwrap())
    };
    let expected = run();
    let Some(found) = simulated(run) else { return };
    assert_eq!(found.1, expected.1);
    assert_close("nearest", &found.0, &expected.0, 1e-5);
    let none = simulated(|| nearest_rows(&queries.narrow(0, 0, 0).unwrap(), &rows).unwrap().0).unwrap();
    assert_eq!(none.dims(), [0]);

    // The farthest of equal rows is the first one.
    let rows = Tensor::cat(&[&rows, &rows], 0).unwrap();
    let picks = || k_centres(&rows, 7, 40, |_| Ok::<_, candle_core::Error>(())).unwrap();
    let expected = picks();
    assert_eq!((expected.len(), expected[0]), (40, 7));
    assert_eq!(simulated(picks).unwrap(), expected);
    let stopped =
        simulated(|| {
            k_centres(&rows, 7, 40, |picked| {
                if picked < 9 { Ok(()) } else { Err(candle_core::Error::Msg("9".into())) }
            })
        });
    assert!(stopped.unwrap().is_err());

    let (centre, images) = (random(3, &[6, 9]), random(4, &[5, 6, 9]));
    let sums = || {
        let mut sums = PositionSums::new(&centre).unwrap();
        sums.add(&images).unwrap();
        sums.add(&(&images * 2.0).unwrap().narrow(0, 1, 3).unwrap()).unwrap();
        let (sums, products) = sums.read().unwrap();
        [sums, products].map(|values| values.into_iter().map(|v| v as f32).collect::<Vec<_>>())
    };
    let (found, expected) = (simulated(sums).unwrap(), sums());
    assert_close("sums", &found[0], &expected[0], 1e-6);
    assert_close("products", &found[1], &expected[1], 1e-6);
    // Entry (1, 0) of the first position's triangle is the product of its two first deviations.
    let deviation = |image: usize, k: usize| {
        let at = |tensor: &Tensor, index: usize| flat(tensor)[index];
        at(&images, image * 54 + k) - at(&centre, k)
    };
    let twice = |image: usize, k: usize| 2.0 * flat(&images)[image * 54 + k] - flat(&centre)[k];
    let first: f32 = (0..5).map(|n| deviation(n, 1) * deviation(n, 0)).sum();
    let second: f32 = (1..4).map(|n| twice(n, 1) * twice(n, 0)).sum();
    assert_close("entry", &expected[1][1..2], &[first + second], 1e-4);
}
