use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use candle_core::Device;
use fmam_core::MethodId;
use fmam_experiment::{
    DatasetChoice, Doubt, DoubtfulRun, Experiment, ExperimentConfig, FinishedRuns, Grid, PRESETS, Registry,
    RunPlan, preset,
};
use fmam_models::Precision;
use fmam_record::{MapLayout, Shard, load_records};
use fmam_report::Report;

use crate::backbone_weights::set_weights;
use crate::commands::report::write_all;
use crate::compute::{ComputeArgs, warn_of_emulation};
use crate::device::DeviceChoice;
use crate::exit::usage;
use crate::figures::FigureArgs;
use crate::overlays::Overlays;
use crate::progress::Console;
use crate::reporting::Reporting;
use crate::settings::Setting;
use crate::stdout::print;

const EXAMPLES: &str = "\
Examples:
  fmam reproduce
      the demo: four methods on generated fabrics, no data needed
  fmam reproduce --data-root data --dataset mvtec --categories screw --seeds 0,1,2 --out runs/screw
      the four methods on one category of MVTec AD, three seeds
  fmam reproduce --data-root data --dataset folder --methods rkd+fmam --set rkd+fmam.mapping.epochs=5
      one method with a setting of its own on your images

Every combination of category, method, backbone and seed is a run. Stop with Ctrl-C whenever you like: the same
command goes on where it stopped, finished runs are not repeated. A finished run whose settings, weights, images or
program are others now is an error.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
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
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = parse_item)]
    categories: Option<Vec<String>>,
    /// Methods, separated by commas; `fmam list methods` names them
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = parse_method)]
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
    #[arg(long, value_name = "N", value_parser = parse_epochs)]
    epochs: Option<usize>,
    /// Side in pixels to which images are resized, a multiple of 32
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// What backbones and students compute in, f32 or bf16; the latter is for GPUs of compute
    /// capability 8.0 or more
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,
    /// A setting of one method, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "METHOD.KEY=VALUE")]
    settings: Vec<Setting>,
    /// Where runs and report go [default: runs/PRESET or runs/DATASET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the anomaly map of every test image as a TIFF file of floats: `mvtec` lays them out for
    /// the evaluation code of MVTec AD, CATEGORY/test/DEFECT/IMAGE.tiff in `maps/` of each run
    #[arg(long, value_name = "LAYOUT")]
    export_maps: Option<MapLayout>,
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
    compute: ComputeArgs,
}

fn parse_item(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("an item of the list is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn parse_method(text: &str) -> Result<MethodId, String> {
    parse_item(text).map(MethodId::from)
}

pub(crate) fn parse_epochs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..) => Ok(n),
        _ => Err("a number from 1 on".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (configs, name) = configs(args)?;
    let device = device(args, &configs)?;
    let out = configs.iter().find_map(|config| config.out.clone());
    let out = out.unwrap_or_else(|| Path::new("runs").join(&name));
    args.compute.prepare()?;

    // What is planned may be for a device that this machine has not.
    let opened = if args.plan {
        Device::Cpu
    } else {
        let opened = device.open()?;
        warn_of_emulation(configs.iter().map(|config| config.precision), &opened);
        opened
    };
    let registry = Registry::builtin();
    let experiments = configs.into_iter().map(|config| Experiment::open(&registry, config, opened.clone()));
    let experiments = experiments.collect::<Result<Vec<_>, _>>()?;
    let plans: Vec<&RunPlan> = experiments.iter().flat_map(Experiment::plans).collect();
    if args.plan {
        return print(&plan(&experiments, &out, &device.name(), args)?);
    }
    let mut grid = {
        let reading = Console::new(args.compute.quiet, []);
        Grid::new(&experiments, &out, policy(args), &reading)?
    };
    let mut n_runs = plans.len();
    if let Some(shard) = args.shard {
        grid = grid.only(shard);
        n_runs = (0..n_runs).filter(|&position| shard.has(position)).count();
        grid.write_shard(shard)?;
    }
    let pending = grid.pending();
    let n_before = n_runs - pending.len();
    let console = Console::new(args.compute.quiet, pending.iter().copied());
    if n_before > 0 {
        console.say(&format!("{n_before} of {n_runs} runs are finished in {}", out.display()));
    }
    tell_doubts(&console, grid.doubtful());
    let observer = Reporting::new(&console, &out, n_runs == 1);
    let outcome = grid.run(&Overlays, &observer);
    console.clear();
    let mut outcome = outcome.inspect_err(|error| {
        if observer.n_finished() > 0 {
            observer.write(true);
        }
        if error.is_cancelled() && n_before + observer.n_finished() > 0 {
            let out = out.display();
            let how = if args.overwrite {
                "repeat without --overwrite to go on"
            } else {
                "the same command goes on from there"
            };
            console.say(&format!("finished runs are kept in {out}; {how}"));
        }
    })?;

    if n_before + outcome.n_finished > 0 {
        let report = Report::from_records(load_records(&out)?);
        let written = write_all(&report, &out, None, &FigureArgs::default())?;
        print(&format!("{}\n{written}", report.terminal_table()))?;
    }
    if n_runs == 1
        && let Some((key, error)) = outcome.failed.pop()
    {
        return Err(anyhow::Error::new(error).context(format!("run {key}")));
    }
    if !outcome.failed.is_empty() {
        bail!("{} of {n_runs} runs failed; the same command tries them again", outcome.failed.len());
    }
    observer.into_result()
}

