use super::{Level, MetricEntry};

/// True positive rate, in per cent, that the threshold must reach.
const REQUIRED_TPR_PERCENT: usize = 95;

/// False positive rate of the image scores at the highest threshold whose true positive rate is
/// 0.95 or more (Liang et al. 2018, arXiv:1706.02690). Scores at the threshold count as found, so
/// that equal scores of both classes raise both rates. The rates are compared as integers; nothing
/// is interpolated.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_fpr_at_95_tpr",
    title: "Image FPR at 95 % TPR",
    summary: "False positive rate of the image scores where the true positive rate reaches 0.95",
    level: Level::Image,
    higher_is_better: false,
    is_oracle: true,
    is_headline: false,
    needs_threshold: false,
    compute: |evaluated| {
        let ranking = evaluated.images()?;
        let required = (REQUIRED_TPR_PERCENT * ranking.n_anomalous()).div_ceil(100);
        // The last threshold finds every anomalous image.
        let found = ranking.cuts().find(|cut| cut.true_positives >= required);
        let false_positives = found.map_or(ranking.n_normal(), |cut| cut.false_positives);
        Ok(false_positives as f64 / ranking.n_normal() as f64)
    },
    interval: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evaluated;

    #[track_caller]
    fn check(scores: &[f32], labels: &[u8], expected: f64) {
        assert_eq!(ENTRY.of(&Evaluated::new(scores, labels)), Ok(Some(expected)));
    }

    #[test]
    fn few_anomalous_images_must_all_be_found() {
        check(&[0.1, 0.2, 0.8, 0.9], &[0, 0, 1, 1], 0.0);
        // Of the lowest anomalous score, 0.3, one of four normal scores lies above.
        check(&[0.1, 0.2, 0.25, 0.4, 0.3, 0.9], &[0, 0, 0, 0, 1, 1], 0.25);
        check(&[0.9, 0.8, 0.1, 0.2], &[0, 0, 1, 1], 1.0);
    }

    #[test]
    fn of_twenty_anomalous_images_one_may_be_missed_and_of_nineteen_none() {
        // Normal: 0 and 10. Anomalous: 5, then -1, which is below both normal scores.
        let anomalous = |n: usize| {
            let scores: Vec<f32> = [vec![0.0, 10.0], vec![5.0; n - 1], vec![-1.0]].concat();
            (scores, [vec![0, 0], vec![1; n]].concat())
        };
        let (scores, labels) = anomalous(20);
        check(&scores, &labels, 0.5);
        let (scores, labels) = anomalous(19);
        check(&scores, &labels, 1.0);
    }

    #[test]
    fn equal_scores_are_found_together() {
        // The two normal images with the score of the only anomalous one are false positives.
        check(&[0.5, 0.5, 0.1, 0.5], &[0, 0, 0, 1], 2.0 / 3.0);
        check(&[0.5; 4], &[0, 1, 0, 1], 1.0);
        check(&[-0.0, 0.0, -1.0], &[0, 1, 0], 0.5);
    }

    #[test]
    fn the_rate_is_the_point_of_the_curve_of_scikit_learn() {
        // `tests/reference/metrics/make.py` wrote every point of scikit-learn's roc_curve,
        // thresholds falling.
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            scores: Vec<f32>,
            labels: Vec<u8>,
            fpr: Vec<f64>,
            tpr: Vec<f64>,
        }
        let text = include_str!("../../../../tests/reference/metrics/scores.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 4);
        for case in cases {
            let point = case.tpr.iter().position(|&tpr| tpr >= 0.95).unwrap();
            let value = ENTRY.of(&Evaluated::new(&case.scores, &case.labels)).unwrap().unwrap();
            assert!((value - case.fpr[point]).abs() < 1e-12, "{}: {value}", case.name);
        }
    }
}
