//! Measurements: metrics of arrays, the statistics of features and scores of a detector, and the
//! speed of networks, detectors, metrics and the synthesis of defects.

mod analysis;
mod arrays;
mod bench;
mod element;
mod generated_scores;
mod metric_speed;
mod npy;
mod npy_header;
mod predict;
mod synthesis_speed;
mod timing;

pub use analysis::{Revisited, analyses_json, analyze_detector, analyze_runs};
pub use arrays::{PixelMemory, metrics_of_maps, metrics_of_scores};
pub use bench::{Load, Speed, Student, Workload, measure_speed};
pub use metric_speed::{MetricSpeed, measure_aupro, measure_auroc};
pub use predict::{PredictSpeed, measure_predict};
pub use synthesis_speed::{SynthesisSpeed, measure_synthesis};