fn policy(args: &Args) -> FinishedRuns {
    match (args.overwrite, args.any_version) {
        (true, _) => FinishedRuns::Repeat,
        (false, true) => FinishedRuns::KeepAnyVersion,
        (false, false) => FinishedRuns::Keep,
    }
}

/// Says of which finished runs it is not certain that they are what this program would make of
/// them: each reason once, with the number of its runs and the first of them.
fn tell_doubts(console: &Console, doubtful: &[DoubtfulRun]) {
    let mut told: Vec<&Doubt> = Vec::new();
    for DoubtfulRun { key, doubt } in doubtful {
        if told.contains(&doubt) {
            continue;
        }
        told.push(doubt);
        let n = doubtful.iter().filter(|run| run.doubt == *doubt).count();
        match doubt {
            Doubt::OtherProgram { name } => console.warn(&format!(
                "finished runs of another version, {name}, are kept: {n}, {key} the first; their figures may differ \
                 from those of this version, --overwrite does them again"
            )),
            Doubt::NoDigests => console.say(&format!(
                "finished runs from before digests of data and weights were kept: {n}, {key} the first; files that \
                 were replaced since are not noticed"
            )),
        }
    }
}

/// A line for each run: its number in the grid, counted from 1, whether it is to do on `device`,
/// and its folder.
fn plan(experiments: &[Experiment], out: &Path, device: &str, args: &Args) -> Result<String> {
    let has = |position: usize| args.shard.is_none_or(|shard| shard.has(position));
    let console = Console::new(args.compute.quiet, []);
    let runs = experiments
        .iter()
        .flat_map(|experiment| experiment.plans().iter().map(move |plan| (experiment, plan)));
    let line = |(k, (experiment, plan)): (usize, (&Experiment, &RunPlan))| {
        let finished = experiment.finished(out, plan, device, policy(args), &console)?;
        let state = if finished.is_some() { "finished" } else { "pending" };
        Ok(format!("{} {state} {}\n", k + 1, plan.key.path()))
    };
    runs.enumerate().filter(|(k, _)| has(*k)).map(line).collect()
}

