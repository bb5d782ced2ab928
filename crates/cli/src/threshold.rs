//! Options that override the threshold of a model.

use fmam::{Detector, Error, Threshold, threshold_in_use};

use crate::rate::Rate;

#[derive(clap::Args)]
pub(crate) struct ThresholdArgs {
    /// Share of good parts that may be called defective, such as 0.1% or 0.001, instead of the
    /// model's
    #[arg(long, value_name = "RATE", conflicts_with = "threshold")]
    false_alarms: Option<Rate>,
    /// An image is a defect where its score is above this number, instead of the model's threshold
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
}

impl ThresholdArgs {
    /// The detector with the threshold asked for.
    ///
    /// # Errors
    /// As [`ThresholdArgs::of`]; [`Error::Uncalibrated`] for a detector without scores of good
    /// images.
    pub(crate) fn on(&self, detector: Detector) -> Result<Detector, Error> {
        if self.false_alarms.is_none() && self.threshold.is_none() {
            return Ok(detector);
        }
        match (self.of(&detector)?, detector.calibration().cloned()) {
            (Some(threshold), Some(calibration)) => {
                Ok(detector.with_calibration(calibration.with_threshold(threshold)))
            }
            _ => Err(Error::Uncalibrated),
        }
    }

    /// The threshold in use; `None` for a detector that has none.
    pub(crate) fn of(&self, detector: &Detector) -> Result<Option<Threshold>, Error> {
        let rate = self.false_alarms.map(|Rate(rate)| rate);
        threshold_in_use(detector.calibration(), rate, self.threshold)
    }
}
