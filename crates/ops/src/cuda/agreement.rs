//! The kernels against the CPU's operators, over shapes, strides and paddings, in f32 and bf16.

use candle_core::{D, DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::gpu::{Argument, Gpu, Real};
use super::launch::{self, AdamStep, Norm, Pieces, SgdStep};
use super::shim::{Memory, Shim};
use crate::geometry::Geometry;
use crate::{
    Activation, Adam, AdamConfig, Conv2dConfig, Kernels, Nonlinearity, Optimizer, Padding, Sgd, SgdConfig,
    add_nonlinearity, batch_norm_train, conv2d, cosine_distance_with, max_pool2d,
};

/// One type of activations: the compiled kernels, and the numbers given to them and to the CPU.
struct Bench {
    gpu: &'static Shim,
    rng: ChaCha8Rng,
}

/// Runs `test` for f32 and for bf16, unless there is no compiler.
fn for_both_types(test: impl Fn(&mut Bench)) {
    for real in Real::ALL {
        let Some(gpu) = Shim::of(real) else { return };
        test(&mut Bench { gpu, rng: ChaCha8Rng::seed_from_u64(7) });
    }
}

impl Bench {
    /// Activations that the type of the kernels holds exactly.
    fn activations(&mut self, length: usize) -> Vec<f32> {
        let values = self.parameters(length);
        match self.gpu.real {
            Real::F32 | Real::Tf32 => values,
            Real::Bf16 => values.into_iter().map(|v| half::bf16::from_f32(v).to_f32()).collect(),
        }
    }

    fn parameters(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.rng.random_range(-1.0..1.0)).collect()
    }

    fn check(&self, what: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(1e-2_f32, |largest, v| largest.max(v.abs()));
        let tolerance = largest
            * match self.gpu.real {
                Real::F32 => 2e-5,
                // Each product of two factors of 10 bits is off by 2^-11 and a half; a sum of some
                // hundreds of random signs by less than eight of them.
                Real::Tf32 => 1.0 / 256.0,
                Real::Bf16 => 1.0 / 128.0,
            };
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            // A NaN, unset memory for one, is not within it.
            let close = (found - expected).abs() <= tolerance;
            assert!(close, "{what} {:?}: [{at}] is {found} instead of {expected}", self.gpu.real);
        }
    }

    fn check_activations(&self, what: &str, found: &Memory, expected: &[f32]) {
        self.check(what, &self.gpu.download(found), expected);
    }
}

/// `[N, H, W, C]` values as a variable in the layout `[N, C, H, W]` that operators take.
fn image(values: &[f32], (n, h, w, c): (usize, usize, usize, usize)) -> Var {
    let tensor = Tensor::from_slice(values, (n, h, w, c), &Device::Cpu).unwrap();
    Var::from_tensor(&tensor.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()).unwrap()
}

fn vector(values: &[f32]) -> Var {
    Var::from_tensor(&Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()).unwrap()
}

