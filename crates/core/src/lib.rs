//! The nouns that every other crate of fmam speaks: sizes, images, masks, samples, anomaly maps,
//! seeds, names of methods, plans and progress.
//!
//! This crate knows no tensors and touches no files, so that data sets, synthesis, metrics and
//! reports can be built and tested without a machine-learning framework. Modules in reading order:
//! [`ImageSize`], [`RgbImage`], [`Mask`], [`AnomalyMap`], [`Reading`], [`Preparation`], [`Frame`],
//! [`ImageRows`], [`TileGrid`], [`SampleSource`], [`MemorySource`], [`Subset`], [`TiledSource`],
//! [`Seed`], [`MethodId`], [`Plan`], [`StageId`], [`Progress`], [`CurvePoint`], [`ordered_map`],
//! [`ErrorKind`], [`with_causes`].
//!
//! ```
//! use fmam_core::{AnomalyMap, CoreError, ImageSize, RgbImage, Seed};
//!
//! # fn main() -> Result<(), CoreError> {
//! // Pixels in memory, row by row, red, green and blue of each.
//! let size = ImageSize::new(2, 3);
//! let image = RgbImage::new(size, vec![128; 3 * size.pixels()])?;
//! assert_eq!(image.size(), size);
//! let error = RgbImage::new(size, vec![]).unwrap_err();
//! assert!(matches!(error, CoreError::BufferLength { expected: 18, actual: 0, .. }));
//!
//! let map = AnomalyMap::new(size, vec![0.1, 0.2, 0.9, 0.1, 0.3, 0.8])?;
//! assert_eq!((map.max(), map.at(0, 2)), (0.9, 0.9));
//!
//! // A stream of random numbers depends on the seed and on its name alone.
//! let run = Seed::new(7);
//! assert_ne!(run.derive("synthesis"), run.derive("weights"));
//! # Ok(())
//! # }
//! ```

mod causes;
mod curve;
mod error;
mod error_kind;
mod frame;
mod image;
mod map;
mod memory;
mod method_id;
mod one_large;
mod ordered;
mod plan;
mod preparation;
mod progress;
mod reading;
mod rows;
mod sample;
mod seed;
mod shown;
mod size;
mod stage;
mod subset;
mod tile_grid;
mod tiled_source;

pub use causes::with_causes;
pub use curve::CurvePoint;
pub use error::{CoreError, SourceError};
pub use error_kind::ErrorKind;
pub use frame::Frame;
pub use image::{Mask, RgbImage};
pub use map::AnomalyMap;
pub use memory::MemorySource;
pub use method_id::MethodId;
pub use one_large::OneLarge;
pub use ordered::ordered_map;
pub use plan::{Needs, Plan, StagePlan};
pub use preparation::{Placing, Preparation, RegionOfInterest};
pub use progress::{Progress, Silent};
pub use reading::{Reading, ValueRange, ValueRangeError};
pub use rows::{ImageRows, MemoryRows};
pub use sample::{Label, Original, Sample, SampleSource, Split};
pub use seed::Seed;
pub use shown::{escaped, escaped_lines, shown, shown_line};
pub use size::{ImageSize, SizeError, sides};
pub use stage::StageId;
pub use subset::Subset;
pub use tile_grid::TileGrid;
pub use tiled_source::{TiledSource, TiledSourceError};
