use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::Device;
use fmam_core::Seed;
use fmam_experiment::{Registry, Revisit, analyze, evaluate};
use fmam_methods::load_detector;
use fmam_record::load_records;
use fmam_record::{Analysis, DefectAnalysis, FeatureScatter, RunRecord};
use fmam_report::Report;
use fmam_synthesis::{SynthesisConfig, Synthesizer};
use serde_json::{Map, Value};

use crate::commands::report::write_all;
use crate::compute::ComputeArgs;
use crate::data::{self, DataArgs};
use crate::figures::FigureArgs;
use crate::progress::Console;
use crate::stdout::{print, print_json};

const EXAMPLES: &str = "\
Examples:
  fmam analyze runs/demo
      every run of `fmam reproduce` that kept its model and has no analysis yet; the report and its figures show it
  fmam analyze --model runs/demo/runs/demo/plain/rkd+fmam/efficientnet-lite0/seed-0/model --dataset demo --category plain
      saved detectors on a test split of your choice

Features are scaled to length 1. Bias is the mean distance of defective features to the mean normal one, variance the mean
squared distance of normal features to it, both at positions of test images; bias/dev is the bias in normal deviations.
In the rows `student` they are distances to what the student expects at the same position: the discrepancy that is scored.
Defects are the test images' own (real) and synthetic ones in normal test images.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The --out of a `fmam reproduce`, whose runs are analysed
    #[arg(value_name = "DIR", required_unless_present = "model", conflicts_with_all = ["model", "dataset", "category", "seed"])]
    out: Option<PathBuf>,
    /// Folders that `fmam fit` wrote, or `model` of runs of `fmam reproduce`
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "dataset")]
    model: Vec<PathBuf>,
    /// Folder that holds the data set; `demo` needs none, and for runs it is by default where they
    /// found it
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Data set; `fmam list datasets` names them
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Category of the data set; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Origin of the synthetic defects and of the choice of positions
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Analyse runs again that have an analysis
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.compute.prepare()?;
    let device = args.compute.device.unwrap_or_default().open()?;
    match &args.out {
        Some(out) => analyze_runs(args, out, &device),
        None => analyze_models(args, &device),
    }
}

/// Adds to each run in `out` what it lacks, and writes the report again.
fn analyze_runs(args: &Args, out: &Path, device: &Device) -> Result<()> {
    let records = load_records(out)?;
    if records.is_empty() {
        bail!("there is no finished run under {}", out.join("runs").display());
    }
    let console = Console::new(args.compute.quiet, []);
    let registry = Registry::builtin();
    let revisit = Revisit {
        registry: &registry,
        data_root: args.data_root.as_deref(),
        device,
        loader_threads: args.compute.loader_threads(),
    };
    let lacks_maps = |run: &RunRecord| run.artefacts.maps.is_none() && run.config.artefacts.keeps_maps();
    let lacks = |run: &RunRecord| run.analysis.is_none() || lacks_maps(run);
    let (mut without_model, mut n_failed) = (Vec::new(), 0);
    for record in records.iter().filter(|run| args.overwrite || lacks(run)) {
        let added = revisit.run(out, record, &console);
        console.clear();
        match added {
            Ok(Some(_)) => console.say(&format!("analysed {}", record.key())),
            Ok(None) => without_model.push(record.key()),
            Err(error) if error.is_cancelled() => return Err(error.into()),
            Err(error) => {
                n_failed += 1;
                console.error(&anyhow::Error::new(error).context(format!("run {}", record.key())));
            }
        }
    }
    if let Some(first) = without_model.first() {
        let n = without_model.len();
        console.say(&format!("runs that kept no model stay as they are: {n}, {first} the first"));
    }
    let report = Report::from_records(load_records(out)?);
    let written = write_all(&report, out, args.data_root.as_deref(), &FigureArgs::default())?;
    if args.json {
        let entry = |run: &RunRecord| Some((run.key().path(), serde_json::to_value(run.analysis.as_ref()?)));
        let entries = report.runs().iter().filter_map(entry);
        print_json(&entries.map(|(key, value)| Ok((key, value?))).collect::<Result<Map<_, _>>>()?)?;
    } else {
        print(&format!("{}\n{written}", report.terminal_analyses()))?;
    }
    if n_failed > 0 {
        bail!("{n_failed} of {} runs could not be analysed", records.len());
    }
    Ok(())
}

fn analyze_models(args: &Args, device: &Device) -> Result<()> {
    let data = DataArgs {
        data_root: args.data_root.clone(),
        dataset: args.dataset.clone().unwrap_or_default(),
        category: args.category.clone(),
    };
    let console = Console::new(args.compute.quiet, []);
    let mut found = Vec::new();
    for model in &args.model {
        let detector = load_detector(model, device)?;
        let size = detector.image_size();
        let test = data.category(size)?.test;
        let textures = data::textures(args.data_root.as_deref(), size)?;
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), textures)?;
        let (seed, threads) = (Seed::new(args.seed).derive("analysis"), args.compute.loader_threads());
        let analysis = evaluate(&detector, test.as_ref(), fmam_metrics::METRICS, threads, &console).and_then(
            |evaluation| {
                analyze(&detector, test.as_ref(), &evaluation, &synthesizer, seed, threads, &console)
            },
        );
        console.clear();
        found.push((model.display().to_string(), analysis?));
    }
    if args.json {
        let entry =
            |(model, analysis): &(String, Analysis)| Ok((model.clone(), serde_json::to_value(analysis)?));
        return print_json(&found.iter().map(entry).collect::<Result<Map<String, Value>>>()?);
    }
    for (model, analysis) in &found {
        print(&table(model, analysis))?;
    }
    Ok(())
}

fn table(model: &str, analysis: &Analysis) -> String {
    let mut text = format!("{model}\n\n");
    text += "stride  channels  defects     features     bias  variance  bias/dev\n";
    for scale in &analysis.scales {
        let kinds: [(&str, &Option<DefectAnalysis>); 2] =
            [("real", &scale.real), ("synthetic", &scale.synthetic)];
        for (kind, defects) in kinds.into_iter().filter_map(|(kind, defects)| Some((kind, defects.as_ref()?)))
        {
            let rows = [
                ("teacher", Some(defects.before)),
                ("adapted", defects.after),
                ("student", defects.discrepancy),
            ];
            for (name, scatter) in rows.into_iter().filter_map(|(name, scatter)| Some((name, scatter?))) {
                let FeatureScatter { bias, variance, bias_per_deviation } = scatter;
                text += &format!(
                    "{:>6}  {:>8}  {kind:<10}  {name:<9}  {bias:>7.3}  {variance:>8.4}  {bias_per_deviation:>8.2}\n",
                    scale.stride, scale.channels
                );
            }
        }
    }
    text += "\nscores       overlap  Fisher's ratio  KS distance\n";
    for (name, scores) in [("of images", analysis.image_scores), ("of pixels", analysis.pixel_scores)] {
        if let Some(scores) = scores {
            text += &format!(
                "{name:<11}  {:>7.3}  {:>14.3}  {:>11.3}\n",
                scores.overlap, scores.fisher_ratio, scores.ks_distance
            );
        }
    }
    text + "\n"
}
