//! Times the blocks of a frozen EfficientNet-Lite0 to stride 16, on one thread and on all, and each
//! of their layers alone: `cargo run --release -p fmam-ops --example layers [BATCH]`. A block that
//! scales badly waits at the joins of its threads. The time of the whole network beyond the sum of
//! its blocks is that of the gaps between them.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no user to tell")]
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use fmam_ops::{Activation, Conv2dConfig, FrozenConv2d, Nonlinearity, Padding, frozen_layers, on_workers};

/// Kernel, stride, expansion and output channels of the blocks.
const BLOCKS: [(usize, usize, usize, usize); 11] = [
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (3, 1, 6, 24),
    (5, 2, 6, 40),
    (5, 1, 6, 40),
    (3, 2, 6, 80),
    (3, 1, 6, 80),
    (3, 1, 6, 80),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
];

struct Block {
    name: String,
    layers: Vec<FrozenConv2d>,
    is_residual: bool,
}

impl Block {
    fn run(&self, x: &Activation) -> Result<Activation> {
        let layers: Vec<_> = self.layers.iter().collect();
        frozen_layers(x, &layers, self.is_residual.then_some((x, Nonlinearity::Identity)))
    }
}

fn values(shape: &[usize], seed: u32) -> Tensor {
    let count: usize = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i as u32 ^ seed) as f32 * 0.618_034).fract() - 0.5).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn layer(ci: usize, co: usize, kernel: usize, stride: usize, groups: usize) -> FrozenConv2d {
    let config = Conv2dConfig { stride, padding: Padding::TfSame, groups };
    let is_projection = kernel == 1 && co < ci;
    let kind = if is_projection { Nonlinearity::Identity } else { Nonlinearity::Relu6 };
    let (weight, bias) = (values(&[co, ci / groups, kernel, kernel], 1), values(&[co], 2));
    FrozenConv2d::new(&weight, Some(&bias), config, kind).unwrap()
}

fn network() -> Vec<Block> {
    let stem = Block { name: "stem 3x3/2".into(), layers: vec![layer(3, 32, 3, 2, 1)], is_residual: false };
    let mut blocks = vec![stem];
    let mut input = 32;
    for (index, (kernel, stride, expansion, output)) in BLOCKS.into_iter().enumerate() {
        let hidden = input * expansion;
        let mut layers = Vec::new();
        if expansion > 1 {
            layers.push(layer(input, hidden, 1, 1, 1));
        }
        layers.push(layer(hidden, hidden, kernel, stride, hidden));
        layers.push(layer(hidden, output, 1, 1, 1));
        let name = format!("{index}: {input} to {hidden} to {output}, {kernel}x{kernel}/{stride}");
        blocks.push(Block { name, layers, is_residual: stride == 1 && input == output });
        input = output;
    }
    blocks
}

/// The median of many runs in milliseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..60)
        .map(|_| {
            let start = Instant::now();
            work();
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[30]
}

fn main() {
    fmam_ops::tune_process();
    let batch: usize = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let blocks = network();
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut columns: Vec<Vec<f64>> = Vec::new();
    let mut layers: Vec<Vec<Vec<f64>>> = Vec::new();
    for threads in [1, all] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (column, each) = pool.install(|| {
            on_workers(|| {
                let image = Activation::from_nchw(&values(&[batch, 3, 256, 256], 3)).unwrap();
                let mut x = image.clone();
                let mut column = Vec::new();
                let mut each = Vec::new();
                for block in &blocks {
                    column.push(median(|| drop(block.run(&x).unwrap())));
                    let mut z = x.clone();
                    each.push(
                        block
                            .layers
                            .iter()
                            .map(|layer| {
                                let time = median(|| drop(layer.forward(&z).unwrap()));
                                z = layer.forward(&z).unwrap();
                                time
                            })
                            .collect::<Vec<_>>(),
                    );
                    x = block.run(&x).unwrap();
                }
                let whole = || blocks.iter().try_fold(image.clone(), |x, block| block.run(&x)).unwrap();
                column.push(median(|| drop(whole())));
                (column, each)
            })
        });
        columns.push(column);
        layers.push(each);
    }
    let names = blocks.iter().map(|block| block.name.as_str()).chain(["network"]);
    println!("{:32} {:>8} {:>8} {:>8}", "ms", "1 thread", format!("{all}"), "scaling");
    for (index, name) in names.enumerate() {
        let (one, many) = (columns[0][index], columns[1][index]);
        let each = if index < blocks.len() {
            format!("{:.3?} {:.3?}", layers[0][index], layers[1][index])
        } else {
            String::new()
        };
        println!("{name:32} {one:8.3} {many:8.3} {:8.2}  {each}", one / many);
    }
    let sum = |column: &[f64]| column[..blocks.len()].iter().sum::<f64>();
    println!("{:32} {:8.3} {:8.3}", "sum of the blocks", sum(&columns[0]), sum(&columns[1]));
}
