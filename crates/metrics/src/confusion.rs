//! The images of a test split by truth and by a fixed threshold.

use crate::ranking::separate;
use crate::{MetricError, Proportion, radix};

/// Counts of images by truth and by a threshold that was chosen before the labels were seen. An
/// image is found where its score is above the threshold, as in the verdict of a detector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Anomalous images above the threshold.
    pub true_positives: usize,
    /// Normal images above the threshold.
    pub false_positives: usize,
    /// Anomalous images at or below the threshold.
    pub false_negatives: usize,
    /// Normal images at or below the threshold.
    pub true_negatives: usize,
}

impl Confusion {
    /// Counts `scores` with their `labels` (0 normal, 1 anomalous). One class, or none, may be
    /// empty.
    ///
    /// # Errors
    /// [`MetricError::NanThreshold`], [`MetricError::LengthMismatch`], [`MetricError::Nan`],
    /// [`MetricError::NotALabel`].
    pub fn new(threshold: f32, scores: &[f32], labels: &[u8]) -> Result<Self, MetricError> {
        if threshold.is_nan() {
            return Err(MetricError::NanThreshold);
        }
        let limit = radix::key(threshold);
        // By class the images at or below the threshold, and those above it.
        let (mut normal, mut anomalous) = ([0; 2], [0; 2]);
        separate(
            scores,
            labels,
            |_, key| normal[usize::from(key > limit)] += 1,
            |_, key| anomalous[usize::from(key > limit)] += 1,
        )?;
        let ([true_negatives, false_positives], [false_negatives, true_positives]) = (normal, anomalous);
        Ok(Self { true_positives, false_positives, false_negatives, true_negatives })
    }

    /// Normal images above the threshold, of the normal images. Anomalous images are not needed.
    ///
    /// # Errors
    /// [`MetricError::NoNormal`].
    pub fn false_alarms(&self) -> Result<Proportion, MetricError> {
        let trials = self.false_positives + self.true_negatives;
        if trials == 0 { Err(MetricError::NoNormal) } else { Ok(of(self.false_positives, trials)) }
    }

    /// Anomalous images above the threshold, of the anomalous images: recall. Normal images are not
    /// needed. Its complement are the misses.
    ///
    /// # Errors
    /// [`MetricError::NoAnomalous`].
    pub fn found(&self) -> Result<Proportion, MetricError> {
        let trials = self.true_positives + self.false_negatives;
        if trials == 0 { Err(MetricError::NoAnomalous) } else { Ok(of(self.true_positives, trials)) }
    }

    /// Anomalous images of those above the threshold: precision. It depends on the shares of both
    /// classes in the test split.
    ///
    /// # Errors
    /// [`MetricError::NoNormal`] and [`MetricError::NoAnomalous`] where a class is missing, which
    /// leaves 1 or 0 whatever the detector; [`MetricError::NoneAbove`].
    pub fn alarms_that_are_right(&self) -> Result<Proportion, MetricError> {
        self.check_both_classes()?;
        match self.true_positives + self.false_positives {
            0 => Err(MetricError::NoneAbove),
            trials => Ok(of(self.true_positives, trials)),
        }
    }

    /// Images that are found and anomalous, of those that are found or anomalous: the Jaccard index
    /// `F* = TP / (TP + FP + FN)`. F1 follows from it, see [`f1_of_jaccard`].
    ///
    /// # Errors
    /// [`MetricError::NoNormal`] and [`MetricError::NoAnomalous`] where a class is missing.
    pub fn jaccard(&self) -> Result<Proportion, MetricError> {
        self.check_both_classes()?;
        let trials = self.true_positives + self.false_positives + self.false_negatives;
        Ok(of(self.true_positives, trials))
    }

    fn check_both_classes(&self) -> Result<(), MetricError> {
        self.false_alarms()?;
        self.found().map(drop)
    }
}

fn of(successes: usize, trials: usize) -> Proportion {
    Proportion { successes, trials }
}

/// F1 of the Jaccard index `F*`: `2 F* / (1 + F*)`, which is `2 TP / (2 TP + FP + FN)`.
///
/// It is increasing, so that it takes the bounds of an interval of `F*`, a binomial proportion, to
/// those of an interval of F1 with the same confidence. The transform is that of Flores, Salicrú,
/// Sánchez-Pla and Ocaña, BMC Bioinformatics 23, 207 (2022); applied to the Wilson interval it is
/// the indirect method of Lam, Gopal and Qian, *Confidence intervals for the F1 score*,
/// arXiv:2309.14621 (2023).
pub fn f1_of_jaccard(jaccard: f64) -> f64 {
    2.0 * jaccard / (1.0 + jaccard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_the_threshold_is_not_found() {
        let (scores, labels) = ([0.5, 0.6, 0.5, 0.7, 0.1], [0, 0, 1, 1, 1]);
        let counts = Confusion::new(0.5, &scores, &labels).unwrap();
        let expected =
            Confusion { true_positives: 1, false_positives: 1, false_negatives: 2, true_negatives: 1 };
        assert_eq!(counts, expected);
        let zero = Confusion::new(-0.0, &[0.0, 1e-40], &[0, 0]).unwrap();
        assert_eq!((zero.true_negatives, zero.false_positives), (1, 1));
        let top = Confusion::new(f32::INFINITY, &[f32::INFINITY, -1.0], &[1, 0]).unwrap();
        assert_eq!((top.false_negatives, top.true_negatives), (1, 1));
    }

    #[test]
    fn each_rate_needs_the_classes_that_it_counts() {
        let normal = Confusion::new(0.5, &[0.1, 0.9, 0.2], &[0; 3]).unwrap();
        assert_eq!(normal.false_alarms(), Ok(of(1, 3)));
        let anomalous = Confusion::new(0.5, &[0.1, 0.9, 0.2], &[1; 3]).unwrap();
        assert_eq!(anomalous.found(), Ok(of(1, 3)));
        assert_eq!(anomalous.false_alarms(), Err(MetricError::NoNormal));
        for rate in [Confusion::found, Confusion::alarms_that_are_right, Confusion::jaccard] {
            assert_eq!(rate(&normal), Err(MetricError::NoAnomalous));
        }
        for rate in [Confusion::alarms_that_are_right, Confusion::jaccard] {
            assert_eq!(rate(&anomalous), Err(MetricError::NoNormal));
        }
        let none = Confusion::new(1.0, &[0.1, 0.9], &[0, 1]).unwrap();
        assert_eq!(none.alarms_that_are_right(), Err(MetricError::NoneAbove));
        // Nothing found is the worst F1, not an undefined one.
        assert_eq!(none.jaccard(), Ok(of(0, 1)));
    }

    #[test]
    fn unusable_input_is_an_error() {
        assert_eq!(Confusion::new(f32::NAN, &[], &[]), Err(MetricError::NanThreshold));
        assert_eq!(Confusion::new(0.0, &[f32::NAN], &[0]), Err(MetricError::Nan { index: 0 }));
        let mismatch = MetricError::LengthMismatch { scores: 1, labels: 0 };
        assert_eq!(Confusion::new(0.0, &[1.0], &[]), Err(mismatch));
        let label = MetricError::NotALabel { index: 0, value: 2 };
        assert_eq!(Confusion::new(0.0, &[1.0], &[2]), Err(label));
    }
}
