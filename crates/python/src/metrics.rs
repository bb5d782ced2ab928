//! Figures of merit of arrays.

use fmam_metrics::{BestF1, MetricError, PixelBuilder, PixelMetrics, Score};
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::raise::raise_metric;

/// Scores of one array, in one row.
#[derive(FromPyObject)]
pub(crate) enum Scores<'py> {
    /// Of float32.
    F32(PyReadonlyArray1<'py, f32>),
    /// Of float64.
    F64(PyReadonlyArray1<'py, f64>),
}

/// Maps with their masks.
#[derive(FromPyObject)]
pub(crate) enum Maps<'py> {
    /// Of float32.
    F32(Vec<(PyReadonlyArray2<'py, f32>, PyReadonlyArray2<'py, u8>)>),
    /// Of float64.
    F64(Vec<(PyReadonlyArray2<'py, f64>, PyReadonlyArray2<'py, u8>)>),
}

/// Area under the ROC curve of `scores` with `labels`, 0 or 1, both contiguous.
///
/// # Errors
/// `ValueError` where it is not defined.
#[pyfunction]
pub(crate) fn auroc(py: Python<'_>, scores: Scores<'_>, labels: PyReadonlyArray1<'_, u8>) -> PyResult<f64> {
    let labels = labels.as_slice()?;
    figure(py, &scores, labels, fmam_metrics::auroc, |metrics| metrics.auroc)
}

/// Average precision of `scores` with `labels`, 0 or 1, both contiguous.
///
/// # Errors
/// As [`auroc`].
#[pyfunction]
pub(crate) fn average_precision(
    py: Python<'_>,
    scores: Scores<'_>,
    labels: PyReadonlyArray1<'_, u8>,
) -> PyResult<f64> {
    let labels = labels.as_slice()?;
    figure(py, &scores, labels, fmam_metrics::average_precision, |metrics| metrics.average_precision)
}

/// A figure of scores of f32, or, in f64, of one map with these pixels.
fn figure(
    py: Python<'_>,
    scores: &Scores<'_>,
    labels: &[u8],
    of_f32: fn(&[f32], &[u8]) -> Result<f64, MetricError>,
    of_pixels: fn(PixelMetrics) -> f64,
) -> PyResult<f64> {
    let figure = match scores {
        Scores::F32(scores) => {
            let scores = scores.as_slice()?;
            py.detach(|| of_f32(scores, labels))
        }
        Scores::F64(scores) => {
            let scores = scores.as_slice()?;
            py.detach(|| {
                let mut pixels = PixelBuilder::new();
                pixels.add(scores, labels, scores.len().max(1), None)?;
                Ok(of_pixels(pixels.finish()?.summary()?.metrics))
            })
        }
    };
    figure.map_err(|error| raise_metric(&error))
}

/// The best F1 of `scores` with `labels`, 0 or 1, both contiguous, and the threshold that has it.
///
/// # Errors
/// As [`auroc`].
#[pyfunction]
pub(crate) fn f1_max(
    py: Python<'_>,
    scores: PyReadonlyArray1<'_, f32>,
    labels: PyReadonlyArray1<'_, u8>,
) -> PyResult<(f64, f32)> {
    let (scores, labels) = (scores.as_slice()?, labels.as_slice()?);
    let BestF1 { f1, threshold } =
        py.detach(|| fmam_metrics::f1_max(scores, labels)).map_err(|error| raise_metric(&error))?;
    Ok((f1, threshold))
}

/// AUPRO up to `fpr_limit` of maps with their masks, 0 or 1, all contiguous; each pair has a size
/// of its own.
///
/// # Errors
/// As [`auroc`], and for a limit outside of (0, 1].
#[pyfunction]
pub(crate) fn aupro(py: Python<'_>, maps: Maps<'_>, fpr_limit: f64) -> PyResult<f64> {
    match maps {
        Maps::F32(pairs) => aupro_of(py, &pairs, fpr_limit),
        Maps::F64(pairs) => aupro_of(py, &pairs, fpr_limit),
    }
}

/// [`aupro`] of one type of scores.
fn aupro_of<S: Score + Element>(
    py: Python<'_>,
    pairs: &[(PyReadonlyArray2<'_, S>, PyReadonlyArray2<'_, u8>)],
    fpr_limit: f64,
) -> PyResult<f64> {
    let mut slices = Vec::with_capacity(pairs.len());
    for (map, mask) in pairs {
        slices.push((map.as_slice()?, mask.as_slice()?, map.shape()[1]));
    }
    let compute = || -> Result<f64, MetricError> {
        let mut pixels = PixelBuilder::new();
        for (map, mask, width) in slices {
            pixels.add(map, mask, width.max(1), None)?;
        }
        pixels.finish()?.aupro(fpr_limit)
    };
    py.detach(compute).map_err(|error| raise_metric(&error))
}
