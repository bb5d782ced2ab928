//! The names that the library knows.

use fmam::{Kind, Registry};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The names of the table `kind` (methods, backbones, datasets or metrics), each with a line on it.
///
/// # Errors
/// `ValueError` for another kind.
#[pyfunction]
pub(crate) fn names(kind: &str) -> PyResult<Vec<(&'static str, &'static str)>> {
    let table = match kind {
        "methods" => Kind::Methods,
        "backbones" => Kind::Backbones,
        "datasets" => Kind::Datasets,
        "metrics" => Kind::Metrics,
        _ => {
            let text = format!("`{kind}` is none of methods, backbones, datasets, metrics");
            return Err(PyValueError::new_err(text));
        }
    };
    Ok(table.entries(&Registry::builtin()))
}
