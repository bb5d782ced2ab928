//! The calibration of detectors: good images that a detector did not learn from give its scores a
//! meaning. `config` says which images those are, `fit` fits and calibrates, `good_scores` scores
//! images for it, with synthetic defects in a `window` of large ones. `keep` says what an
//! interrupted fit goes on from.

mod config;
mod fit;
mod good_scores;
mod keep;
mod seen;
mod window;

pub use config::{CalibrationConfig, CalibrationMode, ModeError};
pub use fit::{CalibratedFit, fit_calibrated, images_needed};
pub use good_scores::{DefectTrial, GoodScored, score_good};
pub use keep::KeepTraining;
pub(crate) use seen::RowsDigest;
pub use seen::image_digest;
