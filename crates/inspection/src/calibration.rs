//! The knowledge of a detector about its own scores on good images.

use serde::{Deserialize, Serialize};

use crate::conformal::check_rate;
use crate::{GoodScores, InspectionError, Profile};

/// The way in which the images were kept from the detector that scored them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// The detector did not learn from them: its rate of false alarms is guaranteed.
    HoldOut,
    /// Each was scored by a detector that was fitted without it, and the detector itself learnt
    /// from all of them. Every image counts, but the guarantee holds only as far as the detectors
    /// score alike.
    CrossFit,
}

/// The reason for a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Basis {
    /// A rate of false alarms, from held-out good images.
    FalseAlarms {
        /// The rate that was asked for.
        asked: f64,
        /// The rate that the threshold promises; above `asked` where there were too few images.
        promised: f64,
    },
    /// A rate of misses, from images with defects.
    Misses {
        /// The rate that was asked for.
        asked: f64,
        /// Images with defects that it was chosen on.
        n_defects: usize,
    },
    /// A number that somebody chose.
    Given,
}

impl Basis {
    /// The rate of false alarms that the threshold promises; `None` for one without such a promise.
    pub fn promised_false_alarms(&self) -> Option<f64> {
        match *self {
            Self::FalseAlarms { promised, .. } => Some(promised),
            Self::Misses { .. } | Self::Given => None,
        }
    }
}

/// A limit of image scores, and the limit of map scores that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// An image is defective where its score is above this.
    pub score: f32,
    /// A pixel belongs to a region where its map score is above this. It is `score` for a method
    /// whose image score is the largest of its map.
    pub contour: f32,
    /// The reason for it.
    #[serde(flatten)]
    pub basis: Basis,
}

/// Synthetic defects on held-out good images, and how many of them score above the threshold. Real
/// defects may be easier or harder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntheticDefects {
    /// Images that score above the threshold.
    pub caught: usize,
    /// Images with a synthetic defect.
    pub of: usize,
}

/// The scores of a detector on good images that it did not learn from, and what follows of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Calibration {
    stored: Stored,
    scores: GoodScores,
    peaks: GoodScores,
}

/// [`Calibration`] as a model keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    procedure: Procedure,
    /// A typical score of a pixel of a good image.
    typical: f32,
    scores: Vec<f32>,
    peaks: Vec<f32>,
    threshold: Threshold,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    synthetic: Option<SyntheticDefects>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images: Option<Profile>,
    #[serde(default)]
    known: KnownImages,
}

/// Digests of the images that a detector knows: their scores say nothing about new parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnownImages {
    /// Images that it learnt from.
    pub learnt: Vec<String>,
    /// Other images that it was calibrated on.
    pub calibrated: Vec<String>,
}

/// A calibration as it is read from a model, which somebody may have edited.
impl TryFrom<Stored> for Calibration {
    type Error = InspectionError;

    fn try_from(stored: Stored) -> Result<Self, InspectionError> {
        let calibration = Self::of(stored)?;
        let kept = calibration.threshold();
        if let Some(threshold) = [kept.score, kept.contour].into_iter().find(|limit| !limit.is_finite()) {
            return Err(InspectionError::Threshold { threshold });
        }
        if let Basis::Misses { asked, .. } = kept.basis {
            check_rate(asked)?;
        }
        if let Basis::FalseAlarms { asked, .. } = kept.basis {
            let right = calibration.at_rate_or_least(asked)?;
            if right != kept {
                return Err(InspectionError::OtherThreshold { kept: kept.score, right: right.score });
            }
        }
        Ok(calibration)
    }
}

impl From<Calibration> for Stored {
    fn from(calibration: Calibration) -> Self {
        calibration.stored
    }
}

/// The scores of one image that the detector did not learn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut {
    /// The image score.
    pub score: f32,
    /// The largest score of the map.
    pub peak: f32,
    /// The median score of the map.
    pub typical: f32,
}

