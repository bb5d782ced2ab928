use std::path::Path;

use fmam_metrics::{Evaluated, Level, METRICS};
use serde_json::{Map, Value, json};

use super::npy::{Array, read_labels, read_scores};
use crate::Error;

/// The metrics of image scores and their labels, each a `.npy` file of N numbers. Scores are
/// float32 or float64, higher is more anomalous; labels are 0 (normal) or 1 (anomalous) in any
/// type. The key of a metric lacks its `image_`, since the scores may be those of anything.
///
/// # Errors
/// [`Error::Array`], [`Error::Shape`], [`Error::ShapesDiffer`], and [`Error::Evaluate`] where a
/// metric is not defined.
pub fn metrics_of_scores(scores_path: &Path, labels_path: &Path) -> Result<Map<String, Value>, Error> {
    let (scores, labels) = read_pair(scores_path, labels_path)?;
    if scores.shape.len() != 1 {
        let expected = "scores have one dimension, [N]";
        return Err(Error::Shape { path: scores_path.to_owned(), shape: scores.shape, expected });
    }
    let evaluated = Evaluated::new(&scores.data, &labels.data);
    metrics(scores_path, &evaluated, |level| level == Level::Image)
}

/// The metrics of anomaly maps and their masks, each a `.npy` file of N x H x W numbers, of the
/// types of [`metrics_of_scores`].
///
/// # Errors
/// As [`metrics_of_scores`].
pub fn metrics_of_maps(maps_path: &Path, masks_path: &Path) -> Result<Map<String, Value>, Error> {
    let (maps, masks) = read_pair(maps_path, masks_path)?;
    let &[_, height, width] = &maps.shape[..] else {
        let expected = "maps have three dimensions, [N, H, W]";
        return Err(Error::Shape { path: maps_path.to_owned(), shape: maps.shape, expected });
    };
    // An array without elements is refused by the metrics; only chunks of none are not possible.
    let pixels = (height * width).max(1);
    let pairs = maps.data.chunks(pixels).zip(masks.data.chunks(pixels)).collect();
    let evaluated = Evaluated::new(&[], &[]).with_maps(pairs, height, width);
    metrics(maps_path, &evaluated, |level| level != Level::Image)
}

/// The metrics of the wanted levels by their keys.
fn metrics(
    path: &Path,
    evaluated: &Evaluated<'_>,
    is_wanted: fn(Level) -> bool,
) -> Result<Map<String, Value>, Error> {
    let mut figures = Map::new();
    // The threshold of the program that made the scores is not known here.
    let metrics = METRICS.iter().filter(|metric| is_wanted(metric.level) && metric.applies_to(evaluated));
    for metric in metrics {
        let key = metric.key.strip_prefix("image_").unwrap_or(metric.key);
        let value = (metric.compute)(evaluated);
        let value = value.map_err(|source| Error::Evaluate { path: path.to_owned(), source })?;
        figures.insert(key.to_owned(), json!(value));
    }
    Ok(figures)
}

/// Scores and labels of one shape.
fn read_pair(scores_path: &Path, labels_path: &Path) -> Result<(Array<f32>, Array<u8>), Error> {
    let (scores, labels) = (read_scores(scores_path)?, read_labels(labels_path)?);
    if scores.shape != labels.shape {
        return Err(Error::ShapesDiffer {
            scores: scores_path.to_owned(),
            scores_shape: scores.shape,
            labels: labels_path.to_owned(),
            labels_shape: labels.shape,
        });
    }
    Ok((scores, labels))
}
