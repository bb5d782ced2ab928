use std::path::PathBuf;

use anyhow::Result;
use fmam::measure::{PixelMemory, metrics_of_maps, metrics_of_scores};

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
    /// Anomaly maps: an array of N x H x W or N x 1 x H x W
    #[arg(long, value_name = "FILE", requires = "masks")]
    maps: Option<PathBuf>,
    /// Their ground truth: an array of N x H x W or N x 1 x H x W
    #[arg(long, value_name = "FILE", requires = "maps")]
    masks: Option<PathBuf>,
    /// Folder of temporary files for map scores that exceed the memory; the system's by default
    #[arg(long, value_name = "DIR", requires = "maps")]
    spill: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut figures = serde_json::Map::new();
    if let (Some(scores), Some(labels)) = (&args.scores, &args.labels) {
        figures.extend(metrics_of_scores(scores, labels)?);
    }
    if let (Some(maps), Some(masks)) = (&args.maps, &args.masks) {
        let mut memory = PixelMemory::default();
        memory.spill_folder = args.spill.clone().unwrap_or(memory.spill_folder);
        figures.extend(metrics_of_maps(maps, masks, &memory)?);
    }
    print_json(&figures)
}
