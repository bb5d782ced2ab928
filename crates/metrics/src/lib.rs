//! Figures of merit for anomaly detection, on host slices: AUROC, average precision, best F1,
//! AUPRO, rates at a fixed threshold with Wilson intervals, and the two analyses of feature space
//! (bias and variance, separability). Slices in, numbers out.
//!
//! Scores are f32, higher is more anomalous, infinities allowed. Labels and masks are u8: 0 normal,
//! 1 anomalous. Everything is exact: every distinct score is a threshold, equal scores (0.0 and
//! -0.0 among them) form one step. A figure that is not defined for its input is an error, never an
//! invented value.
//!
//! [`Ranking`] sorts the scores once and answers everything that needs their order;
//! [`PixelRanking`] adds the ground-truth regions, and [`PixelBuilder`] makes one of maps that come
//! one by one, in bounded memory. The free functions serve whoever wants a single figure. This
//! crate knows no images, tensors or files: scores beyond a memory budget go to a stream of the
//! caller.
//!
//! ```
//! use fmam_metrics::{MetricError, auroc, pixel_metrics, Ranking};
//!
//! // Image level: one score and one label an image.
//! let (scores, labels) = ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
//! assert_eq!(auroc(&scores, &labels)?, 0.75);
//! let ranking = Ranking::new(&scores, &labels)?;
//! assert_eq!(ranking.f1_max().threshold, 0.35);
//!
//! // Pixel level: one map and one mask an image, here two images of 2x3 pixels, the second without a defect.
//! let maps = [vec![0.1, 0.2, 0.9, 0.1, 0.3, 0.8], vec![0.1, 0.1, 0.2, 0.2, 0.1, 0.4]];
//! let masks = [vec![0, 0, 1, 0, 0, 1], vec![0; 6]];
//! let pixels = pixel_metrics(maps.iter().zip(&masks), 2, 3, fmam_metrics::FPR_LIMIT)?;
//! assert_eq!(pixels.auroc, 1.0);
//!
//! // One class only: no AUROC.
//! assert_eq!(auroc(&[0.1, 0.2], &[0, 0]), Err(MetricError::NoAnomalous));
//! # Ok::<(), MetricError>(())
//! ```
//!
//! [`METRICS`] is the table of the metrics that a run is judged by; a new one is a file in `metric`
//! and a line in the table.
//!
//! Modules in reading order: `radix` (order-preserving keys and their sort), `ranking`, `curve`,
//! `region` (8-connected components), `runs` (sorted keys in a stream), `merge`, `ranked` (pixels
//! in memory or in runs), `summary` (all pixel figures in a walk), `pixel`, `pixel_builder`,
//! `normal` (quantiles), `proportion` (rates and their intervals), `confusion` (a fixed threshold),
//! `evaluated` (a test split), `metric` (the table), `feature`, `separability`.

mod confusion;
mod curve;
mod error;
mod evaluated;
mod feature;
mod merge;
mod metric;
mod normal;
mod pixel;
mod pixel_builder;
mod proportion;
mod radix;
mod ranked;
mod ranking;
mod region;
mod runs;
mod separability;
mod summary;

pub use confusion::{Confusion, f1_of_jaccard};
pub use curve::{PrecisionRecallPoint, RocPoint, precision_recall_curve, roc_curve};
pub use error::{MetricError, SpillError};
pub use evaluated::Evaluated;
pub use feature::{BiasVariance, bias_variance};
pub use metric::{AUPRO, IMAGE_AUROC, IntervalFn, Level, METRICS, MetricEntry, PIXEL_AUROC};
pub use pixel::{PixelRanking, aupro, pixel_metrics};
pub use pixel_builder::PixelBuilder;
pub use proportion::{CONFIDENCE, Proportion, wilson};
pub use radix::Score;
pub use ranking::{BestF1, Cut, Ranking, auroc, average_precision, f1_max};
pub use region::components;
pub use separability::{Separability, density, separability};
pub use summary::{CURVE_STEP, FPR_LIMIT, N_BINS, PixelMetrics, PixelSummary, ScoreHistogram};
