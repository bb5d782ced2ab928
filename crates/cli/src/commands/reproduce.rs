use std::ffi::OsString;
use std::path::PathBuf;

use crate::rate::Rate;
use anyhow::Result;
use fmam::Resolution;
use fmam::reproduce::{DoubtfulRuns, InputOptions, Options, Study, plan_lines};
use fmam::{
    CalibrationMode, DeviceChoice, FinishedRuns, KeepTraining, MethodId, Precision, Progress, Setting,
};
use fmam_experiment::Doubt;
use fmam_record::{MapLayout, Shard};

use crate::compute::{ComputeArgs, numbers};
use crate::input::InputArgs;
use crate::item_list::items;
use crate::keep::KeepArgs;
use crate::progress::Console;
use crate::stdout::print;

/// The configuration of the runs.
#[derive(clap::Args)]
pub(crate) struct OptionArgs {
    /// Settings to start from: a name (demo, ablation, screw, magnetic-tile, table1, table4,
    /// table1-mini) or a TOML file; the other options override them
    ///
    /// Without --preset and --dataset it is `demo`. With --dataset alone every method has its
    /// default settings, and there are three seeds.
    #[arg(long, value_name = "NAME|FILE")]
    preset: Option<String>,
    /// Folder that holds the data set, and `dtd/` where you have the Describable Textures Dataset
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Data set; `fmam list datasets` names them
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Categories, separated by commas [default: all]
    ///
    /// Given more than once, each is one category, whatever commas are in its name.
    #[arg(long, value_name = "A,B", value_parser = parse_items)]
    categories: Option<Vec<String>>,
    /// Methods, separated by commas; `fmam list methods` names them
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = |text: &str| parse_item(text).map(MethodId::from))]
    methods: Option<Vec<MethodId>>,
    /// Backbones, separated by commas; `fmam list backbones` names them
    #[arg(long, value_name = "A,B", value_delimiter = ',', visible_alias = "backbones", value_parser = parse_item)]
    backbone: Option<Vec<String>>,
    /// Weights of the backbone (.pth or .safetensors); NAME=FILE where there are several backbones
    #[arg(long, value_name = "[NAME=]FILE")]
    weights: Vec<OsString>,
    /// Seeds, separated by commas
    #[arg(long, value_name = "0,1,2", value_delimiter = ',')]
    seeds: Option<Vec<u64>>,
    /// Training epochs of every method; with FMAM those of the student
    #[arg(long, value_name = "N", value_parser = numbers(1..))]
    epochs: Option<usize>,
    #[command(flatten)]
    input: InputArgs,
    /// Resolution of pixel figures: `network`, that of the image size, or `original`, that of each
    /// image file, as the evaluation code of MVTec AD has it
    #[arg(long, value_name = "RESOLUTION")]
    evaluate_at: Option<Resolution>,
    /// Leave all figures of pixels and regions out
    #[arg(long, conflicts_with = "evaluate_at")]
    no_pixel_metrics: bool,
    /// Number format of backbones and students, f32 or bf16; the latter is for GPUs of compute
    /// capability 8.0 or more
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,
    /// Training images that set the threshold of each detector, for the rates of false alarms and
    /// misses in the report; see `fmam fit`. Without it detectors learn from all, as the papers
    /// have it
    #[arg(long, value_name = "MODE")]
    calibration: Option<CalibrationMode>,
    /// Share of good parts that may score above the threshold, as 1% or 0.01
    #[arg(long, value_name = "RATE", requires = "calibration")]
    false_alarms: Option<Rate>,
    /// A setting of one method, as often as needed; the value is TOML
    ///
    /// METHOD@NAME.KEY=VALUE makes a variant of the method, which runs beside it.
    #[arg(long = "set", value_name = "METHOD.KEY=VALUE")]
    settings: Vec<Setting>,
    /// The folder of runs and report [default: runs/PRESET or runs/DATASET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the anomaly map of every test image as a TIFF file of floats: `mvtec` lays them out for
    /// the evaluation code of MVTec AD, CATEGORY/test/DEFECT/IMAGE.tiff in `maps/` of each run
    #[arg(long, value_name = "LAYOUT")]
    export_maps: Option<MapLayout>,
}

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/reproduce.txt"))]
pub(crate) struct Args {
    #[command(flatten)]
    options: OptionArgs,
    /// Do one part of the runs only, 3/8 the third of eight; each part needs an --out of its own,
    /// and `fmam report merge` joins them
    #[arg(long, value_name = "I/N", requires = "out")]
    shard: Option<Shard>,
    /// Print the runs, those that are finished marked, and do nothing: no file is written, and a
    /// device that --device names is not opened
    #[arg(long)]
    plan: bool,
    /// Do finished runs again
    #[arg(long)]
    overwrite: bool,
    /// Keep finished runs of any version of the program; without it, a run of one with other code
    /// for its figures is an error
    #[arg(long, conflicts_with = "overwrite")]
    any_version: bool,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl OptionArgs {
    /// The upper layer of the configuration.
    pub(crate) fn layer(&self, compute: &ComputeArgs) -> Options {
        Options {
            preset: self.preset.clone(),
            data_root: self.data_root.clone(),
            dataset: self.dataset.clone(),
            categories: self.categories.as_deref().map(items),
            methods: self.methods.clone(),
            backbones: self.backbone.clone(),
            weights: self.weights.clone(),
            seeds: self.seeds.clone(),
            epochs: self.epochs,
            image_size: self.input.size(),
            input: InputOptions {
                keep_aspect: self.input.keep_aspect.then_some(true),
                tile_overlap: self.input.tile_overlap(),
                roi: self.input.roi.clone(),
                value_range: self.input.files.value_range,
                background: self.input.files.background,
                max_image_bytes: self.input.files.max_bytes(),
            },
            evaluate_at: self.evaluate_at,
            pixel_metrics: self.no_pixel_metrics.then_some(false),
            precision: self.precision,
            calibration: self.calibration,
            false_alarms: self.false_alarms.map(|rate| rate.0),
            settings: self.settings.clone(),
            out: self.out.clone(),
            export_maps: self.export_maps,
            threads: compute.threads,
            device: compute.device,
        }
    }
}

fn parse_item(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("an item of the list is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A list with commas, none of whose items is empty.
fn parse_items(text: &str) -> Result<String, String> {
    text.split(',').try_for_each(|item| parse_item(item).map(drop))?;
    Ok(text.to_owned())
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let resolved = args.options.layer(&args.compute).resolve(registry)?;
    let (device, out) = (resolved.device()?, resolved.out());

    // The plan may be for a device that this machine does not have.
    let opened = if args.plan { DeviceChoice::Cpu } else { device };
    let (session, reading) = args.compute.on(registry, opened)?;
    if !args.plan {
        session.warn_of_emulation(resolved.parts.iter().map(|part| part.config.precision));
    }
    let experiments = session.experiments(resolved.configs())?;
    let (shard, finished) = (args.shard, policy(args));
    if args.plan {
        let name = device.name();
        return print(&plan_lines(&experiments, &out, &name, finished, shard, &*reading)?);
    }
    let study = Study::open(&experiments, &out, finished, shard, &*reading)?.keeping(args.keep.every());
    reading.clear();
    let (n_runs, pending) = (study.n_runs(), study.pending());
    let console = Console::new(args.compute.quiet, pending.iter().copied()).of_single(n_runs == 1);
    let n_before = n_runs - pending.len();
    if n_before > 0 {
        console.say(&format!("{n_before} of {n_runs} runs are finished in {}", out.display()));
    }
    study.doubts().iter().for_each(|runs| tell_doubt(&console, runs));
    let outcome = study.run(&session, &console, |kept| {
        console.clear();
        if kept > 0 && console.cancelled() {
            let way = if args.overwrite {
                "repeat without --overwrite to go on"
            } else {
                "the same command goes on from there"
            };
            console.say(&format!("finished runs are kept in {}; {way}", out.display()));
        }
        if console.cancelled() && KeepTraining::all_within(&out).is_ok_and(|folders| !folders.is_empty()) {
            console.say(&format!(
                "the state of the training is kept in {}; the same command goes on from there",
                out.display()
            ));
        }
    });
    console.clear();
    let outcome = outcome?;
    if let Some((report, written)) = &outcome.report {
        print(&format!("{}\n{}", report.terminal_table(), written.lines()))?;
    }
    Ok(outcome.into_result()?)
}

fn policy(args: &Args) -> FinishedRuns {
    match (args.overwrite, args.any_version) {
        (true, _) => FinishedRuns::Repeat,
        (false, true) => FinishedRuns::KeepAnyVersion,
        (false, false) => FinishedRuns::Keep,
    }
}

/// Says of which finished runs it is not certain that they are what this program would make of
/// them.
fn tell_doubt(console: &Console, DoubtfulRuns { doubt, n, first }: &DoubtfulRuns<'_>) {
    match doubt {
        Doubt::OtherProgram { name } => console.warn(&format!(
            "finished runs of another version, {name}, are kept: {n}, {first} the first; their figures may differ \
             from those of this version, --overwrite does them again"
        )),
        Doubt::NoDigests => console.say(&format!(
            "finished runs from before digests of data and weights were kept: {n}, {first} the first; files that \
             were replaced since are not noticed"
        )),
    }
}
