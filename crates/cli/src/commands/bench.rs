use anyhow::{Result, anyhow};
use clap::{Subcommand, ValueEnum};
use fmam::measure::{Student, Workload, measure_speed};
use fmam::{DeviceChoice, Session, SessionBuilder};

use crate::compute::parse_threads;
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
        Kind::Nkd => Student::Symmetric,
        Kind::Rkd => Student::Reverse,
    };
    let (run, name, workload) = match &args.what {
        What::Forward { network, run } => (run, network, Workload::Forward),
        What::Score(pair) => (&pair.run, &pair.backbone, Workload::Score(student(pair.method))),
        What::TrainStep(pair) => (&pair.run, &pair.backbone, Workload::TrainStep(student(pair.method))),
    };
    if run.batch == 0 || run.iters == 0 {
        return Err(usage(anyhow!("--batch and --iters must be at least 1")));
    }
    let builder = Session::builder().device(DeviceChoice::Cpu);
    let session = run.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
    let speed = measure_speed(&session, workload, name, run.batch, run.iters)?;
    print(&format!("{}\n", serde_json::to_string(&speed)?))
}
