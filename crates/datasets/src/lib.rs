//! Image anomaly detection data sets: index, split, decode, resize.
//!
//! What this crate must not know: tensors, methods, where results go. A data set indexes its files once,
//! checks what can be checked without decoding, and gives [`SampleSource`](fmam_core::SampleSource)s, which
//! is all that a method sees. Everything that can be wrong with the files is a [`DatasetError`] that names
//! the file.
//!
//! Modules in reading order: [`Dataset`] and the table [`DATASETS`]; [`load_image`] and [`load_mask`];
//! [`CachedSource`]; the data sets, one file each; [`published_counts`]; [`textures()`]; the generated
//! [`mod@demo`] set. Reading ahead on several threads with bounded memory and a fixed order is
//! [`fmam_core::ordered_map`] over a source.

mod area;
mod cache;
mod counts;
mod csv;
mod dataset;
mod decode;
pub mod demo;
mod error;
mod files;
mod folder;
mod jpeg;
mod magnetic_tile;
mod mvtec;
mod textures;
mod visa;
mod zju_leaper;

pub use cache::{CachedSource, DEFAULT_CACHE_BYTES};
pub use counts::{Counts, published_categories, published_counts};
pub use dataset::{Category, DATASETS, Dataset, DatasetEntry, DatasetOptions, dataset};
pub use decode::{image_size, load_image, load_mask};
pub use demo::{DemoCategory, DemoConfig, write_demo};
pub use error::{DatasetError, RowProblem};
pub use textures::textures;
