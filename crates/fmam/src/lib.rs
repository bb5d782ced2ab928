//! Industrial image anomaly detection: fit a [`Detector`] to images without defects, and it gives a
//! verdict on others, good or defective, and says where.
//!
//! Fit, save, load, and predict on pixels in memory:
//!
//! ```
//! use fmam::{Fit, ImageSize, RgbImage, Session};
//!
//! let session = Session::new()?;
//! let size = ImageSize::square(64);
//! let board = |shade: u8| RgbImage::from_fn(size, |y, x| [shade, y as u8, x as u8]);
//!
//! // Eight good images, a part of which sets the threshold. Without `Fit::backbone` and its like the
//! // defaults are those of the paper.
//! let good = (0..8).map(|n| board(100 + n));
//! let fit = Fit::new().backbone("tiny").image_size(64).epochs(1);
//! let detector = session.fit(good, &fit)?;
//!
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let model = folder.path().join("model");
//! detector.save(&model)?;
//! let detector = session.load(&model)?;
//!
//! let mut scratched = board(104);
//! (10..50).for_each(|x| scratched.set_pixel(30, x, [255, 255, 255]));
//! for verdict in session.predict(&detector, [board(104), scratched]) {
//!     let verdict = verdict?;
//!     let Some(inspection) = verdict.inspection else { continue };
//!     let (outcome, places) = (inspection.outcome.name(), inspection.regions.len());
//!     println!("{}: {outcome} in {places} places", verdict.name);
//! }
//! # Ok::<(), fmam::Error>(())
//! ```
//!
//! An [`Image`] is a path, the bytes of a file, or pixels, of any size:
//! `session.predict(&detector, ["a.png", "b.jpg"])` reads files. A test split with its ground truth
//! gives figures of merit, [`Session::evaluate`]; a configuration of many methods, data sets and
//! seeds gives a study, [`Session::reproduce`].
//!
//! A [`Calibration`] is what the detector knows of its scores on good images that it did not learn
//! from. It gives the threshold of a rate of false alarms, with a guarantee
//! ([`GoodScores`]); [`Session::calibrate`] adds more good images later.
//!
//! The library prints nothing. Progress goes to a [`Progress`] of the caller, which also says when
//! to stop; every fault is an [`Error`] with the facts. This crate knows no command line: the
//! binary `fmam` is one program on top of it.
//!
//! Modules in reading order: [`Session`], [`Fit`], [`Image`], [`Verdict`], [`Loader`],
//! [`Recalibration`], [`Error`], [`DeviceChoice`], [`Setting`], [`propose_region`],
//! [`catalogue()`]; [`mod@reproduce`] (configurations in layers, the report that grows),
//! [`mod@report`] (figures), [`mod@input`] (images in folders, patterns, lists), [`mod@check`] (the
//! facts and faults of a data set),
//! [`mod@output`] (folders of single commands), [`mod@fetch`] (weights and data sets),
//! [`mod@measure`] (metrics of arrays, analysis, speed).

mod array_error;
mod calibrate;
mod catalogue;
pub mod check;
mod device;
mod error;
mod export;
pub mod fetch;
mod fit;
mod image;
pub mod input;
mod large;
mod loading;
pub mod measure;
pub mod output;
mod region;
pub mod report;
pub mod reproduce;
mod scoring;
mod session;
mod setting;
mod threshold;
mod verdict;
mod verdicts;
mod workers;

pub use array_error::ArrayError;
pub use calibrate::Recalibration;
pub use catalogue::{Kind, catalogue};
pub use device::DeviceChoice;
pub use error::{Error, one_line};
pub use fit::Fit;
pub use fmam_core::{
    AnomalyMap, ErrorKind, ImageSize, Label, Mask, MemorySource, MethodId, Placing, Preparation, Progress,
    Reading, RegionOfInterest, RgbImage, Sample, SampleSource, Seed, Silent, SizeError, Split, StageId,
    ValueRange, shown_line,
};
pub use fmam_datasets::{Category, Dataset};
pub use fmam_experiment::{
    Artist, CalibrationConfig, CalibrationMode, Evaluation, Evaluator, Experiment, ExperimentConfig,
    FinishedRuns, GridObserver, GridOutcome, InputConfig, KeepTraining, MethodTrial, Registry,
};
pub use fmam_inspection::{
    Basis, Calibration, GoodScores, HeldOut, Inspection, InspectionError, KnownImages, Look, Outcome,
    Procedure, Profile, Region, Series, Shift, StillReason, SyntheticDefects, Threshold, Trait, Warning,
    check_count, images_for, threshold_for_misses,
};
pub use fmam_methods::{Detector, Prediction};
pub use fmam_models::Precision;
pub use fmam_onnx::{InputSize, OnnxError};
pub use fmam_record::{EvaluationConfig, Findings, Resolution};
pub use fmam_synthesis::Textures;
pub use image::Image;
pub use loading::{LoadedImage, Loader};
pub use region::{RegionProposal, propose_region};
pub use session::{Session, SessionBuilder, category_name, preparation, textures};
pub use setting::{Setting, SettingError};
pub use threshold::threshold_in_use;
pub use verdict::Verdict;
pub use verdicts::Verdicts;
