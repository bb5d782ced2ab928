use anyhow::{Result, anyhow};
use clap::{Subcommand, ValueEnum};
use fmam::measure::{Student, Workload, measure_speed};
use serde_json::json;

use crate::compute::{parse_threads, use_threads};
use crate::exit::usage;
use crate::stdout::print;

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

/// Times one workload and prints one JSON line.
pub(crate) fn run(args: &Args) -> Result<()> {
    let student = |kind: Kind| match kind {
        Kind::Nkd => ("nkd", Student::Symmetric),
        Kind::Rkd => ("rkd", Student::Reverse),
    };
    let (run, method, name, workload) = match &args.what {
        What::Forward { network, run } => (run, None, network, Workload::Forward),
        What::Score(Pair { method, backbone, run }) => {
            let (method, student) = student(*method);
            (run, Some(method), backbone, Workload::Score(student))
        }
        What::TrainStep(Pair { method, backbone, run }) => {
            let (method, student) = student(*method);
            (run, Some(method), backbone, Workload::TrainStep(student))
        }
    };
    if run.batch == 0 || run.iters == 0 {
        return Err(usage(anyhow!("--batch and --iters must be at least 1")));
    }
    let threads = use_threads(run.threads)?;
    let speed = measure_speed(workload, name, run.batch, run.iters)?;
    let mut line = json!({
        "batch": run.batch,
        "threads": threads,
        "median_ms": speed.median_ms,
        "min_ms": speed.min_ms,
        "images_per_second": 1000.0 * run.batch as f64 / speed.median_ms,
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
