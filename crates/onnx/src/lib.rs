//! A traced detector as one ONNX file: the pixels of an image of any size go in, a verdict comes
//! out.
//!
//! [`Detection`] says what the graph of a [`Trace`](fmam_ops::Trace) means: which value is the
//! score, which the map. [`Detection::encode`] puts the preparation of an image before it and the
//! comparison with a threshold behind it, and gives the bytes of the file. The file needs version
//! 18 of ONNX's operators and no operators of other domains.
//!
//! The types of the format are generated from `proto/onnx.proto`; a test generates them anew.
//!
//! Modules in reading order: `detection` (the whole), `preparation` (from bytes to pixels),
//! `assembly` (names, operators and constants of a file), `proto` (the format).

mod assembly;
mod detection;
mod error;
mod preparation;
#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]
#[rustfmt::skip]
mod proto;

pub use detection::{Detection, InputSize};
pub use error::OnnxError;
