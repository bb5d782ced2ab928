//! Against scikit-learn, statsmodels, numpy and scipy: `tests/reference/metrics/make.py` made the
//! fixtures.

use std::collections::BTreeMap;

use fmam_metrics::{Evaluated, METRICS, PixelRanking, Ranking, bias_variance, density, separability, wilson};
use serde::Deserialize;

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/metrics/",
            $name
        )))
        .unwrap()
    };
}

#[track_caller]
fn assert_close(actual: f64, expected: f64, what: &str) {
    assert!((actual - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}: {actual}, not {expected}");
}

#[derive(Deserialize)]
struct ScoreCase {
    name: String,
    scores: Vec<f32>,
    labels: Vec<u8>,
    auroc: f64,
    average_precision: f64,
    f1_max: f64,
    f1_threshold: f32,
    fpr: Vec<f64>,
    tpr: Vec<f64>,
    thresholds: Vec<f32>,
    precision: Vec<f64>,
    recall: Vec<f64>,
}

#[test]
fn image_figures_are_those_of_scikit_learn() {
    let cases: Vec<ScoreCase> = fixture!("scores.json");
    for case in cases {
        let ranking = Ranking::new(&case.scores, &case.labels).unwrap();
        assert_close(ranking.auroc(), case.auroc, &case.name);
        assert_close(ranking.average_precision(), case.average_precision, &case.name);
        assert_close(ranking.f1_max().f1, case.f1_max, &case.name);
        assert_eq!(ranking.f1_max().threshold, case.f1_threshold, "{}", case.name);
    }
}

#[test]
fn the_roc_curve_is_that_of_scikit_learn_without_points_on_its_lines() {
    let cases: Vec<ScoreCase> = fixture!("scores.json");
    for case in cases {
        let curve = Ranking::new(&case.scores, &case.labels).unwrap().roc_curve();
        assert_eq!((curve[0].fpr, curve[0].tpr), (0.0, 0.0), "{}", case.name);
        let mut corner = 0;
        for ((&fpr, &tpr), &threshold) in case.fpr.iter().zip(&case.tpr).zip(&case.thresholds) {
            let (from, to) = (curve[corner], curve[corner + 1]);
            if threshold == to.threshold {
                assert_close(to.fpr, fpr, &case.name);
                assert_close(to.tpr, tpr, &case.name);
                corner += 1;
            } else {
                // A point that is left out lies on the line between the corners about it.
                let cross = (fpr - from.fpr) * (to.tpr - from.tpr) - (tpr - from.tpr) * (to.fpr - from.fpr);
                assert_close(cross, 0.0, &case.name);
            }
        }
        assert_eq!(corner + 1, curve.len(), "{}", case.name);
    }
}

#[test]
fn the_precision_recall_curve_is_that_of_scikit_learn() {
    let cases: Vec<ScoreCase> = fixture!("scores.json");
    for case in cases {
        let curve = Ranking::new(&case.scores, &case.labels).unwrap().precision_recall_curve();
        // scikit-learn has every distinct score as a threshold here.
        assert_eq!(curve.len(), case.precision.len(), "{}", case.name);
        for ((point, &precision), &recall) in curve.iter().zip(&case.precision).zip(&case.recall) {
            assert_close(point.precision, precision, &case.name);
            assert_close(point.recall, recall, &case.name);
        }
    }
}

#[derive(Deserialize)]
struct PixelCase {
    name: String,
    height: usize,
    width: usize,
    maps: Vec<Vec<f32>>,
    masks: Vec<String>,
    n_regions: usize,
    auroc: f64,
    average_precision: f64,
    aupro: Vec<(f64, f64)>,
}

#[test]
fn pixel_figures_are_those_of_scikit_learn_and_of_the_definition() {
    let cases: Vec<PixelCase> = fixture!("pixels.json");
    for case in cases {
        let masks = case.masks.iter().map(|mask| mask.bytes().map(|c| c - b'0').collect::<Vec<_>>());
        let pixels = PixelRanking::new(case.maps.iter().zip(masks), case.height, case.width).unwrap();
        assert_eq!(pixels.n_regions(), case.n_regions, "{}", case.name);
        for (limit, aupro) in case.aupro {
            let metrics = pixels.metrics(limit).unwrap();
            assert_close(metrics.auroc, case.auroc, &case.name);
            assert_close(metrics.average_precision, case.average_precision, &case.name);
            assert_close(metrics.aupro, aupro, &format!("{} up to {limit}", case.name));
        }
    }
}

#[derive(Deserialize)]
struct AnalysisCase {
    name: String,
    dim: usize,
    normal: Vec<f32>,
    anomalous: Vec<f32>,
    bias: f64,
    variance: f64,
    normal_scores: Vec<f32>,
    anomalous_scores: Vec<f32>,
    n_bins: usize,
    overlap: f64,
    fisher_ratio: f64,
    ks_distance: f64,
    density_at: Vec<f64>,
    density: Vec<f64>,
}

#[test]
fn the_analyses_are_those_of_numpy_and_scipy() {
    let cases: Vec<AnalysisCase> = fixture!("analysis.json");
    for case in cases {
        let features = bias_variance(&case.normal, &case.anomalous, case.dim).unwrap();
        // numpy takes the norm of f32 rows about an f64 centre in f64, as we do.
        assert_close(features.bias, case.bias, &case.name);
        assert_close(features.variance, case.variance, &case.name);
        let scores = separability(&case.normal_scores, &case.anomalous_scores, case.n_bins).unwrap();
        assert_close(scores.overlap, case.overlap, &case.name);
        assert_close(scores.fisher_ratio, case.fisher_ratio, &case.name);
        assert_close(scores.ks_distance, case.ks_distance, &case.name);
        let found = density(&case.normal_scores, &case.density_at).unwrap();
        for (found, expected) in found.into_iter().zip(case.density) {
            assert_close(found, expected, &case.name);
        }
    }
}

#[derive(Deserialize)]
struct ThresholdCase {
    name: String,
    scores: Vec<f32>,
    labels: Vec<u8>,
    threshold: f32,
    values: BTreeMap<String, Option<f64>>,
    intervals: BTreeMap<String, Option<[f64; 2]>>,
}

#[test]
fn rates_at_a_fixed_threshold_are_those_of_scikit_learn_with_intervals_of_statsmodels() {
    let cases: Vec<ThresholdCase> = fixture!("thresholds.json");
    assert!(cases.len() > 5);
    for case in cases {
        let evaluated = Evaluated::new(&case.scores, &case.labels).with_threshold(case.threshold);
        let at_threshold: Vec<_> = METRICS.iter().filter(|metric| metric.needs_threshold).collect();
        assert_eq!(at_threshold.len(), case.values.len());
        for metric in at_threshold {
            let what = format!("{}, {}", case.name, metric.key);
            let (value, interval) = (metric.of(&evaluated).unwrap(), metric.interval_of(&evaluated).unwrap());
            let (Some(expected), Some(bounds)) = (case.values[metric.key], case.intervals[metric.key]) else {
                assert_eq!((value, interval), (None, None), "{what}");
                continue;
            };
            assert_close(value.unwrap(), expected, &what);
            for (bound, expected) in interval.unwrap().into_iter().zip(bounds) {
                assert_close(bound, expected, &what);
            }
        }
    }
}

#[test]
fn wilson_intervals_are_those_of_statsmodels() {
    #[derive(Deserialize)]
    struct Intervals {
        wilson: Vec<(usize, usize, f64, f64, f64)>,
    }
    let Intervals { wilson: cases } = fixture!("intervals.json");
    assert!(cases.len() > 50);
    for (successes, trials, confidence, low, high) in cases {
        let [found_low, found_high] = wilson(successes, trials, confidence);
        let what = format!("{successes} of {trials} at {confidence}");
        assert_close(found_low, low, &what);
        assert_close(found_high, high, &what);
    }
}
