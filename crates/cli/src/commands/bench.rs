use std::time::Instant;

use anyhow::{Result, anyhow};
use candle_core::{Device, Tensor, Var};
use clap::{Subcommand, ValueEnum};
use fmam_core::Seed;
use fmam_losses::cosine_distillation;
use fmam_models::{AnyStudent, Backbone, LoadedBackbone, Params, random_backbone};
use fmam_ops::{Adam, AdamConfig, Optimizer, on_workers};
use serde_json::json;

use crate::compute::{parse_threads, use_threads};
use crate::exit::usage;
use crate::stdout::print;

/// Side of the images in pixels.
const SIDE: usize = 256;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Features of a frozen backbone: layers 1 to 3 of a ResNet, EfficientNet-Lite0 to stride 16
    Forward {
        /// Backbone; its weights are drawn at random
        #[arg(long)]
        network: String,
        #[command(flatten)]
        run: Run,
    },
    /// Scoring: teacher, student and the anomaly map's distances
    Score(Pair),
    /// A training step: teacher, student, loss, gradients and Adam
    TrainStep(Pair),
}

/// A teacher and its student.
#[derive(clap::Args)]
struct Pair {
    /// Student of the method
    #[arg(long)]
    method: Kind,
    /// Backbone; its weights are drawn at random
    #[arg(long)]
    backbone: String,
    #[command(flatten)]
    run: Run,
}

#[derive(clap::Args)]
struct Run {
    /// Images in a batch
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Measured repetitions, after two that are not
    #[arg(long, default_value_t = 10)]
    iters: usize,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Nkd,
    Rkd,
}

impl Kind {
    fn student(self, teacher: &LoadedBackbone, params: &Params) -> Result<AnyStudent> {
        Ok(match self {
            Self::Nkd => AnyStudent::Symmetric(teacher.symmetric_student(params)?),
            Self::Rkd => AnyStudent::Reverse(teacher.reverse_student(params)?),
        })
    }
}

/// Times one workload and prints one JSON line.
pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::Cpu;
    let (run, kind, name) = match &args.what {
        What::Forward { network, run } => (run, None, network),
        What::Score(Pair { method, backbone, run }) | What::TrainStep(Pair { method, backbone, run }) => {
            (run, Some(*method), backbone)
        }
    };
    if run.batch == 0 || run.iters == 0 {
        return Err(usage(anyhow!("--batch and --iters must be at least 1")));
    }
    let threads = use_threads(run.threads)?;
    let teacher = random_backbone(name, Seed::new(0), &device).map_err(|error| usage(anyhow!(error)))?;
    let images = images(run.batch, &device)?;
    let method = kind.map(|kind| match kind {
        Kind::Nkd => "nkd",
        Kind::Rkd => "rkd",
    });
    let (median, min) = match (&args.what, kind) {
        (What::TrainStep(_), Some(kind)) => {
            let params = Params::trainable(Seed::new(1), &device);
            let student = kind.student(&teacher, &params)?;
            let mut optimizer = Adam::new(params.vars(), AdamConfig::default())?;
            measure(run.iters, || {
                let features = teacher.features(&images)?;
                let output = student.forward(&images, &features)?;
                let losses = features.scales.iter().zip(&output.scales);
                let losses = losses.map(|(t, s)| cosine_distillation(t, s)).collect::<Result<Vec<_>, _>>()?;
                let loss = Tensor::stack(&losses, 0)?.sum_all()?;
                Ok(optimizer.step(&loss.backward()?)?)
            })?
        }
        (_, Some(kind)) => {
            let params = Params::trainable(Seed::new(1), &device);
            kind.student(&teacher, &params)?;
            let params = Params::frozen(params.tensors()?, "random weights", &device);
            let student = kind.student(&teacher, &params)?;
            measure(run.iters, || {
                let features = teacher.features(&images)?;
                let output = student.forward(&images, &features)?;
                for (teacher, student) in features.scales.iter().zip(&output.scales) {
                    fmam_ops::cosine_distance(teacher, student)?;
                }
                Ok(())
            })?
        }
        (_, None) => measure(run.iters, || {
            teacher.features(&images)?;
            Ok(())
        })?,
    };
    let mut line = json!({
        "batch": run.batch,
        "threads": threads,
        "median_ms": median,
        "min_ms": min,
        "images_per_second": 1000.0 * run.batch as f64 / median,
    });
    match method {
        None => line["network"] = json!(name),
        Some(method) => {
            line["method"] = json!(method);
            line["backbone"] = json!(name);
        }
    }
    print(&format!("{line}\n"))
}

/// A batch without a pattern that a kernel could profit from.
fn images(batch: usize, device: &Device) -> Result<Tensor> {
    let count = batch * 3 * SIDE * SIDE;
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.618).fract() * 4.0 - 2.0).collect();
    // As a variable has been set, not as a view: what a loader gives.
    Ok(Var::from_vec(values, (batch, 3, SIDE, SIDE), device)?.as_detached_tensor())
}

/// Median and minimum of `iters` runs in milliseconds, after two that warm caches and buffers.
fn measure(iters: usize, work: impl FnMut() -> Result<()> + Send) -> Result<(f64, f64)> {
    on_workers(|| measure_here(iters, work))
}

fn measure_here(iters: usize, mut work: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    for _ in 0..2 {
        work()?;
    }
    let mut times = Vec::with_capacity(iters);
    for _ in 0..iters {
        let start = Instant::now();
        work()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[iters / 2], times[0]))
}
