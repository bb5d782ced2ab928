use std::fmt;
use std::str::FromStr;

use fmam_core::Seed;
use fmam_inspection::check_rate;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::ExperimentError;

/// The share of the good images that is held out where nothing else is said.
const SHARE: f64 = 0.2;

/// From this number of good images on, at least [`LEAST_HELD_OUT`] are held out.
const MANY: usize = 30;
const LEAST_HELD_OUT: usize = 10;

/// The parts of a cross-fit where nothing else is said.
const FOLDS: usize = 5;

/// The good images that calibrate a detector.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CalibrationMode {
    /// None: the detector learns from all images and has no threshold.
    Off,
    /// [`CrossFit`](Self::CrossFit) for a method that does not train, and so is fitted in seconds;
    /// [`HoldOut`](Self::HoldOut) for one that trains.
    #[default]
    Auto,
    /// A part of the images, from which the detector does not learn.
    HoldOut {
        /// The share of the images, between 0 and 1.
        share: f64,
    },
    /// All images: each is scored by a detector that is fitted without the part that it is in. The
    /// detector itself learns from all.
    CrossFit {
        /// The number of parts, at least 2.
        folds: usize,
    },
}

/// A text is no mode of calibration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no calibration; use auto, off, hold-out, hold-out=20%, cross-fit or cross-fit=5")]
pub struct ModeError {
    text: String,
}

impl FromStr for CalibrationMode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let error = || ModeError { text: text.to_owned() };
        match text.split_once('=') {
            None => match text {
                "off" => Ok(Self::Off),
                "auto" => Ok(Self::Auto),
                "hold-out" => Ok(Self::HoldOut { share: SHARE }),
                "cross-fit" => Ok(Self::CrossFit { folds: FOLDS }),
                _ => Err(error()),
            },
            Some(("hold-out", share)) => {
                let percent = share.strip_suffix('%').ok_or_else(error)?;
                let share = percent.trim().parse::<f64>().map_err(|_| error())? / 100.0;
                if share > 0.0 && share < 1.0 { Ok(Self::HoldOut { share }) } else { Err(error()) }
            }
            Some(("cross-fit", folds)) => {
                let folds = folds.parse().ok().filter(|folds| *folds >= 2).ok_or_else(error)?;
                Ok(Self::CrossFit { folds })
            }
            Some(_) => Err(error()),
        }
    }
}

impl TryFrom<String> for CalibrationMode {
    type Error = ModeError;

    fn try_from(text: String) -> Result<Self, ModeError> {
        text.parse()
    }
}

impl From<CalibrationMode> for String {
    fn from(mode: CalibrationMode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for CalibrationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            // Rounded, since 100 times 0.07 is not 7.
            Self::HoldOut { share } => write!(f, "hold-out={}%", (1e10_f64 * share).round() / 1e8),
            Self::CrossFit { folds } => write!(f, "cross-fit={folds}"),
        }
    }
}

/// The calibration of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// The images that calibrate.
    pub mode: CalibrationMode,
    /// The rate of false alarms that the threshold is for, between 0 and 1.
    pub false_alarms: f64,
}

impl Default for CalibrationConfig {
    /// One per cent of false alarms.
    fn default() -> Self {
        Self { mode: CalibrationMode::default(), false_alarms: 0.01 }
    }
}

impl CalibrationConfig {
    /// No calibration, as the protocols of the field have it: a detector learns from all images.
    pub const OFF: Self = Self { mode: CalibrationMode::Off, false_alarms: 0.01 };

    /// # Errors
    /// [`ExperimentError::Inspection`] for a rate that is not between 0 and 1.
    pub(crate) fn check(&self) -> Result<(), ExperimentError> {
        Ok(check_rate(self.false_alarms)?)
    }
}

impl CalibrationMode {
    /// The plan for a method that trains or not; `None` without a calibration.
    pub(crate) fn plan(self, trains: bool) -> Option<Plan> {
        Some(match self {
            Self::Off => return None,
            Self::Auto if trains => Plan::HoldOut { share: SHARE },
            Self::Auto => Plan::CrossFit { folds: FOLDS },
            Self::HoldOut { share } => Plan::HoldOut { share },
            Self::CrossFit { folds } => Plan::CrossFit { folds },
        })
    }
}

/// A [`CalibrationMode`] for a method that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plan {
    HoldOut { share: f64 },
    CrossFit { folds: usize },
}

impl Plan {
    /// The number of images of `n` that the detector learns from.
    pub(crate) fn n_learnt(self, n: usize) -> usize {
        match self {
            Self::HoldOut { share } => n - n_held_out(n, share),
            Self::CrossFit { .. } => n,
        }
    }