impl Calibration {
    /// The calibration of `stored`, whatever its threshold.
    fn of(stored: Stored) -> Result<Self, InspectionError> {
        let (scores, peaks) =
            (GoodScores::new(stored.scores.clone())?, GoodScores::new(stored.peaks.clone())?);
        if scores.count() != peaks.count() {
            return Err(InspectionError::Unpaired { scores: scores.count(), peaks: peaks.count() });
        }
        let typical = stored.typical;
        if !typical.is_finite() {
            return Err(InspectionError::Typical { typical });
        }
        Ok(Self { stored, scores, peaks })
    }

    /// The calibration by the scores of good images, with the threshold of the rate of false alarms
    /// `rate`, or of the least rate above it that so many images promise.
    ///
    /// # Errors
    /// [`InspectionError::NoScores`], [`InspectionError::NotFinite`], [`InspectionError::Typical`],
    /// [`InspectionError::Rate`].
    pub fn new(procedure: Procedure, images: &[HeldOut], rate: f64) -> Result<Self, InspectionError> {
        check_rate(rate)?;
        let mut typical: Vec<f32> = images.iter().map(|image| image.typical).collect();
        typical.sort_by(f32::total_cmp);
        let threshold = Threshold { score: 0.0, contour: 0.0, basis: Basis::Given };
        let mut calibration = Self::of(Stored {
            procedure,
            typical: typical.get(typical.len() / 2).copied().unwrap_or_default(),
            scores: images.iter().map(|image| image.score).collect(),
            peaks: images.iter().map(|image| image.peak).collect(),
            threshold,
            synthetic: None,
            images: None,
            known: KnownImages::default(),
        })?;
        calibration.stored.threshold = calibration.at_rate_or_least(rate)?;
        Ok(calibration)
    }

    /// The way in which the images were kept from the detector that scored them.
    pub fn procedure(&self) -> Procedure {
        self.stored.procedure
    }

    /// The scores of the good images.
    pub fn scores(&self) -> &GoodScores {
        &self.scores
    }

    /// The threshold of the detector.
    pub fn threshold(&self) -> Threshold {
        self.stored.threshold
    }

    /// Puts `threshold` in the place of the detector's. The outcome of a trial on synthetic defects
    /// is forgotten where the threshold differs.
    #[must_use]
    pub fn with_threshold(mut self, threshold: Threshold) -> Self {
        if threshold.score.to_bits() != self.stored.threshold.score.to_bits() {
            self.stored.synthetic = None;
        }
        self.stored.threshold = threshold;
        self
    }

    /// The synthetic defects that the threshold was tried on.
    pub fn synthetic(&self) -> Option<SyntheticDefects> {
        self.stored.synthetic
    }

    /// Keeps how many of the image scores `defects`, of good images with a synthetic defect each,
    /// are above the threshold.
    #[must_use]
    pub fn tried_on(mut self, defects: &[f32]) -> Self {
        let limit = self.threshold().score;
        let caught = defects.iter().filter(|score| **score > limit).count();
        self.stored.synthetic = Some(SyntheticDefects { caught, of: defects.len() });
        self
    }

    /// The looks of the training images.
    pub fn images(&self) -> Option<&Profile> {
        self.stored.images.as_ref()
    }

    /// Keeps the looks of the training images.
    #[must_use]
    pub fn with_images(mut self, images: Option<Profile>) -> Self {
        self.stored.images = images;
        self
    }

    /// The images that the detector knows.
    pub fn known(&self) -> &KnownImages {
        &self.stored.known
    }

    /// Keeps the images that the detector knows.
    #[must_use]
    pub fn with_known(mut self, known: KnownImages) -> Self {
        self.stored.known = known;
        self
    }

