use std::io::{BufWriter, Write};
use std::path::Path;

use fmam_files::write_atomic;
use fmam_metrics::{FPR_LIMIT, MetricError, PixelRanking, auroc};
use fmam_report::npy_header;
use serde::Serialize;

use super::generated_scores::{maps, scores};
use super::timing::median_and_min_ms;
use crate::Error;

/// The speed of a metric on generated scores, on one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricSpeed {
    /// `auroc` or `aupro`.
    pub metric: &'static str,
    /// Scores: of images, or the pixels of all maps.
    pub scores: usize,
    /// Anomalous scores.
    pub anomalous: usize,
    /// Maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<usize>,
    /// Side of a map in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<usize>,
    /// Ground-truth regions of all masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<usize>,
    /// Threads, always 1.
    pub threads: usize,
    /// The median time in milliseconds.
    pub median_ms: f64,
    /// The minimum.
    pub min_ms: f64,
    /// The figure.
    pub value: f64,
}

/// Times the AUROC of `n_scores` generated scores, of which one in a hundred is anomalous:
/// `n_repeats` times, at least once. With `save` the scores and their labels are written to that
/// folder as `scores.npy` and `labels.npy`.
///
/// # Errors
/// [`Error::Write`], [`Error::EvaluateGenerated`].
pub fn measure_auroc(n_scores: usize, n_repeats: usize, save: Option<&Path>) -> Result<MetricSpeed, Error> {
    let (scores, labels) = scores(n_scores);
    if let Some(folder) = save {
        save_scores(&folder.join("scores.npy"), &[scores.len()], [&scores[..]])?;
        save_labels(&folder.join("labels.npy"), &[labels.len()], [&labels[..]])?;
    }
    let mut value = f64::NAN;
    let (median_ms, min_ms) = median_and_min_ms(n_repeats, || {
        value = auroc(&scores, &labels).map_err(Error::EvaluateGenerated)?;
        Ok(())
    })?;
    Ok(MetricSpeed {
        metric: "auroc",
        scores: scores.len(),
        anomalous: labels.iter().filter(|&&label| label == 1).count(),
        maps: None,
        side: None,
        regions: None,
        threads: 1,
        median_ms,
        min_ms,
        value,
    })
}

/// Times AUPRO up to a false positive rate of 0.3 of `n_maps` generated maps of `side` by `side`
/// pixels, three of four of which have defects: regions, sort and integral, `n_repeats` times, at
/// least once. With `save` the maps and their masks are written to that folder as `maps.npy` and
/// `masks.npy`.
///
/// # Errors
/// [`Error::Write`]; [`Error::EvaluateGenerated`] for maps without pixels.
pub fn measure_aupro(
    n_maps: usize,
    side: usize,
    n_repeats: usize,
    save: Option<&Path>,
) -> Result<MetricSpeed, Error> {
    let (maps, masks) = maps(n_maps, side);
    if let Some(folder) = save {
        let shape = [maps.len(), side, side];
        save_scores(&folder.join("maps.npy"), &shape, maps.iter().map(Vec::as_slice))?;
        save_labels(&folder.join("masks.npy"), &shape, masks.iter().map(Vec::as_slice))?;
    }
    let (mut value, mut ranking) = (f64::NAN, None);
    let mut evaluate = || -> Result<(), MetricError> {
        let ranked = PixelRanking::new(maps.iter().zip(&masks), side, side)?;
        value = ranked.aupro(FPR_LIMIT)?;
        ranking = Some(ranked);
        Ok(())
    };
    let (median_ms, min_ms) = median_and_min_ms(n_repeats, || evaluate().map_err(Error::EvaluateGenerated))?;
    Ok(MetricSpeed {
        metric: "aupro",
        scores: maps.len() * side * side,
        anomalous: ranking.as_ref().map_or(0, PixelRanking::n_anomalous),
        maps: Some(maps.len()),
        side: Some(side),
        regions: ranking.as_ref().map(PixelRanking::n_regions),
        threads: 1,
        median_ms,
        min_ms,
        value,
    })
}

fn save_scores<'a>(
    path: &Path,
    shape: &[usize],
    parts: impl IntoIterator<Item = &'a [f32]>,
) -> Result<(), Error> {
    let numbers = parts.into_iter().flatten().map(|score| score.to_le_bytes());
    save(path, &npy_header("<f4", shape), numbers)
}

fn save_labels<'a>(
    path: &Path,
    shape: &[usize],
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), Error> {
    save(path, &npy_header("|u1", shape), parts.into_iter().flatten().map(|&label| [label]))
}

fn save<const N: usize>(
    path: &Path,
    header: &[u8],
    elements: impl Iterator<Item = [u8; N]>,
) -> Result<(), Error> {
    let written = write_atomic(path, |file| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(header)?;
        for element in elements {
            file.write_all(&element)?;
        }
        file.flush()
    });
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{PixelMemory, metrics_of_maps, metrics_of_scores};

    #[test]
    fn the_saved_scores_have_the_timed_figure() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new");
        let speed = measure_auroc(2000, 2, Some(&folder)).unwrap();
        assert_eq!((speed.scores, speed.anomalous), (2000, 20));
        assert!(0.0 < speed.min_ms && speed.min_ms <= speed.median_ms);
        let figures = metrics_of_scores(&folder.join("scores.npy"), &folder.join("labels.npy")).unwrap();
        assert_eq!(figures["auroc"].as_f64(), Some(speed.value));
        assert_eq!(measure_auroc(2000, 1, None).unwrap().value, speed.value);
    }

    #[test]
    fn the_saved_maps_have_the_timed_figure() {
        let dir = tempfile::tempdir().unwrap();
        let speed = measure_aupro(6, 48, 2, Some(dir.path())).unwrap();
        assert_eq!((speed.scores, speed.maps, speed.side), (6 * 48 * 48, Some(6), Some(48)));
        let files = ["maps.npy", "masks.npy"].map(|name| dir.path().join(name));
        let figures = metrics_of_maps(&files[0], &files[1], &PixelMemory::default()).unwrap();
        assert_eq!(figures["aupro"].as_f64(), Some(speed.value));
        assert!(speed.value > 0.3 && speed.value < 1.0, "{}", speed.value);
    }

    #[test]
    fn maps_without_pixels_have_no_figure() {
        assert!(matches!(measure_aupro(2, 0, 1, None), Err(Error::EvaluateGenerated(MetricError::Empty))));
    }
}
