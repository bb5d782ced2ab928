//! From the scores of a detector to verdicts on parts.
//!
//! A detector learns from good images and gives a new one a score without a unit. Good images that
//! it did not learn from give the score a meaning: [`GoodScores`] has the threshold that a wanted
//! share of good parts exceeds, with a guarantee, and [`Calibration`] is what a model keeps of it.
//! [`regions`] names the places of a map above the threshold, and a [`Profile`] tells when an image
//! does not look like those that the detector learnt from.
//!
//! Modules in reading order: `conformal`, `misses`, `calibration`, `region`, `region_scanner` and
//! `overview` (large maps, row by row), `inspection`; then `warning` (traits), `look`, `thumbnail`,
//! `limits`, `profile` and `series`; last `still`, which proposes a region of interest.

mod calibration;
mod conformal;
mod error;
mod inspection;
mod limits;
mod look;
mod misses;
mod overview;
mod profile;
mod region;
mod region_scanner;
mod series;
mod still;
mod thumbnail;
mod warning;

pub use calibration::{Basis, Calibration, HeldOut, KnownImages, Procedure, SyntheticDefects, Threshold};
pub use conformal::{GoodScores, check_count, check_rate, images_for};
pub use error::InspectionError;
pub use inspection::{Inspection, Outcome};
pub use look::Look;
pub use misses::threshold_for_misses;
pub use overview::Overview;
pub use profile::Profile;
pub use region::{Region, regions};
pub use region_scanner::RegionScanner;
pub use series::{Series, Shift};
pub use still::{LEAST_STILL_IMAGES, StillArea, StillProposal, StillReason};
pub use warning::{Trait, Warning};