    /// The scores of more good images beside those that are there, and the threshold of the rate of
    /// false alarms `rate`, or of the least rate above it that so many images promise.
    ///
    /// # Errors
    /// As [`Calibration::new`].
    pub fn extended(&self, images: &[HeldOut], rate: f64) -> Result<Self, InspectionError> {
        check_rate(rate)?;
        let mut stored = self.stored.clone();
        stored.scores.extend(images.iter().map(|image| image.score));
        stored.peaks.extend(images.iter().map(|image| image.peak));
        let mut extended = Self::of(Stored { synthetic: None, ..stored })?;
        extended.stored.threshold = extended.at_rate_or_least(rate)?;
        Ok(extended)
    }

    /// The threshold of a rate of false alarms.
    ///
    /// # Errors
    /// As [`GoodScores::threshold`].
    pub fn at_rate(&self, rate: f64) -> Result<Threshold, InspectionError> {
        let basis = Basis::FalseAlarms { asked: rate, promised: rate };
        let score = self.scores.threshold(rate)?;
        Ok(Threshold { score, contour: self.peaks.threshold(rate)?, basis })
    }

    /// The threshold of a rate of false alarms, or of the least rate that the images promise.
    ///
    /// # Errors
    /// [`InspectionError::Rate`].
    pub fn at_rate_or_least(&self, rate: f64) -> Result<Threshold, InspectionError> {
        match self.at_rate(rate) {
            Err(InspectionError::TooFewImages { least, .. }) => Ok(Threshold {
                score: self.scores.highest(),
                contour: self.peaks.highest(),
                basis: Basis::FalseAlarms { asked: rate, promised: least },
            }),
            threshold => threshold,
        }
    }

    /// The threshold `score`. Its contour is the limit that as many maps of good images exceed as
    /// scores exceed `score`.
    ///
    /// # Errors
    /// [`InspectionError::Threshold`] for a number that is not finite.
    pub fn at_score(&self, score: f32, basis: Basis) -> Result<Threshold, InspectionError> {
        if !score.is_finite() {
            return Err(InspectionError::Threshold { threshold: score });
        }
        let above = self.scores.sorted().iter().filter(|known| **known > score).count();
        let contour = if self.stored.scores == self.stored.peaks {
            score
        } else {
            let n = self.peaks.count();
            self.peaks.sorted()[n - 1 - above.min(n - 1)]
        };
        Ok(Threshold { score, contour, basis })
    }

