use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use fmam::measure::{Load, Student, Workload, measure_predict, measure_speed};
use fmam::{DeviceChoice, Precision, Session, SessionBuilder};

use crate::compute::numbers;
use crate::images::listed;
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
    TrainStep {
        #[command(flatten)]
        pair: Pair,
        /// Take the teacher's features from an earlier epoch, as `fit` does where memory allows
        #[arg(long)]
        cached_teacher: bool,
    },
    /// A detector on image files: decoding, preparation, scoring, and the whole way
    Predict(Predict),
}

/// A detector and its images.
#[derive(clap::Args)]
struct Predict {
    /// Image files, or folders of them, all of one format
    #[arg(value_name = "IMAGES", required = true)]
    images: Vec<PathBuf>,
    /// Folder of the detector
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Measured repetitions of the whole way
    #[arg(long, default_value_t = 3, value_parser = numbers(1..))]
    iters: usize,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = numbers(1..=1024))]
    threads: Option<usize>,
    /// The device: cpu, cuda or cuda:INDEX
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceChoice,
}

/// A teacher and its student.
#[derive(clap::Args)]
struct Pair {
    /// Student of the method
    #[arg(long, value_parser = PossibleValuesParser::new(["nkd", "rkd"]).map(|name| match &*name {
        "nkd" => Student::Symmetric,
        _ => Student::Reverse,
    }))]
    method: Student,
    /// Backbone; its weights are drawn at random
    #[arg(long)]
    backbone: String,
    #[command(flatten)]
    run: Run,
}

#[derive(clap::Args)]
struct Run {
    /// Images in a batch; several sizes are measured one after the other
    #[arg(long, default_value = "8", value_delimiter = ',', value_parser = numbers(1..))]
    batch: Vec<usize>,
    /// Measured repetitions, after two that are not
    #[arg(long, default_value_t = 10, value_parser = numbers(1..))]
    iters: usize,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = numbers(1..=1024))]
    threads: Option<usize>,
    /// The device: cpu, cuda or cuda:INDEX
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Numbers of the convolutions: f32, bf16, or tf32 on a GPU; several are measured one after the
    /// other
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "f32")]
    numbers: Vec<Numbers>,
}

/// The numbers that convolutions multiply.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Numbers {
    F32,
    Tf32,
    Bf16,
}

/// Times one workload and prints a JSON line for each batch size and kind of numbers.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (run, name, workload) = match &args.what {
        What::Forward { network, run } => (run, network, Workload::Forward),
        What::Score(pair) => (&pair.run, &pair.backbone, Workload::Score(pair.method)),
        What::TrainStep { pair, cached_teacher: false } => {
            (&pair.run, &pair.backbone, Workload::TrainStep(pair.method))
        }
        What::TrainStep { pair, cached_teacher: true } => {
            (&pair.run, &pair.backbone, Workload::CachedTrainStep(pair.method))
        }
        What::Predict(args) => return predict(args),
    };
    for &numbers in &run.numbers {
        let builder = Session::builder().device(run.device).tf32(numbers == Numbers::Tf32);
        let session = run.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
        let precision = if numbers == Numbers::Bf16 { Precision::Bf16 } else { Precision::F32 };
        for &batch in &run.batch {
            let load = Load { workload, backbone: name, precision, batch };
            let speed = measure_speed(&session, &load, run.iters)?;
            print(&format!("{}\n", serde_json::to_string(&speed)?))?;
        }
    }
    Ok(())
}

fn predict(args: &Predict) -> Result<()> {
    let builder = Session::builder().device(args.device);
    let session = args.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
    let (detector, files) = (session.load(&args.model)?, listed(&args.images)?);
    let speed = measure_predict(&session, &detector, &files, args.iters)?;
    print(&format!("{}\n", serde_json::to_string(&speed)?))
}
