//! Allocations of a training step once it has warmed up. The test is a program of its own, for the
//! allocator that counts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; it hands everything on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Var};
use fmam_ops::{
    Activation, Adam, AdamConfig, Conv2dConfig, LayerKind, Nonlinearity, Optimizer, TrainLayer, train_layers,
};

/// Bytes of allocations that hold feature maps: smaller ones are shapes, names and parameters.
static LARGE: AtomicUsize = AtomicUsize::new(0);
const LARGE_FROM: usize = 1 << 17;

struct Counting;

// SAFETY: every call goes to the system allocator with the same arguments; counting touches no
// memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE_FROM {
            LARGE.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE_FROM {
            LARGE.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_step_allocates_what_candle_needs_and_nothing_inside_the_layers() {
    // On one thread: how many buffers several hold at a time depends on which of them is ahead.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(count_allocations);
}

fn count_allocations() {
    const HIDDEN: usize = 96;
    let ones = |shape: &[usize]| Var::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let x = ones(&[2, 16, 32, 32]);
    let configs = [
        Conv2dConfig::same(1),
        Conv2dConfig { groups: HIDDEN, ..Conv2dConfig::same(3) },
        Conv2dConfig::same(1),
    ];
    let weights = [ones(&[HIDDEN, 16, 1, 1]), ones(&[HIDDEN, 1, 3, 3]), ones(&[16, HIDDEN, 1, 1])];
    let norms = [HIDDEN, HIDDEN, 16].map(|c| [ones(&[c]), ones(&[c])]);
    let vars = weights.iter().chain(norms.iter().flatten()).cloned().collect();
    let mut optimizer = Adam::new(vars, AdamConfig::default()).unwrap();
    let mut step = || {
        let layers: Vec<_> = weights
            .iter()
            .zip(&norms)
            .zip(configs)
            .map(|((weight, [scale, shift]), config)| TrainLayer {
                weight,
                kind: LayerKind::Conv(config),
                norm_weight: scale,
                norm_bias: shift,
                epsilon: 1e-5,
                nonlinearity: Nonlinearity::Relu,
                running: None,
            })
            .collect();
        let input = Activation::from_nchw(&x).unwrap();
        let y = train_layers(&input, &layers, Some(Nonlinearity::Identity)).unwrap().0;
        optimizer.step(&y.to_nchw().unwrap().sum_all().unwrap().backward().unwrap()).unwrap();
    };
    let mut measure = || {
        let before = LARGE.load(Ordering::Relaxed);
        step();
        LARGE.load(Ordering::Relaxed) - before
    };
    let cold = measure();
    measure();
    let warm = measure();
    assert_eq!(warm, measure(), "steps of one kind allocate alike");
    // Maps of 2x32x32 positions: those inside have 96 channels, those outside 16.
    let map = |channels: usize| 2 * 32 * 32 * channels * size_of::<f32>();
    // Inside: two convolutions' results, two layers' results, and two gradients at a time.
    assert!(cold - warm >= 4 * map(HIDDEN), "{cold} bytes at first, {warm} then");
    // Outside, candle's: the result, the input's gradient, the zeros and sums of its gradient
    // store, and copies.
    assert!(warm <= 16 * map(16), "{warm} bytes, a map has {}", map(16));
}