/// `[N, C, H, W]` as values that lie channels last.
fn rows(tensor: &Tensor) -> Vec<f32> {
    flat(&tensor.permute((0, 2, 3, 1)).unwrap())
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn native(tensor: &Tensor) -> Activation {
    Activation::from_nchw_with(tensor, Kernels::Native).unwrap()
}

/// The sum of `y` times `grad`, whose gradients are those for `grad`.
fn projected(y: &Tensor, grad: &Tensor) -> candle_core::backprop::GradStore {
    y.mul(grad).unwrap().sum_all().unwrap().backward().unwrap()
}

/// Sizes of a convolution: batch, height, width, input and output channels, kernel, stride,
/// padding.
type Case = (usize, usize, usize, usize, usize, usize, usize, Padding);

fn geometry(case: Case, groups: usize) -> (Geometry, Conv2dConfig, [usize; 4]) {
    let (n, h, w, ci, co, kernel, stride, padding) = case;
    let config = Conv2dConfig { stride, padding, groups };
    let shape = [co, ci / groups, kernel, kernel];
    let weight = Tensor::zeros(&shape, DType::F32, &Device::Cpu).unwrap();
    (Geometry::of(&config, (n, ci, h, w), &weight).unwrap(), config, shape)
}

const DENSE: [Case; 10] = [
    (1, 5, 4, 3, 7, 3, 1, Padding::Symmetric(1)),
    (2, 9, 11, 5, 70, 3, 2, Padding::Symmetric(1)),
    (2, 8, 8, 17, 3, 1, 1, Padding::Symmetric(0)),
    (1, 9, 8, 4, 6, 1, 2, Padding::Symmetric(0)),
    (1, 13, 15, 3, 8, 7, 2, Padding::Symmetric(3)),
    (2, 7, 6, 2, 4, 3, 2, Padding::TfSame),
    (1, 6, 9, 3, 5, 4, 3, Padding::Symmetric(2)),
    (3, 4, 4, 66, 65, 3, 1, Padding::Symmetric(1)),
    (1, 8, 8, 4, 4, 2, 2, Padding::Symmetric(0)),
    (1, 3, 3, 2, 2, 3, 1, Padding::Symmetric(0)),
];

#[test]
fn dense_convolutions() {
    for_both_types(|bench| {
        for case in DENSE {
            let (g, config, shape) = geometry(case, 1);
            let what = format!("{case:?}");
            let x = bench.activations(g.n * g.h * g.w * g.ci);
            let weight = bench.parameters(shape.iter().product());
            let grad = bench.activations(g.n * g.oh * g.ow * g.co);

            let gpu = bench.gpu;
            let (x_at, grad_at) = (gpu.upload(&x), gpu.upload(&grad));
            let packed = launch::packed(gpu, &gpu.parameters(&weight), &g).unwrap();
            let y = launch::conv(gpu, &x_at, &packed, &g).unwrap();
            let dx = launch::conv_input_gradient(gpu, &grad_at, &packed, None, &g).unwrap();
            let more = launch::conv_input_gradient(gpu, &grad_at, &packed, Some(&x_at), &g).unwrap();
            let dw = launch::conv_weight_gradient(gpu, &x_at, &grad_at, &g).unwrap();

            let x = image(&x, (g.n, g.h, g.w, g.ci));
            let grad = image(&grad, (g.n, g.oh, g.ow, g.co));
            let weight = Var::from_tensor(&vector(&weight).reshape(&shape).unwrap()).unwrap();
            let expected = conv2d(&native(&x), &weight, &config).unwrap().to_nchw().unwrap();
            let grads = projected(&expected, &grad);
            bench.check_activations(&format!("{what} forward"), &y, &rows(&expected));
            bench.check_activations(&format!("{what} input"), &dx, &rows(grads.get(&x).unwrap()));
            let sum = grads.get(&x).unwrap().add(&x).unwrap();
            bench.check_activations(&format!("{what} input and another"), &more, &rows(&sum));
            bench.check(&format!("{what} weight"), &dw.floats(), &flat(grads.get(&weight).unwrap()));
        }
    });
}

#[test]
fn frozen_convolutions() {
    for_both_types(|bench| {
        for (case, function, adds) in [
            (DENSE[0], Nonlinearity::Relu, false),
            (DENSE[1], Nonlinearity::Relu6, true),
            (DENSE[2], Nonlinearity::Identity, true),
        ] {
            let (g, config, shape) = geometry(case, 1);
            let x = bench.activations(g.n * g.h * g.w * g.ci);
            let weight = bench.parameters(shape.iter().product());
            let bias = bench.parameters(g.co);
            let added = bench.activations(g.n * g.oh * g.ow * g.co);
            let gpu = bench.gpu;
            let packed = launch::packed(gpu, &gpu.parameters(&weight), &g).unwrap();
            let added_at = gpu.upload(&added);
            let (x_at, bias_at) = (gpu.upload(&x), gpu.parameters(&bias));
            let y =
                launch::conv_frozen(gpu, &x_at, (&packed, &bias_at), adds.then_some(&added_at), function, &g);

            let weight = vector(&weight).reshape(&shape).unwrap();
            let z = conv2d(&native(&image(&x, (g.n, g.h, g.w, g.ci))), &weight, &config).unwrap();
            let bias = vector(&bias).reshape((1, (), 1, 1)).unwrap();
            let z = z.to_nchw().unwrap().broadcast_add(&bias).unwrap();
            let added = image(&added, (g.n, g.oh, g.ow, g.co));
            let added = if adds { added.as_tensor().clone() } else { added.zeros_like().unwrap() };
            let expected = add_nonlinearity(&native(&z), &native(&added), function).unwrap();
            bench.check_activations(
                &format!("{case:?} {function:?}"),
                &y.unwrap(),
                &rows(&expected.to_nchw().unwrap()),
            );
        }
    });
}

#[test]
fn depthwise_convolutions() {
    for_both_types(|bench| {
        for (n, h, w, c, kernel, stride, padding) in [
            (2, 6, 5, 33, 3, 1, Padding::Symmetric(1)),
            (1, 9, 8, 7, 5, 2, Padding::TfSame),
            (1, 7, 7, 40, 5, 1, Padding::Symmetric(2)),
            (3, 8, 6, 2, 3, 2, Padding::TfSame),
        ] {
            let case = (n, h, w, c, c, kernel, stride, padding);
            let (g, config, shape) = geometry(case, c);
            let what = format!("{case:?}");
            let x = bench.activations(n * h * w * c);
            let weight = bench.parameters(shape.iter().product());
            let grad = bench.activations(n * g.oh * g.ow * c);
            let bias = bench.parameters(c);

            let gpu = bench.gpu;
            let bias_at = gpu.parameters(&bias);
            let (x_at, grad_at, weight_at) = (gpu.upload(&x), gpu.upload(&grad), gpu.parameters(&weight));
            let y = launch::depthwise(gpu, &x_at, &weight_at, &g).unwrap();
            let dx = launch::depthwise_input_gradient(gpu, &grad_at, &weight_at, &g).unwrap();
            let dw = launch::depthwise_weight_gradient(gpu, &x_at, &grad_at, &g).unwrap();
            let layer = (&weight_at, &bias_at);
            let frozen = launch::depthwise_frozen(gpu, &x_at, layer, Nonlinearity::Relu6, &g).unwrap();

            let (x, grad) = (image(&x, (n, h, w, c)), image(&grad, (n, g.oh, g.ow, c)));
            let weight = Var::from_tensor(&vector(&weight).reshape(&shape).unwrap()).unwrap();
            let expected = conv2d(&native(&x), &weight, &config).unwrap().to_nchw().unwrap();
            let grads = projected(&expected, &grad);
            bench.check_activations(&format!("{what} forward"), &y, &rows(&expected));
            bench.check_activations(&format!("{what} input"), &dx, &rows(grads.get(&x).unwrap()));
            bench.check(&format!("{what} weight"), &dw.floats(), &flat(grads.get(&weight).unwrap()));
            let bias = vector(&bias).reshape((1, (), 1, 1)).unwrap();
            let clamped = expected.broadcast_add(&bias).unwrap().clamp(0.0, 6.0).unwrap();
            bench.check_activations(&format!("{what} frozen"), &frozen, &rows(&clamped));
        }
    });
}

#[test]
fn batch_normalisation() {
    const EPSILON: f64 = 1e-5;
    for_both_types(|bench| {
        for (n, h, w, c, kind) in [
            (2, 5, 3, 40, Nonlinearity::Relu),
            (1, 2, 1, 3, Nonlinearity::Identity),
            (3, 7, 9, 5, Nonlinearity::Relu6),
            (1, 1, 9, 33, Nonlinearity::Relu),
        ] {
            let what = format!("{:?}", (n, h, w, c, kind));
            let length = n * h * w * c;
            let norm = Norm { rows: n * h * w, c, epsilon: EPSILON, kind };
            // A mean beside which the deviation is small.
            let x: Vec<f32> = bench.activations(length).into_iter().map(|v| 8.0 + v).collect();
            let x: Vec<f32> = bench.gpu.download(&bench.gpu.upload(&x));
            let weight: Vec<f32> = bench.parameters(c).into_iter().map(|v| 2.0 + v).collect();
            let (bias, grad, added) =
                (bench.parameters(c), bench.activations(length), bench.activations(length));
            let running = bench.parameters(2 * c);

            let gpu = bench.gpu;
            let (x_at, grad_at, added_at) = (gpu.upload(&x), gpu.upload(&grad), gpu.upload(&added));
            let (weight_at, bias_at) = (gpu.parameters(&weight), gpu.parameters(&bias));
            let [mean_at, variance_at] = [&running[..c], &running[c..]].map(|part| gpu.parameters(part));
            let moves = Some(([&mean_at, &variance_at], 0.1));
            let statistics = norm.statistics(gpu, &x_at, moves).unwrap();
            let layer = [&statistics, &weight_at, &bias_at];
            let y = norm.apply(gpu, &x_at, layer, None).unwrap();
            let both = norm.apply(gpu, &x_at, layer, Some((&added_at, Nonlinearity::Relu))).unwrap();
            let (dx, sums) = norm.gradients(gpu, [&x_at, &grad_at], layer).unwrap();

            let (x, grad) = (image(&x, (n, h, w, c)), image(&grad, (n, h, w, c)));
            let (weight, bias) = (vector(&weight), vector(&bias));
            let (expected, measured) =
                batch_norm_train(&native(&x), &weight, &bias, EPSILON, kind, None).unwrap();
            let sum = add_nonlinearity(&expected, &native(&image(&added, (n, h, w, c))), Nonlinearity::Relu);
            let expected = expected.to_nchw().unwrap();
            let grads = projected(&expected, &grad);
            bench.check_activations(&format!("{what} forward"), &y, &rows(&expected));
            bench.check_activations(&format!("{what} sum"), &both, &rows(&sum.unwrap().to_nchw().unwrap()));
            let both = [&measured.mean, &measured.variance].map(flat).concat();
            bench.check(&format!("{what} statistics"), &statistics.floats(), &both);
            let correction = (n * h * w) as f32 / (n * h * w - 1) as f32;
            let moved: Vec<f32> = (0..2 * c)
                .map(|k| 0.9 * running[k] + 0.1 * both[k] * if k < c { 1.0 } else { correction })
                .collect();
            let found = [mean_at.floats(), variance_at.floats()].concat();
            bench.check(&format!("{what} running"), &found, &moved);
            // Two values have the normalised values 1 and -1 and no gradient but rounding.
            if n * h * w > 2 {
                bench.check_activations(&format!("{what} input"), &dx, &rows(grads.get(&x).unwrap()));
            }
            let parameters = [&bias, &weight].map(|var| flat(grads.get(var).unwrap())).concat();
            bench.check(&format!("{what} parameters"), &sums.floats(), &parameters);
        }
    });
}

#[test]
fn max_pooling() {
    for_both_types(|bench| {
        for (n, h, w, c, kernel, stride, padding) in
            [(2, 7, 9, 5, 3, 2, 1), (1, 8, 6, 3, 2, 2, 0), (1, 5, 5, 34, 3, 1, 1)]
        {
            let what = format!("{:?}", (n, h, w, c, kernel, stride, padding));
            let case = (n, h, w, c, c, kernel, stride, Padding::Symmetric(padding));
            let (g, _, _) = geometry(case, c);
            // Quarters, so that values are equal now and then.
            let x: Vec<f32> =
                bench.parameters(n * h * w * c).iter().map(|v| (v * 4.0).round() / 4.0).collect();
            let grad = bench.activations(n * g.oh * g.ow * c);
            let gpu = bench.gpu;
            let (y, taken) = launch::max_pool(gpu, &gpu.upload(&x), &g).unwrap();
            let dx = launch::max_pool_gradient(gpu, &gpu.upload(&grad), &taken, &g).unwrap();
            let (x, grad) = (image(&x, (n, h, w, c)), image(&grad, (n, g.oh, g.ow, c)));
            let expected = max_pool2d(&native(&x), kernel, stride, padding).unwrap().to_nchw().unwrap();
            let grads = projected(&expected, &grad);
            bench.check_activations(&format!("{what} forward"), &y, &rows(&expected));
            bench.check_activations(&format!("{what} input"), &dx, &rows(grads.get(&x).unwrap()));
        }
    });
}

#[test]
fn a_nan_in_a_window_stays() {
    for_both_types(|bench| {
        let (g, _, _) = geometry((1, 2, 4, 1, 1, 2, 2, Padding::Symmetric(0)), 1);
        let gpu = bench.gpu;
        let x = gpu.upload(&[1.0, f32::NAN, 3.0, 2.0, 4.0, 4.0, 1.0, 0.0]);
        let (y, taken) = launch::max_pool(gpu, &x, &g).unwrap();
        let y = gpu.download(&y);
        assert!(y[0].is_nan() && y[1] == 3.0, "{y:?}");
        assert_eq!(taken.bytes()[..2], [1, 0]);
    });
}

#[test]
fn cosine_distances() {
    const SMALLEST: f32 = 1e-8;
    for_both_types(|bench| {
        for (n, h, w, c) in [(1, 3, 3, 5), (2, 4, 3, 40), (1, 1, 1, 100)] {
            let what = format!("{:?}", (n, h, w, c));
            let positions = n * h * w;
            let mut a = bench.activations(positions * c);
            // A vector without a direction: its norm is at the bound.
            a[..c].fill(0.0);
            let (b, grad) = (bench.activations(positions * c), bench.parameters(positions));
            let gpu = bench.gpu;
            let (a_at, b_at, grad_at) = (gpu.upload(&a), gpu.upload(&b), gpu.parameters(&grad));
            let distance = launch::cosine_distance(gpu, [&a_at, &b_at], positions, c, SMALLEST).unwrap();
            let da = launch::cosine_gradient(gpu, [&a_at, &b_at, &grad_at], positions, c, SMALLEST).unwrap();
            let (a, b) = (image(&a, (n, h, w, c)), image(&b, (n, h, w, c)));
            let expected = cosine_distance_with(&a, &b, Kernels::Native).unwrap();
            let grad = Tensor::from_slice(&grad, (n, h, w), &Device::Cpu).unwrap();
            let grads = projected(&expected, &grad);
            bench.check(&format!("{what} forward"), &distance.floats(), &flat(&expected));
            // The gradient at the vector without a direction is 1e8 times that of the others.
            let (found, expected) = (gpu.download(&da), rows(grads.get(&a).unwrap()));
            bench.check(&format!("{what} no direction"), &found[..c], &expected[..c]);
            if positions > 1 {
                bench.check(&format!("{what} gradient"), &found[c..], &expected[c..]);
            }
        }
    });
}

#[test]
fn optimizer_steps() {
    let Some(gpu) = Shim::of(Real::F32) else { return };
    let mut bench = Bench { gpu, rng: ChaCha8Rng::seed_from_u64(3) };
    let length = 300;
    let (start, target) = (bench.parameters(length), bench.parameters(length));
    // The gradient of half the squared distance to a target.
    let grads_at = |var: &Var| {
        let target = Tensor::from_slice(&target, length, &Device::Cpu).unwrap();
        (var.sub(&target).unwrap().sqr().unwrap().sum_all().unwrap() * 0.5).unwrap().backward().unwrap()
    };
    let config =
        AdamConfig { learning_rate: 0.1, betas: (0.5, 0.99), weight_decay: 0.01, ..AdamConfig::default() };
    let adam_var = vector(&start);
    let mut adam = Adam::with_kernels(vec![adam_var.clone()], config, Kernels::Native).unwrap();
    let sgd_config = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01 };
    let sgd_var = vector(&start);
    let mut sgd = Sgd::with_kernels(vec![sgd_var.clone()], sgd_config, Kernels::Native).unwrap();

    let gpu = bench.gpu;
    let zeros = vec![0.0; length];
    let (parameters, means, squares) =
        (gpu.parameters(&start), gpu.parameters(&zeros), gpu.parameters(&zeros));
    let (moved, velocities) = (gpu.parameters(&start), gpu.parameters(&zeros));
    let pieces = Pieces::of(gpu, &[(0, length, 0)]).unwrap();
    for step in 1..=3 {
        let grads = grads_at(&adam_var);
        let grad = gpu.parameters(&flat(grads.get(&adam_var).unwrap()));
        let corrections = [0.5_f64, 0.99].map(|beta| 1.0 - beta.powi(step));
        let settings = AdamStep {
            betas: (0.5, 0.99),
            step: (0.1 / corrections[0]) as f32,
            root: corrections[1].sqrt() as f32,
            epsilon: config.epsilon as f32,
            decay: 0.01,
        };
        let (changed, averages) = ((&[&parameters][..], &[&grad][..]), [&means, &squares]);
        launch::adam(gpu, changed, averages, &pieces, &settings).unwrap();
        adam.step(&grads).unwrap();
        bench.check("adam", &parameters.floats(), &flat(&adam_var));

        let grads = grads_at(&sgd_var);
        let grad = gpu.parameters(&flat(grads.get(&sgd_var).unwrap()));
        let settings = SgdStep { rate: 0.1, momentum: 0.9, decay: 0.01 };
        launch::sgd(gpu, (&[&moved], &[&grad]), &velocities, &pieces, &settings).unwrap();
        sgd.step(&grads).unwrap();
        bench.check("sgd", &moved.floats(), &flat(&sgd_var));
    }
    assert_eq!(adam_var.dim(D::Minus1).unwrap(), length);
}