/// The experiments to do, and their name.
fn configs(args: &Args) -> Result<(Vec<ExperimentConfig>, String)> {
    let (mut configs, name) = base(args)?;
    let parts = configs.len();
    if parts > 1 {
        // Several data sets: what is said of one must be said of which.
        if let Some(dataset) = &args.dataset {
            let known: Vec<_> = configs.iter().map(|config| config.dataset.name.clone()).collect();
            configs.retain(|config| config.dataset.name == *dataset);
            if configs.is_empty() {
                let known = known.join(", ");
                return Err(usage(anyhow!("--dataset {dataset}: {name} has {known}")));
            }
        } else if args.categories.is_some() {
            return Err(usage(anyhow!("--categories needs --dataset, because {name} has several data sets")));
        }
    }
    if let Some(methods) = args.methods.as_ref().filter(|_| parts > 1) {
        // Each part has its own methods, with what suits them: the list says which of those.
        let is_known = |method: &&MethodId| configs.iter().any(|config| config.methods.contains(method));
        if let Some(unknown) = methods.iter().find(|method| !is_known(method)) {
            return Err(usage(anyhow!("--methods {unknown}: no part of {name} has it")));
        }
        configs.iter_mut().for_each(|config| config.methods.retain(|method| methods.contains(method)));
        configs.retain(|config| !config.methods.is_empty());
    } else if let Some(methods) = &args.methods {
        configs.iter_mut().for_each(|config| config.methods.clone_from(methods));
    }
    configs.iter_mut().try_for_each(|config| override_config(config, args))?;
    Ok((configs, name))
}

/// The settings to start from, and their name.
fn base(args: &Args) -> Result<(Vec<ExperimentConfig>, String)> {
    match (&args.preset, &args.dataset) {
        (Some(name), _) => {
            let path = Path::new(name);
            if PRESETS.iter().any(|preset| preset.name == name)
                || (!path.exists() && path.extension().is_none())
            {
                return Ok((preset(name)?, name.clone()));
            }
            let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            Ok((ExperimentConfig::parts_from_file(path)?, stem))
        }
        (None, Some(dataset)) if !has_preset(dataset) => {
            Ok((vec![ExperimentConfig::for_dataset(dataset)], dataset.clone()))
        }
        (None, None) if args.data_root.is_some() => {
            Err(usage(anyhow!("--data-root needs --dataset, which says what the folder holds")))
        }
        (None, dataset) => {
            let name = dataset.as_deref().unwrap_or("demo");
            Ok((preset(name)?, name.to_owned()))
        }
    }
}

/// Whether a preset holds the settings for a data set: that of its name, for generated data.
fn has_preset(dataset: &str) -> bool {
    let is_generated = fmam_datasets::dataset(dataset).is_ok_and(|entry| entry.is_generated());
    is_generated && PRESETS.iter().any(|preset| preset.name == dataset)
}

fn override_config(config: &mut ExperimentConfig, args: &Args) -> Result<()> {
    fn set<T: Clone>(target: &mut T, option: &Option<T>) {
        if let Some(value) = option {
            *target = value.clone();
        }
    }
    if let Some(name) = args.dataset.as_ref().filter(|name| **name != config.dataset.name) {
        // Options are those of one data set.
        config.dataset = DatasetChoice::new(name);
    }
    set(&mut config.categories, &args.categories);
    set(&mut config.backbones, &args.backbone);
    set(&mut config.seeds, &args.seeds);
    set(&mut config.image_size, &args.image_size);
    set(&mut config.precision, &args.precision);
    config.data_root = args.data_root.clone().or(config.data_root.take());
    config.out = args.out.clone().or(config.out.take());
    config.export_maps = args.export_maps.or(config.export_maps);
    config.loader_threads = args.compute.threads.or(config.loader_threads);
    if let Some(epochs) = args.epochs {
        // What is typed now goes before what the preset says of single methods; --set comes after.
        config.set_epochs(epochs);
    }
    set_weights(config, &args.weights)?;
    apply_settings(config, &args.settings)
}

/// Puts `METHOD.KEY=VALUE` settings into the methods' tables.
fn apply_settings(config: &mut ExperimentConfig, settings: &[Setting]) -> Result<()> {
    for setting in settings {
        let (method, setting) = setting.split_first().ok_or_else(|| {
            usage(anyhow!("--set {} names no method: write METHOD.{}=...", setting.key(), setting.key()))
        })?;
        setting.apply(config.method.entry(method.into()).or_default());
    }
    Ok(())
}

