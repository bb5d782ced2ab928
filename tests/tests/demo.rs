//! A short demo experiment from its configuration to its report.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

use std::sync::OnceLock;

use candle_core::Device;
use fmam_core::{MethodId, Progress, SourceError};
use fmam_experiment::{
    Artist, Exhibit, Experiment, ExperimentConfig, ExperimentError, FinishedRuns, Grid, GridObserver,
    Registry, RunPlan, preset,
};
use fmam_metrics::{IMAGE_AUROC, METRICS};
use fmam_record::{RunRecord, load_records};
use fmam_report::Report;
use serde_json::Value;

const METHODS: [&str; 2] = ["nkd+fmam", "rkd+fmam"];

/// The preset, cut down to what two cores do in less than a minute: one fabric, half of the
/// training images, fewer epochs. In so few steps NKD needs a larger step size than its default.
fn config() -> ExperimentConfig {
    let mut config = preset("demo").unwrap().remove(0);
    config.categories = vec!["plain".to_owned()];
    config.methods = METHODS.map(MethodId::from).to_vec();
    let options = "n_train = 32\nn_test_normal = 12\nn_test_per_defect = 3";
    config.dataset.options = toml::from_str(options).unwrap();
    config.n_overlays = 0;
    config.save_model = false;
    let settings = "epochs = 12\nbatch_size = 4\nlearning_rate = 5e-3\nmapping.epochs = 6";
    config.method =
        METHODS.map(|method| (method.into(), toml::from_str(settings).unwrap())).into_iter().collect();
    config
}

struct Silent;

impl Progress for Silent {
    fn start(&self, _stage: &fmam_core::StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {}
    fn finish(&self) {}
}

impl GridObserver for Silent {
    fn run_started(&self, _plan: &RunPlan) {}
    fn run_finished(&self, _plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        result.unwrap();
    }
}

/// An artist of a run without pictures.
struct Idle;

impl Artist for Idle {
    fn draw(&self, _: (f32, f32), exhibits: &[Exhibit]) -> Result<(), SourceError> {
        assert!(exhibits.is_empty());
        Ok(())
    }
}

/// The files that the experiment left.
struct Outcome {
    records: Vec<RunRecord>,
    json: Value,
    markdown: String,
}

/// Runs the experiment, once for all tests.
fn outcome() -> &'static Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(|| {
        let out = tempfile::tempdir().unwrap();
        let experiment = Experiment::open(&Registry::builtin(), config(), Device::Cpu).unwrap();
        Grid::new(std::slice::from_ref(&experiment), out.path(), FinishedRuns::Keep, &Silent)
            .unwrap()
            .run(&Idle, &Silent)
            .unwrap();
        let records = load_records(out.path()).unwrap();
        Report::from_records(records.clone()).write(out.path()).unwrap();
        let read = |name| std::fs::read_to_string(out.path().join(name)).unwrap();
        Outcome {
            records,
            json: serde_json::from_str(&read("report.json")).unwrap(),
            markdown: read("report.md"),
        }
    })
}

#[test]
fn the_mapped_methods_find_the_defects_of_a_fabric() {
    let outcome = outcome();
    assert_eq!(outcome.records.len(), METHODS.len());
    for record in &outcome.records {
        let metrics = &record.metrics;
        // A detector without a threshold has no metrics at one.
        for metric in METRICS.iter().filter(|metric| !metric.needs_threshold || metrics.has(metric)) {
            let value = metrics.get(metric);
            // A comparison with NaN is false.
            assert!(value.is_some_and(|value| (0.0..=1.0).contains(&value)), "{}: {metrics:?}", metric.key);
        }
        assert!(metrics.get(&IMAGE_AUROC) >= Some(0.90), "{}: {metrics:?}", record.method);
        assert!(record.curve.iter().all(|point| point.loss.is_finite()));
        let stages = ["feature-mapping", "student"]
            .map(|stage| record.curve.iter().filter(|point| point.stage == stage).count());
        assert_eq!(stages, [6, 12], "{}", record.method);
    }
}

#[test]
fn the_report_has_a_row_for_each_run_with_the_records_figures() {
    let Outcome { records, json, markdown } = outcome();
    assert_eq!(json["schema"], 1);
    for (rows, key) in [("runs", ""), ("summary", "/mean")] {
        let rows = json[rows].as_array().unwrap();
        let methods: Vec<_> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
        assert_eq!(methods, METHODS);
        for (row, record) in rows.iter().zip(records) {
            assert_eq!((&row["dataset"], &row["backbone"]), (&"demo".into(), &"efficientnet-lite0".into()));
            let check = |figure: &str, expected: Option<f64>| {
                let actual = row.pointer(&format!("/{figure}{key}")).and_then(Value::as_f64).unwrap();
                // Reading a decimal number may cost its last bit.
                assert!((actual - expected.unwrap()).abs() < 1e-12, "{figure}: {actual}, {expected:?}");
            };
            for metric in METRICS.iter().filter(|metric| record.metrics.get(metric).is_some()) {
                check(metric.key, record.metrics.get(metric));
            }
        }
    }
    assert!(markdown.contains("The paper publishes no figures for the data set demo."), "{markdown}");
}

#[test]
fn the_papers_figures_stand_beside_ours_where_it_has_any() {
    let mut records = outcome().records.clone();
    records.iter_mut().for_each(|record| record.dataset = "mvtec".to_owned());
    let report = Report::from_records(records);
    let out = tempfile::tempdir().unwrap();
    report.write(out.path()).unwrap();
    let markdown = std::fs::read_to_string(out.path().join("report.md")).unwrap();
    // Image and pixel AUROC of Table 1 on MVTec AD.
    for (method, [image, pixel]) in [("NKD+FMAM", ["96.7", "96.9"]), ("RKD+FMAM", ["98.2", "97.3"])] {
        let compared = |line: &str| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            cells.contains(&method) && cells.contains(&image) && cells.contains(&pixel)
        };
        assert!(markdown.lines().any(compared), "{method}: {markdown}");
    }
}
