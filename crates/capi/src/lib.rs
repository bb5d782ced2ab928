//! The C library `libfmam`: a detector is loaded from its folder, scores pixels, and gives
//! verdicts.
//!
//! Every function is safe to call with any pointer that is null or points to what its documentation
//! says. A null pointer, a size that overflows, or a value that is no constant of the header is an
//! error, not undefined behaviour. A panic of the library ends at this border as
//! [`FmamStatus::Bug`]. This crate must not know how a call does its work.
//!
//! Modules in reading order: `status` (codes and the message of the last error), `pixels` (pixels
//! of the caller), `detector`, `verdict`. `include/fmam.h` is made of this crate by cbindgen; a
//! test compares both.

#![allow(unsafe_code, reason = "functions that C calls take pointers; each block has its argument")]

mod detector;
mod pixels;
mod status;
mod verdict;

pub use detector::{FmamDetector, fmam_detector_free, fmam_detector_load, fmam_detector_predict};
pub use pixels::{FMAM_BGR, FMAM_GREY, FMAM_RGB, FMAM_RGBA, FmamPixels};
pub use status::{FmamStatus, fmam_last_error, fmam_version};
pub use verdict::{FMAM_DEFECT, FMAM_OK, FMAM_UNKNOWN, FmamRegion, FmamVerdict, fmam_verdict_free};
