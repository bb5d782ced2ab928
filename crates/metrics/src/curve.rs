use crate::{Cut, MetricError, Ranking};

/// A point of the ROC curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Share of the normal samples at or above the threshold.
    pub fpr: f64,
    /// Share of the anomalous samples at or above the threshold.
    pub tpr: f64,
    /// The threshold; infinity at the curve's beginning, where nothing is called anomalous.
    pub threshold: f32,
}

/// A point of the precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecallPoint {
    /// Share of the samples at or above the threshold that are anomalous.
    pub precision: f64,
    /// Share of the anomalous samples that are at or above the threshold.
    pub recall: f64,
    /// The threshold.
    pub threshold: f32,
}

impl Ranking {
    /// The ROC curve from (0, 0) to (1, 1), thresholds falling. Points on the straight line between
    /// their neighbours are left out, which changes neither the curve nor the area under it.
    pub fn roc_curve(&self) -> Vec<RocPoint> {
        let mut corners = vec![Cut { threshold: f32::INFINITY, false_positives: 0, true_positives: 0 }];
        for cut in self.cuts() {
            if let [.., a, b] = corners[..]
                && collinear(a, b, cut)
            {
                corners.pop();
            }
            corners.push(cut);
        }
        let point =
            |cut: Cut| RocPoint { fpr: self.fpr(cut), tpr: self.recall(cut), threshold: cut.threshold };
        corners.into_iter().map(point).collect()
    }

    /// The precision-recall curve: one point a distinct score, thresholds falling and recall rising
    /// to 1.
    pub fn precision_recall_curve(&self) -> Vec<PrecisionRecallPoint> {
        let point = |cut: Cut| PrecisionRecallPoint {
            precision: self.precision(cut),
            recall: self.recall(cut),
            threshold: cut.threshold,
        };
        self.cuts().map(point).collect()
    }
}

/// [`Ranking::roc_curve`] of `scores` with `labels` (0 normal, 1 anomalous).
///
/// # Errors
/// As [`Ranking::new`].
pub fn roc_curve(scores: &[f32], labels: &[u8]) -> Result<Vec<RocPoint>, MetricError> {
    Ok(Ranking::new(scores, labels)?.roc_curve())
}

/// [`Ranking::precision_recall_curve`] of `scores` with `labels` (0 normal, 1 anomalous).
///
/// # Errors
/// As [`Ranking::new`].
pub fn precision_recall_curve(
    scores: &[f32],
    labels: &[u8],
) -> Result<Vec<PrecisionRecallPoint>, MetricError> {
    Ok(Ranking::new(scores, labels)?.precision_recall_curve())
}

/// True if `b` lies on the line from `a` to `c`; both counts rise from each to the next.
fn collinear(a: Cut, b: Cut, c: Cut) -> bool {
    let rise = |to: Cut| (to.true_positives - a.true_positives) as u128;
    let run = |to: Cut| (to.false_positives - a.false_positives) as u128;
    rise(b) * run(c) == rise(c) * run(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roc_curve_keeps_only_its_corners() {
        let scores = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        let curve = roc_curve(&scores, &[1, 1, 0, 0, 0, 1]).unwrap();
        let expected =
            [(0.0, 0.0, f32::INFINITY), (0.0, 2.0 / 3.0, 8.0), (1.0, 2.0 / 3.0, 5.0), (1.0, 1.0, 4.0)];
        assert_eq!(curve, expected.map(|(fpr, tpr, threshold)| RocPoint { fpr, tpr, threshold }));
    }

    #[test]
    fn a_constant_score_is_the_diagonal() {
        let curve = roc_curve(&[0.5; 4], &[0, 1, 0, 1]).unwrap();
        let ends = [(0.0, 0.0, f32::INFINITY), (1.0, 1.0, 0.5)];
        assert_eq!(curve, ends.map(|(fpr, tpr, threshold)| RocPoint { fpr, tpr, threshold }));
    }

    #[test]
    fn the_precision_recall_curve_has_every_distinct_score() {
        let curve = precision_recall_curve(&[3.0, 1.0, 3.0, 2.0], &[1, 0, 0, 1]).unwrap();
        let expected = [(0.5, 0.5, 3.0), (2.0 / 3.0, 1.0, 2.0), (0.5, 1.0, 1.0)];
        assert_eq!(
            curve,
            expected.map(|(precision, recall, threshold)| PrecisionRecallPoint {
                precision,
                recall,
                threshold
            })
        );
    }
}
