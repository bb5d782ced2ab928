//! Operators at the shapes of the project's networks for 256x256 images:
//! `cargo xtask bench ops [FILTER]`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no user to tell")]

use candle_core::{DType, Device, Result, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fmam_ops::{
    Activation, Conv2dConfig, FrozenConv2d, LayerKind, Nonlinearity, TrainLayer, cosine_distance,
    frozen_layers, gaussian_blur, max_pool2d, train_layers, upsample_bilinear,
};

/// Values without a pattern, as a variable.
fn values(shape: &[usize], seed: u32) -> Var {
    let count: usize = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i as u32 ^ seed) as f32 * 0.618_034).fract() - 0.5).collect();
    Var::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// Name, batch, input channels, output channels, side of the image, kernel, stride, groups.
type Shape = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const CONVOLUTIONS: [Shape; 9] = [
    ("resnet stem 7x7/2", 1, 3, 64, 256, 7, 2, 1),
    ("resnet18 layer1 3x3", 1, 64, 64, 64, 3, 1, 1),
    ("resnet18 layer2 3x3/2", 1, 64, 128, 64, 3, 2, 1),
    ("resnet18 layer2 3x3", 1, 128, 128, 32, 3, 1, 1),
    ("resnet18 layer3 3x3", 1, 256, 256, 16, 3, 1, 1),
    ("wide-resnet50-2 layer2 1x1", 1, 512, 256, 32, 1, 1, 1),
    ("lite0 expand 1x1", 1, 24, 144, 64, 1, 1, 1),
    ("lite0 depthwise 3x3", 1, 144, 144, 64, 3, 1, 144),
    ("lite0 depthwise 5x5", 1, 672, 672, 16, 5, 1, 672),
];

fn config(kernel: usize, stride: usize, groups: usize) -> Conv2dConfig {
    Conv2dConfig { stride, groups, ..Conv2dConfig::same(kernel) }
}

/// The matrix product of the `gemm` crate, called by candle: the standard for the
/// multiply-accumulates of the other figures.
fn peak(c: &mut Criterion) {
    const SIDE: usize = 1024;
    let [a, b] = [1, 2].map(|seed| values(&[SIDE, SIDE], seed).as_detached_tensor());
    let mut group = c.benchmark_group("matrix product");
    group.throughput(Throughput::Elements((SIDE * SIDE * SIDE) as u64));
    group.bench_function("1024x1024x1024", |bench| bench.iter(|| a.matmul(&b).unwrap()));
    group.finish();
}

/// An inverted residual of EfficientNet-Lite0, its layers together and one by one.
fn inverted_residual(c: &mut Criterion) {
    let layer = |ci, co, k, groups, nonlinearity| {
        let (weight, bias) = (values(&[co, ci / groups, k, k], 1), values(&[co], 2));
        FrozenConv2d::new(&weight, Some(&bias), config(k, 1, groups), nonlinearity).unwrap()
    };
    let layers = [
        layer(24, 144, 1, 1, Nonlinearity::Relu6),
        layer(144, 144, 3, 144, Nonlinearity::Relu6),
        layer(144, 24, 1, 1, Nonlinearity::Identity),
    ];
    let layers: Vec<_> = layers.iter().collect();
    let mut group = c.benchmark_group("inverted residual 24 to 144 to 24");
    for n in [1, 8] {
        let x = Activation::from_nchw(&values(&[n, 24, 64, 64], 3).as_detached_tensor()).unwrap();
        group.throughput(Throughput::Elements((n * 64 * 64 * 144 * (24 + 9 + 24)) as u64));
        group.bench_function(BenchmarkId::new("together", n), |bench| {
            bench.iter(|| frozen_layers(&x, &layers, None).unwrap());
        });
        group.bench_function(BenchmarkId::new("one by one", n), |bench| {
            bench.iter(|| layers.iter().try_fold(x.clone(), |y, layer| layer.forward(&y)).unwrap());
        });
    }
    group.finish();
}

/// Bias and ReLU included; in multiply-accumulates a second.
fn frozen(c: &mut Criterion) {
    let mut group = c.benchmark_group("frozen convolution");
    for (name, n, ci, co, side, k, stride, groups) in CONVOLUTIONS {
        let config = config(k, stride, groups);
        let (weight, bias) = (values(&[co, ci / groups, k, k], 1), values(&[co], 2));
        let conv = FrozenConv2d::new(&weight, Some(&bias), config, Nonlinearity::Relu).unwrap();
        let x = Activation::from_nchw(&values(&[n, ci, side, side], 3).as_detached_tensor()).unwrap();
        let out = side / stride;
        group.throughput(Throughput::Elements((n * out * out * co * ci / groups * k * k) as u64));
        group.bench_function(name, |b| b.iter(|| conv.forward(&x).unwrap()));
    }
    group.finish();
}

/// Convolution, batch normalisation and ReLU, forward and backward, batch 8.
fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("convolution, normalisation, ReLU: forward and backward");
    group.sample_size(10);
    for (name, _, ci, co, side, k, stride, groups) in CONVOLUTIONS {
        let weight = values(&[co, ci / groups, k, k], 1);
        let (scale, shift) = (values(&[co], 2), values(&[co], 3));
        let x = values(&[8, ci, side, side], 4);
        let step = || -> Result<()> {
            let layer = TrainLayer {
                weight: &weight,
                kind: LayerKind::Conv(config(k, stride, groups)),
                norm_weight: &scale,
                norm_bias: &shift,
                epsilon: 1e-5,
                nonlinearity: Nonlinearity::Relu,
                running: None,
            };
            let y = train_layers(&Activation::from_nchw(&x)?, &[layer], None)?.0.to_nchw()?;
            y.sum_all()?.backward()?;
            Ok(())
        };
        group.bench_function(name, |b| b.iter(|| step().unwrap()));
    }
    group.finish();
}

fn maps(c: &mut Criterion) {
    let mut group = c.benchmark_group("maps");
    let features = |seed| -> Tensor { values(&[8, 64, 64, 64], seed).as_detached_tensor() };
    let (a, b) = (features(1), features(2));
    group.bench_function("cosine distance 8x64x64x64", |bench| {
        bench.iter(|| cosine_distance(&a, &b).unwrap());
    });
    let map = values(&[8, 1, 64, 64], 3).as_detached_tensor();
    for align_corners in [false, true] {
        let id = BenchmarkId::new("bilinear 64 to 256", format!("align_corners={align_corners}"));
        group.bench_function(id, |bench| {
            bench.iter(|| upsample_bilinear(&map, 256, 256, align_corners).unwrap());
        });
    }
    let wide = values(&[8, 1, 256, 256], 4).as_detached_tensor();
    group.bench_function("gaussian blur 8x256x256 sigma 4", |bench| {
        bench.iter(|| gaussian_blur(&wide, 4.0).unwrap());
    });
    let stem =
        Activation::from_nchw(&Tensor::ones((1, 64, 128, 128), DType::F32, &Device::Cpu).unwrap()).unwrap();
    group.bench_function("max pool 3x3/2 64x128x128", |bench| {
        bench.iter(|| max_pool2d(&stem, 3, 2, 1).unwrap());
    });
    group.finish();
}

criterion_group!(benches, peak, frozen, inverted_residual, training, maps);
criterion_main!(benches);
