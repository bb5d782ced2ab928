use std::path::PathBuf;

use anyhow::Result;
use fmam::measure::{metrics_of_maps, metrics_of_scores};

use crate::stdout::print_json;

const EXAMPLES: &str = "\
Examples:
  fmam metrics --scores scores.npy --labels labels.npy
  fmam metrics --maps maps.npy --masks masks.npy

Scores and maps are float32 or float64, higher is more anomalous. Labels and masks are 0 (normal) or 1 (anomalous)
in any type. The output is JSON; every figure is a fraction from 0 to 1. F1 is an oracle: its threshold is chosen on
these very labels.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Image scores: an array of N
    #[arg(long, value_name = "FILE", requires = "labels")]
    scores: Option<PathBuf>,
    /// Their labels: an array of N
    #[arg(long, value_name = "FILE", requires = "scores")]
    labels: Option<PathBuf>,
    /// Anomaly maps: an array of N x H x W
    #[arg(long, value_name = "FILE", requires = "masks")]
    maps: Option<PathBuf>,
    /// Their ground truth: an array of N x H x W
    #[arg(long, value_name = "FILE", requires = "maps")]
    masks: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut figures = serde_json::Map::new();
    if let (Some(scores), Some(labels)) = (&args.scores, &args.labels) {
        figures.extend(metrics_of_scores(scores, labels)?);
    }
    if let (Some(maps), Some(masks)) = (&args.maps, &args.masks) {
        figures.extend(metrics_of_maps(maps, masks)?);
    }
    print_json(&figures)
}
