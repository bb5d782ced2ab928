//! Run records for this crate's tests.

use std::collections::BTreeMap;

use fmam_core::{ImageSize, Label, Seed};
use fmam_inspection::{Basis, Procedure, Threshold};
use fmam_metrics::{METRICS, MetricEntry};
use fmam_record::{
    Analysis, Artefacts, Decision, DefectAnalysis, FeatureScatter, Findings, ImageRecord, Metrics, Notice,
    RUN_RECORD_SCHEMA, RunConfig, RunRecord, ScaleAnalysis, ScoreSeparability,
};

/// A run with figures that depend on its seed a little.
pub(crate) fn record(dataset: &str, category: &str, method: &str, seed: u64) -> RunRecord {
    let shift = seed as f64 * 0.01;
    RunRecord {
        schema: RUN_RECORD_SCHEMA,
        dataset: dataset.to_owned(),
        category: category.to_owned(),
        method: method.into(),
        backbone: "resnet18".to_owned(),
        seed: Seed::new(seed),
        device: "cpu".to_owned(),
        image_size: ImageSize::square(256),
        n_train: 320,
        n_test_normal: 41,
        n_test_anomalous: 119,
        metrics: Metrics::from_iter([
            ("image_auroc", Some(0.9 + shift)),
            ("pixel_auroc", Some(0.95 + shift)),
            ("aupro", Some(0.875)),
            ("image_ap", Some(0.96)),
            ("pixel_ap", Some(0.5)),
            ("image_f1_max", Some(0.925)),
        ]),
        decision: None,
        fit_seconds: 62.5,
        score_images_per_second: 31.25,
        peak_rss_bytes: Some(1 << 30),
        started_at: 1_700_000_000,
        config: serde_json::from_value::<RunConfig>(serde_json::json!({
            "method": { "train": { "epochs": 10, "lr": 0.4 } }
        }))
        .unwrap(),
        versions: BTreeMap::from([
            ("candle".to_owned(), "0.11.1".to_owned()),
            ("fmam".to_owned(), "0.1.0".to_owned()),
        ]),
        curve: Vec::new(),
        pixels: None,
        analysis: None,
        findings: Findings::default(),
        artefacts: Artefacts::default(),
    }
}

/// Adds `gain` to a metric.
pub(crate) fn raise(run: &mut RunRecord, metric: &MetricEntry, gain: f64) {
    let value = run.metrics.get(metric).map(|value| value + gain);
    run.metrics.set(metric, value);
}

/// Adds the overlays of a normal and of `defect_types.len()` anomalous images.
pub(crate) fn with_overlays(mut run: RunRecord, defect_types: &[&str]) -> RunRecord {
    let anomalous = defect_types.iter().map(|&name| (Label::Anomalous, Some(name)));
    for (label, defect_type) in [(Label::Normal, None)].into_iter().chain(anomalous) {
        let stem = format!("{}_000", defect_type.unwrap_or("good"));
        run.artefacts.images.push(ImageRecord {
            sample: format!("test/{}/000", defect_type.unwrap_or("good")),
            label,
            defect_type: defect_type.map(str::to_owned),
            image_score: if label == Label::Normal { 0.25 } else { 0.75 },
            path: Some(format!("maps/{stem}.png")),
        });
    }
    run
}

/// Adds a threshold with its metrics, of which precision is undefined.
pub(crate) fn with_decision(mut run: RunRecord) -> RunRecord {
    let values = [Some(0.125), Some(0.25), None, Some(0.75), Some(0.8)];
    let at_threshold = METRICS.iter().filter(|metric| metric.needs_threshold);
    at_threshold.zip(values).for_each(|(metric, value)| run.metrics.set(metric, value));
    let threshold =
        Threshold { score: 0.6, contour: 0.6, basis: Basis::FalseAlarms { asked: 0.01, promised: 0.02 } };
    let intervals = BTreeMap::from([
        ("image_false_alarm_rate".to_owned(), [0.0625, 0.25]),
        ("image_recall".to_owned(), [0.5, 1.0]),
    ]);
    run.decision = Some(Decision { threshold, procedure: Procedure::HoldOut, confidence: 0.95, intervals });
    run
}

/// Adds two masks that vanish, a pair of like samples, a depth and a choice.
pub(crate) fn with_findings(mut run: RunRecord) -> RunRecord {
    run.findings = Findings {
        bits: Some(12),
        vanished: vec!["test/scratch/<3>".to_owned(), "test/cut/000".to_owned()],
        duplicates: vec![["train/good/001".to_owned(), "test/good/001".to_owned()]],
        notices: vec![Notice {
            choice: "the first of several frames or pages is used".to_owned(),
            n: 3,
            first: "screw/a.gif".to_owned(),
        }],
    };
    run
}

/// Adds an analysis of two scales with real defects only, all of whose biases are `shift` larger.
pub(crate) fn with_analysis(mut run: RunRecord, shift: f64) -> RunRecord {
    let scatter = |bias, variance| FeatureScatter::new(bias + shift, variance);
    let scale = |(channels, stride)| ScaleAnalysis {
        channels,
        stride,
        n_normal: 100,
        real: Some(DefectAnalysis {
            n_anomalous: 50,
            before: scatter(0.5, 0.25),
            after: Some(scatter(0.8, 0.16)),
            discrepancy: Some(scatter(0.4, 0.01)),
        }),
        synthetic: None,
    };
    run.analysis = Some(Analysis {
        scales: [(24, 4), (40, 8)].map(scale).to_vec(),
        image_scores: Some(ScoreSeparability { overlap: 0.25, fisher_ratio: 2.0, ks_distance: 0.8 }),
        pixel_scores: None,
    });
    run
}
