//! Methods that train no network, on generated 256x256 images with the embedded backbone: `cargo
//! xtask bench methods [FILTER]`. What the backbone itself takes is timed beside them.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no user to tell")]

use std::sync::Arc;

use candle_core::Device;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fmam_core::{ImageSize, RgbImage, SampleSource, Seed, Silent};
use fmam_methods::{Detector, RunContext, method};
use fmam_models::{load_backbone, to_batch};
use fmam_synthesis::Textures;
use fmam_testkit::{MemorySource, striped_train};
use rayon::prelude::*;

const SIZE: ImageSize = ImageSize::square(256);
const N_TRAIN: usize = 64;
const N_SCORED: usize = 8;

fn context() -> RunContext<'static> {
    RunContext {
        device: Device::Cpu,
        seed: Seed::new(0),
        preparation: SIZE.into(),
        backbone: Arc::new(load_backbone("efficientnet-lite0", None, &Device::Cpu).unwrap()),
        textures: Textures::Generated,
        loader_threads: 2,
        progress: &Silent,
        kept: None,
    }
}

fn fit(name: &str, train: &MemorySource, run: &RunContext<'_>) -> Detector {
    (method(name).unwrap().build)(toml::Table::new()).unwrap().fit(train, run).unwrap().detector
}

fn methods(c: &mut Criterion) {
    let (train, run) = (striped_train(N_TRAIN, SIZE, Seed::new(1)), context());
    let images: Vec<RgbImage> = (0..N_TRAIN).map(|index| train.image(index).unwrap()).collect();
    let features = |image: &RgbImage| {
        let batch = to_batch(std::slice::from_ref(image), run.backbone.preprocess(), &Device::Cpu).unwrap();
        run.backbone.features(&batch).unwrap()
    };

    let mut group = c.benchmark_group("fit on 64 images");
    group.sample_size(10).throughput(Throughput::Elements(N_TRAIN as u64));
    group.bench_function("features alone", |bench| {
        bench.iter(|| images.par_iter().map(features).map(|pyramid| pyramid.scales.len()).sum::<usize>());
    });
    for name in ["padim", "spade", "patchcore"] {
        group.bench_function(name, |bench| bench.iter(|| fit(name, &train, &run)));
    }
    group.finish();

    let mut group = c.benchmark_group("score 8 images");
    group.sample_size(10).throughput(Throughput::Elements(N_SCORED as u64));
    for name in ["padim", "spade", "patchcore"] {
        let detector = fit(name, &train, &run);
        group.bench_function(name, |bench| bench.iter(|| detector.score(&images[..N_SCORED]).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, methods);
criterion_main!(benches);
