use std::path::PathBuf;

use anyhow::Result;
use fmam::measure::{metrics_of_maps, metrics_of_scores};

use crate::stdout::print_json;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/metrics.txt"), arg_required_else_help = true)]
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
