use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use fmam::Session;
use fmam::measure::{Revisited, analyze_detector, analyze_runs};
use fmam::output::analysis_table;
use fmam_experiment::Revisit;
use fmam_record::{Analysis, RunRecord, load_records};
use fmam_report::Report;
use serde_json::{Map, Value};

use crate::compute::ComputeArgs;
use crate::data::DataArgs;
use crate::figures::write_all;
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
    let console = Arc::new(Console::new(args.compute.quiet, []));
    let session = args.compute.session(Arc::clone(&console))?;
    match &args.out {
        Some(out) => of_runs(args, out, &session, &console),
        None => of_models(args, &session, &console),
    }
}

/// Adds to each run in `out` what it lacks, and writes the report again.
fn of_runs(args: &Args, out: &Path, session: &Session, console: &Console) -> Result<()> {
    let records = load_records(out)?;
    if records.is_empty() {
        bail!("there is no finished run under {}", out.join("runs").display());
    }
    let revisit = Revisit {
        data_root: args.data_root.as_deref(),
        device: session.device(),
        loader_threads: session.loader_threads(),
    };
    let (mut without_model, mut n_failed) = (Vec::new(), 0);
    analyze_runs(&revisit, out, &records, args.overwrite, console, |record, outcome| {
        console.clear();
        match outcome {
            Revisited::Analysed => console.say(&format!("analysed {}", record.key())),
            Revisited::NoModel => without_model.push(record.key()),
            Revisited::Failed(error) => {
                n_failed += 1;
                console.error(&anyhow::Error::new(error).context(format!("run {}", record.key())));
            }
        }
    })?;
    if let Some(first) = without_model.first() {
        let n = without_model.len();
        console.say(&format!("runs that kept no model stay as they are: {n}, {first} the first"));
    }
    let report = Report::from_records(load_records(out)?);
    let written = write_all(&report, out, args.data_root.as_deref(), &Default::default())?;
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

fn of_models(args: &Args, session: &Session, console: &Console) -> Result<()> {
    let data = DataArgs {
        data_root: args.data_root.clone(),
        dataset: args.dataset.clone().unwrap_or_default(),
        category: args.category.clone(),
    };
    let mut found = Vec::new();
    for model in &args.model {
        let detector = session.load(model)?;
        let size = detector.image_size();
        let test = data.category(session, size)?.test;
        let textures = fmam::textures(args.data_root.as_deref(), size)?;
        let threads = session.loader_threads();
        let analysis = analyze_detector(&detector, test.as_ref(), textures, args.seed, threads, console);
        console.clear();
        found.push((model.display().to_string(), analysis?));
    }
    if args.json {
        let entry =
            |(model, analysis): &(String, Analysis)| Ok((model.clone(), serde_json::to_value(analysis)?));
        return print_json(&found.iter().map(entry).collect::<Result<Map<String, Value>>>()?);
    }
    for (model, analysis) in &found {
        print(&analysis_table(model, analysis))?;
    }
    Ok(())
}
