//! Errors of the library as exceptions of Python.

use std::io;

use fmam::fetch::fetchable_weights;
use fmam::{Error, ErrorKind, one_line};
use fmam_metrics::MetricError;
use pyo3::exceptions::{
    PyFileNotFoundError, PyKeyboardInterrupt, PyOSError, PyPermissionError, PyRuntimeError, PyValueError,
};
use pyo3::{PyErr, create_exception};

create_exception!(
    fmam,
    DataError,
    PyValueError,
    "An image, a model or a record is missing, damaged or does not fit."
);

/// The exception of `error`, with its causes on one line.
pub(crate) fn raise(error: &Error) -> PyErr {
    let mut text = one_line(error);
    if let Some(name) = fetchable_weights(error) {
        text += &format!("; give them with weights=FILE: `fmam weights fetch {name}` writes that file");
    }
    match error.kind() {
        ErrorKind::Usage => PyValueError::new_err(text),
        ErrorKind::Cancelled => PyKeyboardInterrupt::new_err(()),
        ErrorKind::Data | ErrorKind::Environment => match io_cause(error) {
            Some(io::ErrorKind::NotFound) => PyFileNotFoundError::new_err(text),
            Some(io::ErrorKind::PermissionDenied) => PyPermissionError::new_err(text),
            _ if error.kind() == ErrorKind::Data => DataError::new_err(text),
            _ => PyOSError::new_err(text),
        },
        _ => PyRuntimeError::new_err(text),
    }
}

/// The exception of a metric that is not defined.
pub(crate) fn raise_metric(error: &MetricError) -> PyErr {
    PyValueError::new_err(one_line(error))
}

/// The kind of the error of the system behind `error`.
fn io_cause(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(io::Error::kind)
}
