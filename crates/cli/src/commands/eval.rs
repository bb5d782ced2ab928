use std::path::PathBuf;

use anyhow::Result;
use fmam::output::{Figures, check_writable, metrics_table, write_evaluation};
use fmam_record::MapLayout;

use crate::compute::ComputeArgs;
use crate::data::DataArgs;
use crate::stdout::{print, print_json};
use crate::threshold::ThresholdArgs;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/eval.txt"))]
pub(crate) struct Args {
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    threshold: ThresholdArgs,
    /// Print JSON instead of a table; every metric is a fraction from 0 to 1
    #[arg(long)]
    json: bool,
    /// Also write metrics.json, scores.jsonl and pictures here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write the anomaly map of every test image, in `maps/` of --out: `mvtec` is the layout
    /// that the evaluation code of MVTec AD reads
    #[arg(long, value_name = "LAYOUT", requires = "out")]
    export_maps: Option<MapLayout>,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let (session, console) = args.compute.session(registry)?;
    let detector = session.load(&args.model)?;
    let detector = args.threshold.on(detector)?;
    let category = args.data.category(&session, detector.image_size())?;
    let _made = args.out.as_deref().map(check_writable).transpose()?;
    let evaluation = session.evaluate(&detector, category.test.as_ref());
    console.clear();
    let evaluation = evaluation?;
    if let Some(out) = &args.out {
        write_evaluation(out, &category, &evaluation, args.export_maps)?;
    }
    if args.json {
        print_json(&Figures::of(&evaluation))
    } else {
        print(&metrics_table(registry.metrics(), &evaluation.metrics, evaluation.decision.as_ref()))
    }
}
