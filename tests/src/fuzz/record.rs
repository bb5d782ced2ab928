//! Records of runs: JSON.

use fmam_core::{CurvePoint, ImageSize};
use fmam_record::{Artefacts, Findings, Metrics, RUN_RECORD_SCHEMA, RunConfig, RunRecord};
use fmam_report::Report;

use super::bytes::Seed;
use super::scratch::scratch;

/// An accepted record comes back as it was written, and a report shows it.
pub fn record(data: &[u8]) -> bool {
    let Ok(record) = RunRecord::from_json(data) else { return false };
    let written = serde_json::to_vec(&record).expect("a record was JSON");
    let read = RunRecord::from_json(&written).expect("it was written here");
    assert!(read == record, "written and read, the record differs");
    assert!(record.key().dir().components().all(|part| matches!(part, std::path::Component::Normal(_))));
    let folder = scratch();
    let files = Report::from_records(vec![record]).write_tables(folder.path()).expect("a report of one run");
    for file in files {
        assert!(file.parent() == Some(folder.path()) && file.metadata().unwrap().len() > 0);
    }
    true
}

pub(super) fn seeds() -> Vec<Seed> {
    let record = RunRecord {
        schema: RUN_RECORD_SCHEMA,
        dataset: "demo".to_owned(),
        category: "plain".to_owned(),
        method: "rkd+fmam@no-margin".into(),
        backbone: "tiny".to_owned(),
        seed: fmam_core::Seed::new(1),
        device: "cpu".to_owned(),
        image_size: ImageSize::square(64),
        n_train: 32,
        n_test_normal: 4,
        n_test_anomalous: 5,
        metrics: Metrics::from_iter([("image_auroc", Some(0.9)), ("aupro", None)]),
        decision: None,
        fit_seconds: 1.5,
        score_images_per_second: 31.25,
        peak_rss_bytes: Some(1 << 30),
        started_at: 1_700_000_000,
        config: RunConfig::default(),
        versions: [("fmam".to_owned(), "0.1.0".to_owned())].into(),
        curve: vec![CurvePoint { stage: "student".to_owned(), epoch: 1, loss: 0.5 }],
        pixels: None,
        analysis: None,
        findings: Findings::default(),
        artefacts: Artefacts::default(),
    };
    vec![("plain.json".to_owned(), serde_json::to_vec(&record).unwrap())]
}
