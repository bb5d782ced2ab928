use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fmam_metrics::{Evaluated, Level, METRICS, MetricError};
use serde_json::json;

use crate::npy::{Array, read_labels, read_scores};
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
    if let (Some(scores_path), Some(labels_path)) = (&args.scores, &args.labels) {
        let (scores, labels) = read_pair(scores_path, labels_path)?;
        if scores.shape.len() != 1 {
            bail!("{} has shape {:?}; scores have one dimension, [N]", scores_path.display(), scores.shape);
        }
        let evaluated = Evaluated::new(&scores.data, &labels.data);
        add(&mut figures, &evaluated, |level| level == Level::Image)
            .with_context(|| format!("cannot evaluate {}", scores_path.display()))?;
    }
    if let (Some(maps_path), Some(masks_path)) = (&args.maps, &args.masks) {
        let (maps, masks) = read_pair(maps_path, masks_path)?;
        let &[_, height, width] = &maps.shape[..] else {
            bail!(
                "{} has shape {:?}; maps have three dimensions, [N, H, W]",
                maps_path.display(),
                maps.shape
            );
        };
        // An array without elements is refused by the metrics; only chunks of none are not
        // possible.
        let pixels = (height * width).max(1);
        let pairs = maps.data.chunks(pixels).zip(masks.data.chunks(pixels)).collect();
        let evaluated = Evaluated::new(&[], &[]).with_maps(pairs, height, width);
        add(&mut figures, &evaluated, |level| level != Level::Image)
            .with_context(|| format!("cannot evaluate {}", maps_path.display()))?;
    }
    print_json(&figures)
}

/// Adds the metrics of the wanted levels. The key of a metric of image scores lacks its `image_`,
/// since the scores may be those of anything.
fn add(
    figures: &mut serde_json::Map<String, serde_json::Value>,
    evaluated: &Evaluated<'_>,
    is_wanted: fn(Level) -> bool,
) -> Result<(), MetricError> {
    for metric in METRICS.iter().filter(|metric| is_wanted(metric.level)) {
        let key = metric.key.strip_prefix("image_").unwrap_or(metric.key);
        figures.insert(key.to_owned(), json!((metric.compute)(evaluated)?));
    }
    Ok(())
}

/// Scores and labels of one shape.
fn read_pair(scores: &Path, labels: &Path) -> Result<(Array<f32>, Array<u8>)> {
    let pair = (read_scores(scores)?, read_labels(labels)?);
    if pair.0.shape != pair.1.shape {
        bail!(
            "{} has shape {:?} but {} has {:?}",
            scores.display(),
            pair.0.shape,
            labels.display(),
            pair.1.shape
        );
    }
    Ok(pair)
}