fn device(args: &Args, configs: &[ExperimentConfig]) -> Result<DeviceChoice> {
    match (args.compute.device, configs.iter().find_map(|config| config.device.as_ref())) {
        (Some(device), _) => Ok(device),
        (None, Some(name)) => name.parse().map_err(|error: String| usage(anyhow!(error))),
        (None, None) => Ok(DeviceChoice::default()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parts(line: &str) -> Result<(Vec<ExperimentConfig>, String)> {
        configs(&Line::try_parse_from(["fmam"].into_iter().chain(line.split_whitespace()))?.args)
    }

    fn config(line: &str) -> Result<(ExperimentConfig, String)> {
        let (mut configs, name) = parts(line)?;
        Ok((configs.remove(0), name))
    }

    #[test]
    fn without_options_it_is_the_demo() {
        assert_eq!(config("").unwrap(), (preset("demo").unwrap().remove(0), "demo".to_owned()));
        assert_eq!(config("--dataset demo").unwrap().1, "demo");
    }

    #[test]
    fn a_data_set_of_ones_own_does_not_get_the_settings_of_the_demo() {
        let (config, name) = config("--dataset mvtec --data-root d --categories a,b").unwrap();
        assert_eq!((config.seeds, name.as_str()), (vec![0, 1, 2], "mvtec"));
        assert_eq!(config.categories, ["a", "b"]);
        assert!(config.method.is_empty());
    }

    #[test]
    fn options_override_the_preset_and_settings_override_epochs() {
        let line = "--preset demo --methods rkd --seeds 3 --epochs 7 --set rkd.epochs=2 --set nkd+fmam.mapping.margin=0.5";
        let config = config(line).unwrap().0;
        assert_eq!((config.methods, config.seeds), (vec!["rkd".into()], vec![3]));
        assert_eq!(config.epochs, Some(7));
        assert_eq!(config.method[&"rkd".into()]["epochs"].as_integer(), Some(2));
        assert_eq!(config.method[&"nkd+fmam".into()]["mapping"]["margin"].as_float(), Some(0.5));
    }

    #[test]
    fn options_hold_for_every_part_and_a_data_set_picks_one() {
        let (both, _) = parts("--preset table1-mini --seeds 5").unwrap();
        assert_eq!(
            both.iter().map(|part| part.dataset.name.as_str()).collect::<Vec<_>>(),
            ["mvtec", "magnetic-tile"]
        );
        assert!(both.iter().all(|part| part.seeds == [5]));
        let (one, _) = parts("--preset table1-mini --dataset magnetic-tile").unwrap();
        assert_eq!((one.len(), one[0].dataset.name.as_str()), (1, "magnetic-tile"));
        assert!(parts("--preset table1-mini --dataset demo").is_err());
        // MRKD has a part of its own, with another backbone.
        let (narrow, _) = parts("--preset table1 --methods padim,rkd").unwrap();
        assert!(narrow.len() == 2 && narrow.iter().all(|part| part.methods == ["padim", "rkd"]));
        assert!(narrow.iter().all(|part| part.backbones == ["resnet18"]));
        let (mrkd, _) = parts("--preset table1 --methods mrkd --dataset mvtec").unwrap();
        assert!(mrkd.len() == 1 && mrkd[0].backbones == ["vgg16"]);
        assert!(parts("--preset table1 --methods nosuch").is_err());
        assert!(parts("--preset table1-mini --categories screw").is_err());
        assert!(parts("--preset table1-mini --dataset mvtec --categories screw").is_ok());
    }

    #[test]
    fn weights_belong_to_a_backbone() {
        let one = config("--backbone resnet18 --weights a=b.pth").unwrap().0;
        assert_eq!(one.weights["resnet18"], Path::new("a=b.pth"));
        let named = config("--backbone resnet18,resnet34 --weights resnet34=c.pth").unwrap().0;
        assert_eq!(named.weights["resnet34"], Path::new("c.pth"));
        assert!(config("--backbone resnet18,resnet34 --weights c.pth").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--data-root d", "--set epochs=3", "--preset nosuch", "--preset no/such.toml", "--epochs 0"]
        {
            assert!(config(line).is_err(), "{line}");
        }
    }
}