    /// The map scores that the colours of pictures cover, lowest and highest. The lowest is that of
    /// a typical pixel of a good image, and the contour of the detector's threshold lies in the
    /// middle, so that an image has the same colours in every call and a good one is calm.
    pub fn colour_range(&self) -> (f32, f32) {
        let Stored { typical, threshold, .. } = &self.stored;
        let highest = typical + 2.0 * (threshold.contour - typical).max(0.0);
        // Scores of nearly the largest f32 have no number in their middle.
        (*typical, highest.min(f32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_out(scores: &[f32]) -> Vec<HeldOut> {
        scores.iter().map(|&score| HeldOut { score, peak: 10.0 * score, typical: 0.5 * score }).collect()
    }

    #[test]
    fn a_rate_that_few_images_cannot_promise_becomes_the_least_one() {
        let images = held_out(&[3.0, 1.0, 2.0, 4.0]);
        let calibration = Calibration::new(Procedure::HoldOut, &images, 0.01).unwrap();
        let Threshold { score, contour, basis } = calibration.threshold();
        assert_eq!((score, contour), (4.0, 40.0));
        assert_eq!(basis, Basis::FalseAlarms { asked: 0.01, promised: 0.2 });
        assert!(matches!(calibration.at_rate(0.01), Err(InspectionError::TooFewImages { needed: 99, .. })));
        assert_eq!(calibration.at_rate(0.4).unwrap().score, 3.0);
        // The contour lies in the middle of the colours.
        let (low, high) = calibration.colour_range();
        assert_eq!((low, (low + high) / 2.0), (1.5, 40.0));
    }

    #[test]
    fn the_contour_of_a_given_score_is_as_rare_as_the_score() {
        let calibration =
            Calibration::new(Procedure::HoldOut, &held_out(&[1.0, 2.0, 3.0, 4.0]), 0.5).unwrap();
        let contour = |score| calibration.at_score(score, Basis::Given).unwrap().contour;
        assert_eq!([0.5, 1.0, 2.5, 4.0, 9.0].map(contour), [10.0, 10.0, 20.0, 40.0, 40.0]);
        assert!(calibration.at_score(f32::NAN, Basis::Given).is_err());
        let same: Vec<_> = [1.0, 2.0].map(|score| HeldOut { score, peak: score, typical: 0.0 }).into();
        let calibration = Calibration::new(Procedure::HoldOut, &same, 0.5).unwrap();
        assert_eq!(calibration.at_score(1.7, Basis::Given).unwrap().contour, 1.7);
    }

    #[test]
    fn more_good_images_make_a_lower_rate_possible() {
        let few = Calibration::new(Procedure::HoldOut, &held_out(&[1.0; 9]), 0.05).unwrap();
        let more = few.extended(&held_out(&[0.5; 10]), 0.05).unwrap();
        assert_eq!(more.threshold().basis, Basis::FalseAlarms { asked: 0.05, promised: 0.05 });
        let text = serde_json::to_string(&more).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), more);
        let damaged = text.replacen("0.5", "null", 1);
        assert!(serde_json::from_str::<Calibration>(&damaged).is_err());
        for (from, to) in [("\"score\":1.0", "\"score\":0.9"), ("\"promised\":0.05", "\"promised\":0.01")] {
            let edited = text.replacen(from, to, 1);
            let error = serde_json::from_str::<Calibration>(&edited).unwrap_err().to_string();
            assert!(edited != text && error.contains("it was edited"), "{from}: {error}");
        }
        // Every image would be `ok` at such a threshold.
        let mut stored = Stored::from(more);
        stored.threshold.score = f32::INFINITY;
        assert!(matches!(Calibration::try_from(stored), Err(InspectionError::Threshold { .. })));
    }

    #[test]
    fn numbers_that_a_verdict_or_a_picture_needs_are_finite() {
        let images = held_out(&[1.0, 2.0, 3.0]);
        let good = Calibration::new(Procedure::HoldOut, &images, 0.5).unwrap();
        let read = |edit: fn(&mut Stored)| {
            let mut stored = Stored::from(good.clone());
            edit(&mut stored);
            // As a card has it: JSON has no such numbers.
            let text = toml::to_string(&stored).unwrap();
            toml::from_str::<Calibration>(&text).map_err(|error| error.to_string())
        };
        assert!(read(|_| {}).is_ok());
        for typical in [f32::NAN, f32::INFINITY] {
            let images = [HeldOut { typical, ..images[0] }];
            let error = Calibration::new(Procedure::HoldOut, &images, 0.5).unwrap_err();
            assert!(matches!(error, InspectionError::Typical { .. }), "{error}");
        }
        let error = read(|stored| stored.typical = f32::NAN).unwrap_err();
        assert!(error.contains("typical score of a pixel is NaN"), "{error}");
        let asked = |asked| Basis::Misses { asked, n_defects: 9 };
        let error = read(|stored| stored.threshold.basis = Basis::Misses { asked: f64::NAN, n_defects: 9 });
        assert!(error.unwrap_err().contains("NaN is not a rate"));
        let misses = good.clone().with_threshold(good.at_score(2.0, asked(0.1)).unwrap());
        assert!(Calibration::try_from(Stored::from(misses)).is_ok());
    }

    #[test]
    fn the_colours_of_the_largest_scores_are_finite() {
        let images = [f32::MIN, f32::MAX].map(|peak| HeldOut { score: peak, peak, typical: f32::MIN / 2.0 });
        let (low, high) = Calibration::new(Procedure::HoldOut, &images, 0.1).unwrap().colour_range();
        assert!(low.is_finite() && high.is_finite() && low < high, "{low} to {high}");
    }
}
