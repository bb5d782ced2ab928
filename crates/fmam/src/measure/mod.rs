//! Measurements: metrics of arrays, the statistics of features and scores of a detector, and the
//! speed of networks and of detectors.

mod analysis;
mod arrays;
mod bench;
mod element;
mod npy;
mod npy_header;
mod predict;

pub use analysis::{Revisited, analyses_json, analyze_detector, analyze_runs};
pub use arrays::{PixelMemory, metrics_of_maps, metrics_of_scores};
pub use bench::{Load, Speed, Student, Workload, measure_speed};
pub use predict::{PredictSpeed, measure_predict};
