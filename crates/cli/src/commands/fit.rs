use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use fmam::fetch::set_weights;
use fmam::output::{check_writable, parent_of};
use fmam::reproduce::rough;
use fmam::{DeviceChoice, ExperimentConfig, Precision, Session, Setting, category_name};

use crate::compute::{ComputeArgs, numbers};
use crate::data::DataArgs;
use crate::progress::Console;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/fit.txt"))]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Method; `fmam list methods` names them
    #[arg(long, value_name = "NAME")]
    method: String,
    /// Backbone; `fmam list backbones` names them
    #[arg(long, value_name = "NAME", default_value = "efficientnet-lite0")]
    backbone: String,
    /// Weights of the backbone (.pth or .safetensors) where they are not in the binary
    #[arg(long, value_name = "FILE")]
    weights: Option<OsString>,
    /// Origin of all randomness: the same seed gives the same detector
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Training epochs; with FMAM those of the student
    #[arg(long, value_name = "N", value_parser = numbers(1..))]
    epochs: Option<usize>,
    /// Side in pixels to which images are resized, a multiple of 32
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    image_size: usize,
    /// Number format of backbone and student, f32 or bf16; the latter is for GPUs. The detector
    /// keeps to it
    #[arg(long, value_name = "TYPE", default_value = Precision::default().name())]
    precision: Precision,
    /// A setting of the method, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    /// Folder of the model, which must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    // Names are checked before a device is opened.
    let dataset = args.data.open(&Session::builder().device(DeviceChoice::Cpu).build()?)?;
    let category = category_name(dataset.as_ref(), args.data.category.as_deref())?;
    let mut config = ExperimentConfig {
        data_root: args.data.data_root.clone(),
        categories: vec![category.clone()],
        methods: vec![args.method.as_str().into()],
        backbones: vec![args.backbone.clone()],
        seeds: vec![args.seed],
        image_size: args.image_size,
        precision: args.precision,
        loader_threads: args.compute.threads,
        epochs: args.epochs,
        ..ExperimentConfig::for_dataset(&args.data.dataset)
    };
    for setting in &args.settings {
        setting.apply(config.method.entry(args.method.as_str().into()).or_default());
    }
    set_weights(&mut config, registry.backbones(), &args.weights)?;
    let (session, _) = args.compute.session(registry)?;
    session.warn_of_emulation([args.precision]);
    let experiment = session.experiment(config)?;
    // Before the training, which may be long.
    if args.out.exists() {
        bail!("{} exists already; remove it or choose another --out", args.out.display());
    }
    let _made = check_writable(parent_of(&args.out))?;

    let console = Console::new(args.compute.quiet, experiment.plans());
    let start = std::time::Instant::now();
    let n_train = session.fit_experiment(&experiment, &args.out, &console);
    console.clear();
    let what = format!("{} on {} images of {category}", args.method, n_train?);
    let seconds = rough(start.elapsed().as_secs_f64());
    console.say(&format!("fitted {what} in {seconds}: {}", args.out.display()));
    Ok(())
}
