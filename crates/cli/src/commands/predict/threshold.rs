use std::path::Path;

use anyhow::Result;
use fmam::{Basis, Detector, Error, InspectionError, Threshold};

/// Options that override the threshold of a model.
#[derive(clap::Args)]
pub(super) struct ThresholdArgs {
    /// Share of good images that may be called defective, such as 0.1% or 0.001, instead of the
    /// model's
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "threshold")]
    false_alarms: Option<f64>,
    /// An image is a defect where its score is above this number, instead of the model's threshold
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
}

/// A share as a fraction or in per cent.
fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(per_cent) => (per_cent, 100.0),
        None => (text, 1.0),
    };
    let rate = number.trim().parse::<f64>().map(|number| number / unit);
    rate.ok()
        .filter(|rate| *rate > 0.0 && *rate < 1.0)
        .ok_or_else(|| "a rate is a share such as 0.01 or 1%, above 0 and below 1".to_owned())
}

impl ThresholdArgs {
    /// The threshold in use; `None` for a detector that has none.
    pub(super) fn of(&self, detector: &Detector) -> Result<Option<Threshold>> {
        let calibration = detector.calibration();
        match (self.false_alarms, self.threshold, calibration) {
            (Some(rate), _, Some(calibration)) => Ok(Some(calibration.at_rate(rate).map_err(Error::from)?)),
            (Some(_), _, None) => Err(Error::Uncalibrated.into()),
            (None, Some(score), Some(calibration)) => {
                Ok(Some(calibration.at_score(score, Basis::Given).map_err(Error::from)?))
            }
            (None, Some(score), None) if score.is_finite() => {
                Ok(Some(Threshold { score, contour: score, basis: Basis::Given }))
            }
            (None, Some(threshold), None) => {
                Err(Error::Inspection(InspectionError::Threshold { threshold }).into())
            }
            (None, None, calibration) => Ok(calibration.map(fmam::Calibration::threshold)),
        }
    }
}

/// The threshold in use and its promise, or the way to one, as a line.
pub(super) fn promise(threshold: Option<Threshold>, detector: &Detector, model: &Path) -> String {
    let Some(Threshold { score, basis, .. }) = threshold else {
        return format!(
            "the model has no threshold, so there are scores and no verdicts; `fmam calibrate --model {} FOLDER` finds \
             one from good images",
            model.display()
        );
    };
    let n_good = detector.calibration().map(|calibration| calibration.scores().count());
    let by = match basis {
        Basis::FalseAlarms { asked, promised } => {
            let n = n_good.unwrap_or_default();
            let promise = format!("at most {} of good parts are called defective", per_cent(promised));
            if promised > asked {
                format!(
                    "{promise}, the least that {n} held-out good images promise ({} was asked for)",
                    per_cent(asked)
                )
            } else {
                format!("{promise}, by {n} held-out good images")
            }
        }
        Basis::Misses { asked, n_defects } => {
            format!("chosen for at most {} of misses on {n_defects} images with defects", per_cent(asked))
        }
        Basis::Given => "as given, without a promise".to_owned(),
    };
    format!("threshold {score}: {by}")
}

/// A share in per cent with at most two decimals.
fn per_cent(share: f64) -> String {
    let text = format!("{:.2}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_fraction_or_in_per_cent() {
        assert_eq!([rate("0.1%"), rate("0.001"), rate("5 %")], [Ok(0.001), Ok(0.001), Ok(0.05)]);
        for text in ["0", "1", "100%", "-1%", "x", "%", "nan", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!([0.01, 0.001, 0.0476, 0.5].map(per_cent), ["1 %", "0.1 %", "4.76 %", "50 %"]);
    }
}
