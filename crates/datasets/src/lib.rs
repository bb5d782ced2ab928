//! Image anomaly detection data sets: index, split, decode, resize.
//!
//! This crate knows no tensors, no methods and no folder of results. A data set indexes its files
//! once, checks as much as it can without decoding, and gives
//! [`SampleSource`](fmam_core::SampleSource)s, the only view of the data that a method has. Every
//! fault of the files is a [`DatasetError`] that names the file.
//!
//! Modules in reading order: `dataset` ([`Dataset`], [`DatasetEntry`]) and `category`
//! ([`Category`]); `example` ([`FileLayout`]); `layouts`, the table [`DATASETS`] and one file for
//! each layout; `source`, headers ([`image_header`]), decoding ([`read_image`], [`load_image`],
//! [`load_mask`]), decoding by rows ([`open_rows`]), the depth of 16-bit files
//! ([`training_depth`]), preparing ([`prepare_image`], [`Regions`], [`resize_mask`]) and caching
//! ([`CachedSource`]); `counts` ([`Counts`]); `duplicates` ([`duplicates`](fn@duplicates)),
//! pictures that are there twice; `choice` and `told` ([`Choice`], [`telling`]), the choices
//! that are made in reading; the generated [`mod@demo`] set. Reading ahead on several threads
//! with bounded memory and a fixed order is [`fmam_core::ordered_map`] over a source.
//!
//! ```
//! use fmam_core::{ImageSize, Label, SampleSource, SourceError};
//! use fmam_datasets::{Counts, DatasetOptions, DemoConfig, dataset};
//!
//! # fn main() -> Result<(), SourceError> {
//! // The generated set. For files: `DatasetOptions { root: Some(folder), ..Default::default() }`.
//! let few = DemoConfig { n_train: 2, n_test_normal: 1, n_test_per_defect: 1, ..Default::default() };
//! let demo = (dataset("demo")?.open)(&DatasetOptions::new(None, few)?)?;
//! assert_eq!(demo.categories(), ["plain", "twill"]);
//!
//! let plain = demo.category("plain", &ImageSize::square(64).into())?;
//! assert_eq!(Counts::of(&plain), Counts::new(2, 1, 6));
//! let last = plain.test.len() - 1;
//! assert_eq!(plain.test.sample(last).label, Label::Anomalous);
//! assert_eq!(plain.test.image(last)?.size(), ImageSize::square(64));
//! # Ok(())
//! # }
//! ```

mod category;
mod choice;
mod counts;
mod dataset;
pub mod demo;
mod duplicates;
mod error;
mod example;
mod layouts;
mod names;
mod pixel_kind;
mod source;
mod told;

pub use category::{Category, CategoryFiles};
pub use choice::Choice;
pub use counts::Counts;
pub use dataset::{Dataset, DatasetEntry, DatasetOptions};
pub use demo::{DemoCategory, DemoConfig, write_demo};
pub use duplicates::{Duplicate, DuplicateKind, PixelDigest, Repeated, duplicates};
pub use error::{DatasetError, RowProblem};
pub use example::{Example, ExampleFile, FileLayout};
pub use layouts::{DATASETS, dataset, has_image_extension, published_categories, published_counts, textures};
pub use pixel_kind::PixelKind;
pub use source::{
    CachedSource, DEFAULT_CACHE_BYTES, Depth, ImageHeader, ImageInput, MaskFormat, MaskRule, Prepared,
    Regions, SqueezeNotice, TrainingDepth, bits_for, decode_header, decode_image, highest_value,
    image_header, image_size, inside_of, load_image, load_mask, load_region, load_sample_mask, open_rows,
    prepare_image, prepare_mask, read_image, read_image_bytes, resize_image, resize_mask, training_depth,
};
pub use told::{Told, choices_told, telling};
