use std::collections::BTreeMap;

use fmam_inspection::{Procedure, Threshold};
use fmam_metrics::{CONFIDENCE, Evaluated, MetricEntry, MetricError};
use serde::{Deserialize, Serialize};

/// The threshold that a detector brought to a test split, and the intervals of the metrics there.
/// The metrics at this threshold stand among the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The threshold of the detector's calibration, with the reason for it.
    pub threshold: Threshold,
    /// The way in which the good images behind it were kept from the detector: only a rate of
    /// held-out images is guaranteed.
    pub procedure: Procedure,
    /// The confidence of the intervals, between 0 and 1.
    pub confidence: f64,
    /// The lower and the upper bound of a metric by its key, fractions in 0..=1. A metric that is
    /// undefined has none.
    pub intervals: BTreeMap<String, [f64; 2]>,
}

impl Decision {
    /// The threshold, and the intervals of those of `metrics` that have one, for a test split.
    ///
    /// # Errors
    /// As [`MetricEntry::interval_of`].
    pub fn new(
        threshold: Threshold,
        procedure: Procedure,
        evaluated: &Evaluated<'_>,
        metrics: &[&MetricEntry],
    ) -> Result<Self, MetricError> {
        let mut intervals = BTreeMap::new();
        for metric in metrics {
            if let Some(interval) = metric.interval_of(evaluated)? {
                intervals.insert(metric.key.to_owned(), interval);
            }
        }
        Ok(Self { threshold, procedure, confidence: CONFIDENCE, intervals })
    }

    /// The lower and the upper bound of a metric.
    pub fn interval(&self, metric: &MetricEntry) -> Option<[f64; 2]> {
        self.intervals.get(metric.key).copied()
    }
}

#[cfg(test)]
mod tests {
    use fmam_inspection::Basis;
    use fmam_metrics::METRICS;

    use super::*;

    fn threshold(basis: Basis) -> Threshold {
        Threshold { score: 0.3, contour: 1.7, basis }
    }

    #[test]
    fn a_decision_has_the_interval_of_every_metric_that_is_defined() {
        let at = |limit: f32| {
            let evaluated = Evaluated::new(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]).with_threshold(limit);
            Decision::new(threshold(Basis::Given), Procedure::HoldOut, &evaluated, METRICS).unwrap()
        };
        for metric in METRICS {
            assert_eq!(at(0.3).interval(metric).is_some(), metric.interval.is_some(), "{}", metric.key);
        }
        let [low, high] = at(0.3).intervals["image_recall"];
        assert!(0.3 < low && low < 0.4 && high == 1.0, "{low} to {high}");
        assert!(!at(0.9).intervals.contains_key("image_precision"));
    }

    #[test]
    fn a_decision_is_read_as_it_was_written() {
        for basis in [
            Basis::FalseAlarms { asked: 0.01, promised: 0.02 },
            Basis::Misses { asked: 0.05, n_defects: 7 },
            Basis::Given,
        ] {
            let intervals = BTreeMap::from([("image_f1".to_owned(), [0.25, 0.75])]);
            let decision = Decision {
                threshold: threshold(basis),
                procedure: Procedure::CrossFit,
                confidence: 0.95,
                intervals,
            };
            let text = serde_json::to_string(&decision).unwrap();
            assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision, "{text}");
            assert!(serde_json::from_str::<Decision>(&text.replacen("0.25", "null", 1)).is_err());
        }
    }
}
