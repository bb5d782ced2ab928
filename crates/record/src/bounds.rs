//! Bounds of the numbers in a record: a file that somebody edited, or a disk damaged, may hold any.

use crate::{Metrics, PixelCurves};

/// The most that rounding in the sums of a program adds to a fraction.
const ROUNDING: f64 = 1e-6;

/// The first metric that is no fraction, in words.
pub(crate) fn metric_outside(metrics: &Metrics) -> Option<String> {
    let mut values = metrics.iter().filter_map(|(key, value)| Some((key, value?)));
    let (key, value) = values.find(|(_, value)| !is_fraction(*value))?;
    Some(format!("metric `{key}` is {value:e}, not in 0..=1"))
}

/// The first number that no curve has, in words.
pub(crate) fn curve_outside(pixels: &PixelCurves) -> Option<String> {
    for (key, curve) in [("roc", &pixels.roc), ("pro", &pixels.pro)] {
        if let Some(value) = curve.iter().flatten().find(|value| !is_fraction(**value)) {
            return Some(format!("`pixels.{key}` has {value:e}, not in 0..=1"));
        }
    }
    let scores = &pixels.scores;
    let [low, high] = scores.range;
    // Scores are of 32 bits.
    if low > high || [low, high].iter().any(|score| score.abs() > f64::from(f32::MAX)) {
        return Some(format!("`pixels.scores.range` is {low:e}..={high:e}"));
    }
    let mut shares = scores.normal.shares.iter().chain(&scores.anomalous.shares);
    let wrong = shares.find(|share| !is_fraction(**share))?;
    Some(format!("`pixels.scores` has the share {wrong:e}, not in 0..=1"))
}

fn is_fraction(value: f64) -> bool {
    (-ROUNDING..=1.0 + ROUNDING).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;
    use crate::{ClassDistribution, RunRecord, ScoreDistribution};

    #[test]
    fn a_number_that_no_run_has_is_damage() {
        let class = || ClassDistribution { n: 4, mean: 0.2, deviation: 0.1, shares: vec![0.25, 0.75] };
        let mut run = record("demo", "plain", "rkd", 0);
        run.pixels = Some(PixelCurves {
            roc: vec![[0.0, 0.0], [1.0, 1.0]],
            pro: vec![[0.0, 0.0], [1.0, 1.0]],
            scores: ScoreDistribution { range: [0.1, 0.9], normal: class(), anomalous: class() },
        });
        run.artefacts.images.push(crate::ImageRecord {
            sample: "test/good/000".to_owned(),
            label: fmam_core::Label::Normal,
            defect_type: None,
            image_score: 0.5,
            path: None,
        });
        let good = serde_json::to_value(&run).unwrap();
        let read = |value: &serde_json::Value| RunRecord::from_json(value.to_string().as_bytes());
        read(&good).unwrap();
        let wrong = [
            ("/metrics/image_auroc", "metric `image_auroc` is 1e300"),
            ("/fit_seconds", "`fit_seconds` is 1e300"),
            ("/pixels/roc/1/0", "`pixels.roc` has 1e300"),
            ("/pixels/pro/0/1", "`pixels.pro` has 1e300"),
            ("/pixels/scores/range/1", "`pixels.scores.range` is 1e-1..=1e300"),
            ("/pixels/scores/anomalous/shares/0", "has the share 1e300"),
            ("/artefacts/images/0/image_score", "number out of range"),
        ];
        for (field, words) in wrong {
            let mut damaged = good.clone();
            *damaged.pointer_mut(field).unwrap() = serde_json::json!(1e300);
            let error = read(&damaged).unwrap_err().to_string();
            assert!(error.contains(words), "{field}: {error}");
        }
    }
}
