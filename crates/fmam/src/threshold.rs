//! The threshold that a call asks for.

use fmam_inspection::{Basis, Calibration, InspectionError, Threshold};

use crate::Error;

/// The threshold of the rate `false_alarms`, else that of `score`, else that of `calibration`,
/// which is the detector's; `None` where there is none of them.
///
/// # Errors
/// [`Error::Uncalibrated`] for a rate without a calibration; [`Error::Inspection`] for a rate that
/// the scores cannot promise, or a score that is no number.
pub fn threshold_in_use(
    calibration: Option<&Calibration>,
    false_alarms: Option<f64>,
    score: Option<f32>,
) -> Result<Option<Threshold>, Error> {
    match (false_alarms, score, calibration) {
        (Some(rate), _, Some(calibration)) => Ok(Some(calibration.at_rate(rate)?)),
        (Some(_), _, None) => Err(Error::Uncalibrated),
        (None, Some(score), Some(calibration)) => Ok(Some(calibration.at_score(score, Basis::Given)?)),
        (None, Some(score), None) if score.is_finite() => {
            Ok(Some(Threshold { score, contour: score, basis: Basis::Given }))
        }
        (None, Some(threshold), None) => Err(InspectionError::Threshold { threshold }.into()),
        (None, None, calibration) => Ok(calibration.map(Calibration::threshold)),
    }
}