#[test]
fn sums_of_gradients() {
    for_both_types(|bench| {
        let (first, second, y) = (bench.activations(300), bench.activations(300), bench.activations(300));
        let gpu = bench.gpu;
        let [first_at, second_at, y_at] = [&first, &second, &y].map(|values| gpu.upload(values));
        for both in [false, true] {
            let gradients = (&first_at, both.then_some(&second_at));
            let sum = launch::sum_masked(gpu, gradients, (&y_at, Nonlinearity::Relu), 300).unwrap();
            let expected: Vec<f32> = (0..300)
                .map(|k| if y[k] > 0.0 { first[k] + if both { second[k] } else { 0.0 } } else { 0.0 })
                .collect();
            bench.check_activations("sum", &sum, &expected);
        }
    });
}

#[test]
fn the_shim_finds_faults() {
    const FAULTY: &str = "
        KERNEL same_element(OUT(float) y) { y[0] = 1.0f; }
        KERNEL forgotten_barrier(OUT(float) y) {
            SHARED(float, values, 8);
            values[THREAD] = 1.0f;
            y[THREAD] = values[(THREAD + 1) % 8];
        }
        KERNEL with_barrier(OUT(float) y) {
            SHARED(float, values, 8);
            values[THREAD] = (float)THREAD;
            BARRIER();
            y[THREAD] = values[(THREAD + 1) % 8];
        }
        KERNEL other_block(OUT(float) y) { y[THREAD] = (float)BLOCK_X; }
        KERNEL outside(OUT(float) y) { y[THREAD + 1] = 1.0f; }";
    let names = ["same_element", "forgotten_barrier", "with_barrier", "other_block", "outside"];
    let Some(gpu) = Shim::compile_with(Real::F32, FAULTY, &names) else { return };
    let y = gpu.parameters(&[0.0; 8]);
    let run = |kernel, blocks| gpu.launch(kernel, [blocks, 1, 1], 8, &[Argument::Out(&y)]);
    for (kernel, blocks, fault) in [
        ("same_element", 1, "race: two threads write"),
        ("forgotten_barrier", 1, "race: write of what another thread reads"),
        ("other_block", 2, "race: two threads write"),
        ("outside", 1, "index 8 of 8"),
        ("no_such_kernel", 1, "no kernel"),
    ] {
        let found = run(kernel, blocks).unwrap_err().to_string();
        assert!(found.contains(fault), "{kernel}: {found}");
    }
    run("other_block", 1).unwrap();
    run("with_barrier", 1).unwrap();
    assert_eq!(y.floats(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]);
}
