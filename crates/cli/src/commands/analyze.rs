use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam::Session;
use fmam::measure::{Revisited, analyses_json, analyze_detector, analyze_runs};
use fmam::output::analysis_table;
use fmam::report::{load_report, write_report};

use crate::compute::ComputeArgs;
use crate::data::DataArgs;
use crate::progress::Console;
use crate::region::RegionArgs;
use crate::stdout::{print, print_json};

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/analyze.txt"))]
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
    region: RegionArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let (session, console) = args.compute.session(registry)?;
    match &args.out {
        Some(out) => of_runs(args, out, &session, &console),
        None => of_models(args, &session, &console),
    }
}

/// Adds to each run in `out` what it lacks, and writes the report again.
fn of_runs(args: &Args, out: &Path, session: &Session, console: &Console) -> Result<()> {
    let records = load_report(session.registry(), out)?;
    let data_root = args.data_root.as_deref();
    let (mut without_model, mut n_failed) = (Vec::new(), 0);
    analyze_runs(session, out, data_root, records.runs(), args.overwrite, |record, outcome| {
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
    let report = load_report(session.registry(), out)?;
    let written = write_report(session.registry(), &report, out, data_root, &Default::default())?;
    if args.json {
        print_json(&analyses_json(report.runs())?)?;
    } else {
        print(&format!("{}\n{}", report.terminal_analyses(), written.lines()))?;
    }
    if n_failed > 0 {
        bail!("{n_failed} of {} runs could not be analysed", records.runs().len());
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
        let detector = args.region.on(session.load(model)?)?;
        let test = data.category(session, &detector.card().preparation())?.test;
        let root = args.data_root.as_deref();
        let analysis = analyze_detector(session, &detector, test.as_ref(), root, args.seed);
        console.clear();
        found.push((model.display().to_string(), analysis?));
    }
    if args.json {
        return print_json(&found.into_iter().collect::<BTreeMap<_, _>>());
    }
    found.iter().try_for_each(|(model, analysis)| print(&analysis_table(model, analysis)))
}
