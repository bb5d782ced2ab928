//! The extension module `fmam._fmam` of the Python package `fmam`.
//!
//! It is thin: it takes NumPy arrays in and out, hands the work to the library `fmam` on a thread
//! that does not hold the interpreter, and turns errors into exceptions. The package around it
//! (`python/fmam`) has the interface for people: signatures, defaults, progress in a notebook. This
//! crate must not know how a call does its work.
//!
//! Modules in reading order: `watch` (work that Python can follow and interrupt), `raise` (errors
//! as exceptions), `pixels` (images in and out), `values` (Python values and TOML), `detector`,
//! `verdict`, `metrics`, `synthesis`, `study`, `names`.

#![expect(clippy::needless_pass_by_value, reason = "functions that Python calls own their arguments")]

mod detector;
mod metrics;
mod names;
mod pixels;
mod raise;
mod study;
mod synthesis;
mod values;
mod verdict;
mod watch;

/// The compiled part of the package `fmam`.
#[pyo3::pymodule]
mod _fmam {
    #[pymodule_export]
    use super::detector::{Detector, image_files};
    #[pymodule_export]
    use super::metrics::{aupro, auroc, average_precision, f1_max};
    #[pymodule_export]
    use super::names::names;
    #[pymodule_export]
    use super::raise::DataError;
    #[pymodule_export]
    use super::study::reproduce;
    #[pymodule_export]
    use super::synthesis::synthesize;
    #[pymodule_export]
    use super::verdict::{Region, Verdict};

    /// The version of the package.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name that Python knows")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