    /// The least number of images of which every detector of the calibration learns from
    /// `min_images`. One image alone cannot be learnt from and scored.
    pub(super) fn images_needed(self, min_images: usize) -> usize {
        (2..MAX_NEEDED).find(|&n| self.least_learnt(n) >= min_images).unwrap_or(MAX_NEEDED)
    }

    /// The least number of images of `n` that a detector of the calibration learns from.
    fn least_learnt(self, n: usize) -> usize {
        match self {
            Self::HoldOut { .. } => self.n_learnt(n),
            Self::CrossFit { folds } => n - n.div_ceil(folds.min(n).max(1)),
        }
    }

    /// The positions of the images that are scored: one part for hold-out, all images in several
    /// parts for cross-fit. Each part is sorted.
    pub(super) fn parts(self, n: usize, seed: Seed) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut seed.derive("calibration").rng());
        let mut parts = match self {
            Self::HoldOut { share } => {
                order.truncate(n_held_out(n, share));
                vec![order]
            }
            Self::CrossFit { folds } => {
                let folds = folds.min(n).max(1);
                (0..folds).map(|part| order.iter().copied().skip(part).step_by(folds).collect()).collect()
            }
        };
        parts.iter_mut().for_each(|part| part.sort_unstable());
        parts
    }
}

/// No share is so large that more images were needed.
const MAX_NEEDED: usize = 1_000_000;

/// The number of images of `n` that are held out.
fn n_held_out(n: usize, share: f64) -> usize {
    let least = if n >= MANY { LEAST_HELD_OUT } else { 1 };
    ((share * n as f64).round() as usize).max(least).min(n.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for text in ["off", "auto", "hold-out=20%", "hold-out=7%", "hold-out=12.5%", "cross-fit=5"] {
            assert_eq!(text.parse::<CalibrationMode>().unwrap().to_string(), text);
        }
        assert_eq!("hold-out".parse(), Ok(CalibrationMode::HoldOut { share: 0.2 }));
        for text in ["", "on", "hold-out=20", "hold-out=0%", "hold-out=100%", "cross-fit=1", "auto=1"] {
            assert!(text.parse::<CalibrationMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fifth_is_held_out_and_ten_of_thirty() {
        let counts = [2, 3, 10, 29, 30, 49, 50, 60, 320].map(|n| n_held_out(n, SHARE));
        assert_eq!(counts, [1, 1, 2, 6, 10, 10, 10, 12, 64]);
        assert_eq!([0, 1].map(|n| n_held_out(n, SHARE)), [0, 0]);
    }

    #[test]
    fn every_image_is_in_one_part_and_the_seed_decides_in_which() {
        let plan = |trains| CalibrationMode::Auto.plan(trains).unwrap();
        let split = |trains, seed| plan(trains).parts(23, Seed::new(seed));
        let parts = split(false, 1);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..23).collect::<Vec<_>>());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 4, 4]);
        assert_eq!(split(false, 1), split(false, 1));
        assert_ne!(split(false, 1), split(false, 2));
        let [held_out] = &split(true, 1)[..] else { panic!("no hold-out") };
        assert_eq!(held_out.len(), 5);
        let learnt = [(true, 23), (false, 23), (true, 0)].map(|(trains, n)| plan(trains).n_learnt(n));
        assert_eq!(learnt, [18, 23, 0]);
        // Fewer images than parts: each is a part of its own.
        assert_eq!(plan(false).parts(3, Seed::new(0)).len(), 3);
        assert_eq!(CalibrationMode::Off.plan(true), None);
    }

    #[test]
    fn the_least_part_is_what_the_first_detectors_learn_from() {
        for (plan, learnt) in [
            (Plan::HoldOut { share: 0.5 }, [1, 1, 12, 20]),
            (Plan::CrossFit { folds: 5 }, [1, 2, 19, 32]),
            (Plan::CrossFit { folds: 2 }, [1, 1, 12, 20]),
        ] {
            assert_eq!([2, 3, 24, 40].map(|n| plan.least_learnt(n)), learnt, "{plan:?}");
        }
    }

    #[test]
    fn every_calibration_needs_an_image_that_its_detector_has_not_seen() {
        for (plan, needed) in [
            (Plan::HoldOut { share: 0.2 }, [2, 3, 25]),
            (Plan::HoldOut { share: 0.5 }, [2, 4, 40]),
            (Plan::CrossFit { folds: 5 }, [2, 3, 25]),
        ] {
            assert_eq!([1, 2, 20].map(|n| plan.images_needed(n)), needed, "{plan:?}");
        }
    }
}
