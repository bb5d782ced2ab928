//! Run records for this crate's tests.

use std::collections::BTreeMap;

use fmam_core::{ImageSize, Seed};

use crate::{Artefacts, Findings, Metrics, RUN_RECORD_SCHEMA, RunConfig, RunRecord};

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
        config: RunConfig {
            method: serde_json::json!({ "train": { "epochs": 10, "lr": 0.4 } }),
            ..RunConfig::default()
        },
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
