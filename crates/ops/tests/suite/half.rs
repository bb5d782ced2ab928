//! bf16 activations with f32 parameters: results and gradients against those of f32, on the CPU.

use candle_core::{DType, Result, Tensor, Var};
use fmam_ops::{
    Activation, Conv2dConfig, FrozenConv2d, LayerKind, Nonlinearity, Padding, TrainLayer, add_nonlinearity,
    batch_norm, batch_norm_train, channel_affine, conv_transpose2d, conv2d, cosine_distance, frozen_layers,
    gaussian_blur, max_pool2d, nonlinearity, train_layers, upsample_bilinear, upsample_nearest,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::device;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(data, shape, device()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A result and the gradients of the input and the parameters; the result is of the type `dtype` as
/// the input is.
fn run(
    dtype: DType,
    input: &Tensor,
    parameters: &[Tensor],
    f: &dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor>,
) -> (Vec<f64>, Vec<Option<Vec<f64>>>) {
    let vars: Vec<Var> =
        std::iter::once(input).chain(parameters).map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors[0].to_dtype(dtype).unwrap(), &tensors[1..]).unwrap();
    assert_eq!(y.dtype(), dtype);
    let y = y.to_dtype(DType::F32).unwrap();
    let weights = (random(99, y.dims()) + 0.1).unwrap();
    let gradients = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |var: &Var| {
        let gradient = gradients.get(var)?;
        assert_eq!((gradient.dtype(), gradient.dims()), (DType::F32, var.dims()));
        Some(values(gradient))
    };
    (values(&y), vars.iter().map(gradient).collect())
}

/// Upper bounds of the error of results, as a share of them, and of the difference between the
/// cosine of gradients and 1.
type Bounds = [f64; 2];
const CLOSE: Bounds = [1e-2, 1e-3];
/// Of what has a kink: a value that rounding moves over it has another gradient there.
const KINKED: Bounds = [2e-2, 5e-3];

fn bounds(kind: Nonlinearity) -> Bounds {
    if kind == Nonlinearity::Identity { CLOSE } else { KINKED }
}

/// Compares the two types. `n_gradients` of input and parameters, in this order, have a gradient.
fn check(
    [largest, turn]: Bounds,
    what: &str,
    input: &Tensor,
    parameters: &[Tensor],
    n_gradients: usize,
    f: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor>,
) {
    let (expected, gradients) = run(DType::F32, input, parameters, &f);
    let (actual, half_gradients) = run(DType::BF16, input, parameters, &f);
    let error: Vec<f64> = actual.iter().zip(&expected).map(|(a, e)| a - e).collect();
    let share = (dot(&error, &error) / dot(&expected, &expected)).sqrt();
    assert!((1e-4..largest).contains(&share), "{what}: the results differ by {share}");
    for (k, (expected, actual)) in gradients.iter().zip(&half_gradients).enumerate() {
        assert_eq!(expected.is_some(), k < n_gradients, "{what}: gradient {k}");
        assert_eq!(actual.is_some(), k < n_gradients, "{what}: gradient {k}");
        let (Some(expected), Some(actual)) = (expected, actual) else { continue };
        let (e, a) = (dot(expected, expected).sqrt(), dot(actual, actual).sqrt());
        let cosine = dot(expected, actual) / (e * a);
        let is_near = 1.0 - cosine < turn && (a / e - 1.0).abs() < 0.02;
        assert!(is_near, "{what}: gradient {k}: {cosine}, {}", a / e);
    }
}

fn act(x: &Tensor) -> Activation {
    Activation::from_nchw(x).unwrap()
}

const IMAGE: [usize; 4] = [2, 6, 13, 10];

#[test]
fn convolutions_round_a_copy_of_their_weight() {
    let x = random(1, &IMAGE);
    for (config, shape) in [
        (Conv2dConfig::same(3), [5, 6, 3, 3]),
        (Conv2dConfig { stride: 2, ..Conv2dConfig::same(3) }, [5, 6, 3, 3]),
        (Conv2dConfig::same(1), [5, 6, 1, 1]),
        (Conv2dConfig { stride: 2, padding: Padding::TfSame, groups: 6 }, [6, 1, 3, 3]),
    ] {
        let name = format!("conv2d {config:?}");
        check(CLOSE, &name, &x, &[random(2, &shape)], 2, |x, p| conv2d(&act(x), &p[0], &config)?.to_nchw());
    }
    check(CLOSE, "conv_transpose2d", &x, &[random(3, &[6, 5, 2, 2])], 2, |x, p| {
        conv_transpose2d(&act(x), &p[0], 2, 0)?.to_nchw()
    });
}

#[test]
fn a_frozen_convolution_keeps_its_parameters_and_rounds_copies_once() {
    let (weight, bias, x) = (random(2, &[5, 6, 3, 3]), random(3, &[5]), random(1, &IMAGE));
    let config = Conv2dConfig::same(3);
    let first = FrozenConv2d::new(&weight, Some(&bias), config, Nonlinearity::Relu6).unwrap();
    let up = FrozenConv2d::transposed(&random(6, &[5, 6, 2, 2]), None, (2, 0), Nonlinearity::Relu).unwrap();
    // Twice, and f32 between and after.
    let f32 = || values(&first.forward(&act(&x)).unwrap().to_nchw().unwrap());
    let before = f32();
    for _ in 0..2 {
        check(CLOSE, "frozen_layers", &x, &[], 0, |x, _| {
            frozen_layers(&act(x), &[&first, &up], None)?.to_nchw()
        });
        assert_eq!(f32(), before);
    }
    let (weight, bias, config) = (random(7, &[6, 5, 1, 1]), random(8, &[6]), Conv2dConfig::same(1));
    let pointwise = FrozenConv2d::new(&weight, Some(&bias), config, Nonlinearity::Identity).unwrap();
    check(CLOSE, "frozen_layers with a shortcut", &x, &[], 0, |x, _| {
        frozen_layers(&act(x), &[&first, &pointwise], Some((&act(x), Nonlinearity::Relu)))?.to_nchw()
    });
}

#[test]
fn normalisations_measure_and_shift_in_f32() {
    // Far from 0, where sums of bf16 would be worth nothing.
    let x = ((random(1, &[4, 6, 32, 32]) * 0.5).unwrap() + 2.0).unwrap();
    let parameters = [random(2, &[6]), random(3, &[6])];
    for kind in [Nonlinearity::Identity, Nonlinearity::Relu, Nonlinearity::Relu6] {
        check(bounds(kind), "batch_norm_train", &x, &parameters, 3, |x, p| {
            batch_norm_train(&act(x), &p[0], &p[1], 1e-5, kind, None)?.0.to_nchw()
        });
    }
    let one = Tensor::ones(6, DType::F32, device()).unwrap();
    let statistics =
        |x: &Tensor| batch_norm_train(&act(x), &one, &one, 1e-5, Nonlinearity::Identity, None).unwrap().1;
    let (expected, actual) = (statistics(&x), statistics(&x.to_dtype(DType::BF16).unwrap()));
    for (expected, actual) in [(expected.mean, actual.mean), (expected.variance, actual.variance)] {
        assert_eq!(actual.dtype(), DType::F32);
        for (e, a) in values(&expected).iter().zip(values(&actual)) {
            assert!((e - a).abs() < 1e-3 * e, "{e}, {a}");
        }
    }
    let (mean, variance) = ((&one * 2.0).unwrap(), (&one * 0.1).unwrap());
    check(KINKED, "batch_norm", &x, &parameters, 3, |x, p| {
        batch_norm(&act(x), [&p[0], &p[1], &mean, &variance], 1e-3, Nonlinearity::Relu)?.to_nchw()
    });
    let (scale, shift) = (random(4, &[6]), random(5, &[6]));
    check(CLOSE, "channel_affine", &x, &[], 1, |x, _| channel_affine(&act(x), &scale, &shift)?.to_nchw());
}

#[test]
fn layers_with_a_shortcut_learn() {
    let kinds = [
        LayerKind::Conv(Conv2dConfig::same(1)),
        LayerKind::Conv(Conv2dConfig { groups: 12, ..Conv2dConfig::same(3) }),
        LayerKind::Conv(Conv2dConfig::same(1)),
    ];
    let shapes: [&[usize]; 9] =
        [&[12, 6, 1, 1], &[12], &[12], &[12, 1, 3, 3], &[12], &[12], &[6, 12, 1, 1], &[6], &[6]];
    let parameters: Vec<Tensor> = (10..).zip(shapes).map(|(seed, shape)| random(seed, shape)).collect();
    let inside = [Nonlinearity::Relu6, Nonlinearity::Relu, Nonlinearity::Identity];
    check(CLOSE, "train_layers", &random(1, &IMAGE), &parameters, 10, |x, p| {
        let layers = p.chunks_exact(3).zip(kinds.iter().zip(inside)).map(|(p, (kind, nonlinearity))| {
            let (weight, norm_weight, norm_bias) = (&p[0], &p[1], &p[2]);
            TrainLayer {
                weight,
                kind: *kind,
                norm_weight,
                norm_bias,
                epsilon: 1e-3,
                nonlinearity,
                running: None,
            }
        });
        train_layers(&act(x), &layers.collect::<Vec<_>>(), Some(Nonlinearity::Relu))?.0.to_nchw()
    });
}

#[test]
fn what_has_no_parameters_takes_bf16_too() {
    let x = (random(1, &IMAGE) * 8.0).unwrap();
    let other = random(2, &IMAGE);
    for kind in [Nonlinearity::Identity, Nonlinearity::Relu, Nonlinearity::Relu6] {
        check(bounds(kind), "nonlinearity", &x, &[], 1, |x, _| nonlinearity(&act(x), kind)?.to_nchw());
        check(bounds(kind), "add_nonlinearity", &x, std::slice::from_ref(&other), 2, |x, p| {
            add_nonlinearity(&act(x), &act(&p[0].to_dtype(x.dtype())?), kind)?.to_nchw()
        });
    }
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0)] {
        check(CLOSE, "max_pool2d", &x, &[], 1, |x, _| {
            max_pool2d(&act(x), kernel, stride, padding)?.to_nchw()
        });
    }
    check(CLOSE, "cat", &x, &[], 1, |x, _| Activation::cat(&[&act(x), &act(x)])?.to_nchw());
    check(CLOSE, "upsample_nearest", &x, &[], 1, |x, _| upsample_nearest(x, 2));
    for align_corners in [false, true] {
        check(CLOSE, "upsample_bilinear", &x, &[], 1, |x, _| upsample_bilinear(x, 20, 31, align_corners));
    }
    check(CLOSE, "gaussian_blur", &x, &[], 0, |x, _| gaussian_blur(x, 1.5));
    check(CLOSE, "cosine_distance", &x, std::slice::from_ref(&other), 2, |x, p| {
        cosine_distance(x, &p[0].to_dtype(x.dtype())?)
    });
}
