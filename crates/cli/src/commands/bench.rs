use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use fmam::measure::{
    Load, Student, Workload, measure_aupro, measure_auroc, measure_predict, measure_speed, measure_synthesis,
};
use fmam::output::{repeated_images, repeated_samples};
use fmam::{DeviceChoice, Image, ImageSize, Precision, Session, SessionBuilder};

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
    /// AUROC of generated scores, one in a hundred of them anomalous
    Auroc(Auroc),
    /// AUPRO up to a false positive rate of 0.3 of generated maps
    Aupro(Aupro),
    /// Synthesis of defective images as FMAM trains with, on one thread
    Synthesis(Synthesis),
}

/// Generated scores.
#[derive(clap::Args)]
struct Auroc {
    /// Scores
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = numbers(2..))]
    scores: usize,
    #[command(flatten)]
    run: MetricRun,
}

/// Generated maps.
#[derive(clap::Args)]
struct Aupro {
    /// Maps, three of four of them with defects
    #[arg(long, value_name = "N", default_value_t = 83, value_parser = numbers(1..))]
    maps: usize,
    /// Side of a map in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = numbers(16..=8192))]
    side: usize,
    #[command(flatten)]
    run: MetricRun,
}

#[derive(clap::Args)]
struct MetricRun {
    /// Measured repetitions
    #[arg(long, default_value_t = 3, value_parser = numbers(1..))]
    iters: usize,
    /// Folder for what was generated, as .npy files
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

/// Normal images and the textures of their defects.
#[derive(clap::Args)]
struct Synthesis {
    /// Normal images, or folders of them [default: the generated demo set]
    #[arg(value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// Side in pixels to which images are resized
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = numbers(8..=4096))]
    side: usize,
    /// Images in a pass; where there are fewer they come again
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = numbers(1..))]
    count: usize,
    /// Folder that holds `dtd/`; without it textures are generated
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Measured passes, after one that is not
    #[arg(long, default_value_t = 5, value_parser = numbers(1..))]
    iters: usize,
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
    /// Images that are scored together [default: as many as the detector takes]
    #[arg(long, value_name = "N", value_parser = numbers(1..))]
    batch: Option<usize>,
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
        What::Auroc(Auroc { scores, run }) => {
            return print_line(&measure_auroc(*scores, run.iters, run.save.as_deref())?);
        }
        What::Aupro(Aupro { maps, side, run }) => {
            return print_line(&measure_aupro(*maps, *side, run.iters, run.save.as_deref())?);
        }
        What::Synthesis(args) => return synthesis(args),
    };
    for &numbers in &run.numbers {
        let builder = Session::builder().device(run.device).tf32(numbers == Numbers::Tf32);
        let session = run.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
        let precision = if numbers == Numbers::Bf16 { Precision::Bf16 } else { Precision::F32 };
        for &batch in &run.batch {
            let load = Load { workload, backbone: name, precision, batch };
            let speed = measure_speed(&session, &load, run.iters)?;
            print_line(&speed)?;
        }
    }
    Ok(())
}

fn predict(args: &Predict) -> Result<()> {
    let builder = Session::builder().device(args.device);
    let session = args.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
    let (detector, files) = (session.load(&args.model)?, listed(&args.images)?);
    print_line(&measure_predict(&session, &detector, &files, args.batch, args.iters)?)
}

fn synthesis(args: &Synthesis) -> Result<()> {
    let size = ImageSize::square(args.side);
    let textures = fmam::textures(args.data_root.as_deref(), size)?;
    let images = if args.images.is_empty() {
        let session = Session::builder().device(DeviceChoice::Cpu).build()?;
        let dataset = session.dataset("demo", None)?;
        let name = dataset.categories().into_iter().next();
        let category = session.category(dataset.as_ref(), name.as_deref(), &size.into())?;
        repeated_samples(category.train.as_ref(), args.count)?
    } else {
        let files: Vec<Image> = listed(&args.images)?.into_iter().map(Image::from).collect();
        repeated_images(&files, args.count, size)?
    };
    print_line(&measure_synthesis(&images, textures, args.iters)?)
}

/// Prints a measurement as a line of JSON.
fn print_line(speed: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(speed)?))
}
