use std::fmt;
use std::str::FromStr;

use fmam_core::Seed;
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
        let rate = self.false_alarms;
        if rate > 0.0 && rate < 1.0 {
            Ok(())
        } else {
            Err(fmam_inspection::InspectionError::Rate { rate }.into())
        }
    }

    /// The mode for a method that trains or not, which is not [`CalibrationMode::Auto`].
    fn resolved(&self, trains: bool) -> CalibrationMode {
        match self.mode {
            CalibrationMode::Auto if trains => CalibrationMode::HoldOut { share: SHARE },
            CalibrationMode::Auto => CalibrationMode::CrossFit { folds: FOLDS },
            mode => mode,
        }
    }

    /// The number of images of `n` that the detector learns from.
    pub(crate) fn n_learnt(&self, n: usize, trains: bool) -> usize {
        match self.resolved(trains) {
            CalibrationMode::HoldOut { share } => n - n_held_out(n, share),
            CalibrationMode::Off | CalibrationMode::Auto | CalibrationMode::CrossFit { .. } => n,
        }
    }

    /// The split of `n` images, for a method that trains or not.
    pub(crate) fn split(&self, n: usize, trains: bool, seed: Seed) -> Split {
        let mode = self.resolved(trains);
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut seed.derive("calibration").rng());
        match mode {
            CalibrationMode::Off | CalibrationMode::Auto => Split::None,
            CalibrationMode::HoldOut { share } => {
                let mut held_out = order;
                held_out.truncate(n_held_out(n, share));
                held_out.sort_unstable();
                Split::HoldOut { held_out }
            }
            CalibrationMode::CrossFit { folds } => {
                let folds = folds.min(n);
                let mut parts = vec![Vec::new(); folds];
                for (position, index) in order.into_iter().enumerate() {
                    parts[position % folds.max(1)].push(index);
                }
                parts.iter_mut().for_each(|part| part.sort_unstable());
                Split::CrossFit { parts }
            }
        }
    }
}

/// The number of images of `n` that are held out.
pub(super) fn n_held_out(n: usize, share: f64) -> usize {
    let least = if n >= MANY { LEAST_HELD_OUT } else { 1 };
    ((share * n as f64).round() as usize).max(least).min(n.saturating_sub(1))
}

/// Positions of images, each list sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Split {
    None,
    HoldOut { held_out: Vec<usize> },
    CrossFit { parts: Vec<Vec<usize>> },
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
        let config = CalibrationConfig::default();
        let split = |trains, seed| config.split(23, trains, Seed::new(seed));
        let Split::CrossFit { parts } = split(false, 1) else { panic!("no cross-fit") };
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..23).collect::<Vec<_>>());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 4, 4]);
        assert_eq!(split(false, 1), split(false, 1));
        assert_ne!(split(false, 1), split(false, 2));
        let Split::HoldOut { held_out } = split(true, 1) else { panic!("no hold-out") };
        assert_eq!(held_out.len(), 5);
        let learnt = [(true, 23), (false, 23), (true, 0)].map(|(trains, n)| config.n_learnt(n, trains));
        assert_eq!(learnt, [18, 23, 0]);
        // Fewer images than parts: each is a part of its own.
        let Split::CrossFit { parts } = config.split(3, false, Seed::new(0)) else { panic!("no cross-fit") };
        assert_eq!(parts.len(), 3);
        assert_eq!(CalibrationConfig::OFF.split(23, true, Seed::new(0)), Split::None);
    }
}
