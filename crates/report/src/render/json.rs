use std::collections::BTreeMap;

use fmam_core::ImageSize;
use fmam_metrics::{Level, MetricEntry};
use fmam_record::{Analysis, Decision, Findings, Metrics, RUN_RECORD_SCHEMA, RunRecord};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Report, ReportError, Summary};

/// The JSON Schema of `report.json` without the metrics.
const SCHEMA_WITHOUT_METRICS: &str = include_str!("../../schema/report.schema.json");

/// The JSON Schema (draft 2020-12) of `report.json`: every field, and every one of
/// `metrics`.
///
/// # Errors
/// [`ReportError::Json`], which a test of the schema's file rules out.
pub fn report_schema(metrics: &[&MetricEntry]) -> Result<Value, ReportError> {
    let mut schema: Value =
        serde_json::from_str(SCHEMA_WITHOUT_METRICS).map_err(|source| ReportError::Json { source })?;
    for metric in metrics {
        let null = match metric.level {
            Level::Image if metric.needs_threshold => {
                " in runs without `decision`, where it is undefined, and"
            }
            Level::Image => " where the metric needs two classes and the test images are of one, and",
            Level::Pixel | Level::Region => {
                " where an anomalous test image has no mask, where no pixel, or every pixel, is anomalous at the \
                 resolution of the pixel figures, where the run left them out, and"
            }
        };
        let oracle =
            if metric.is_oracle { " An oracle: its threshold is chosen on the test set." } else { "" };
        let better = if metric.higher_is_better { "" } else { " Lower is better." };
        let summary = format!("{}.{oracle}{better}", metric.summary);
        let in_run = format!("{summary} Null{null} in runs of a program without this metric.");
        for (part, description, kind) in [
            ("run", in_run, "#/$defs/optionalFraction"),
            ("summary", summary, "#/$defs/optionalFractionEstimate"),
        ] {
            let part = &mut schema["$defs"][part];
            part["properties"][metric.key] = json!({ "description": description, "$ref": kind });
            if let Some(required) = part["required"].as_array_mut() {
                required.push(metric.key.into());
            }
        }
        schema["$defs"]["summary"]["then"]["properties"][metric.key] = json!({ "type": "null" });
    }
    Ok(schema)
}

#[derive(Serialize)]
struct ReportFile<'a> {
    schema: u32,
    runs: Vec<RunEntry<'a>>,
    summary: &'a [Summary],
}

/// A run without its training curve and list of pictures, which stay in its record.
#[derive(Serialize)]
struct RunEntry<'a> {
    dataset: &'a str,
    category: &'a str,
    method: &'a str,
    backbone: &'a str,
    seed: u64,
    #[serde(flatten)]
    metrics: Registered<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
    fit_seconds: f64,
    score_images_per_second: f64,
    peak_rss_bytes: Option<u64>,
    device: &'a str,
    image_size: ImageSize,
    n_train: usize,
    n_test_normal: usize,
    n_test_anomalous: usize,
    started_at: u64,
    dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis: Option<&'a Analysis>,
    #[serde(skip_serializing_if = "Findings::is_empty")]
    findings: &'a Findings,
    versions: &'a BTreeMap<String, String>,
    config: &'a fmam_record::RunConfig,
}

/// An object with a key for every metric of the report, so that its layout does not depend on the
/// run.
struct Registered<'a>(&'a Metrics, &'a [&'static MetricEntry]);

impl Serialize for Registered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.1.iter().map(|metric| (metric.key, self.0.get(metric))))
    }
}

impl<'a> RunEntry<'a> {
    fn new(run: &'a RunRecord, metrics: &'a [&'static MetricEntry]) -> Self {
        Self {
            dataset: &run.dataset,
            category: &run.category,
            method: run.method.as_str(),
            backbone: &run.backbone,
            seed: run.seed.value(),
            metrics: Registered(&run.metrics, metrics),
            decision: run.decision.as_ref(),
            fit_seconds: run.fit_seconds,
            score_images_per_second: run.score_images_per_second,
            peak_rss_bytes: run.peak_rss_bytes,
            device: &run.device,
            image_size: run.image_size,
            n_train: run.n_train,
            n_test_normal: run.n_test_normal,
            n_test_anomalous: run.n_test_anomalous,
            started_at: run.started_at,
            dir: run.key().path(),
            analysis: run.analysis.as_ref(),
            findings: &run.findings,
            versions: &run.versions,
            config: &run.config,
        }
    }
}

impl Report {
    /// The text of `report.json`: `{"schema", "runs": [...], "summary": [...]}`. Figures are
    /// fractions; a run's `dir` is its folder relative to the report; a figure that does not exist
    /// is null. The layout is that of [`report_schema`].
    ///
    /// # Errors
    /// [`ReportError::Json`] when a value has no JSON form.
    pub fn json(&self) -> Result<String, ReportError> {
        let file = ReportFile {
            schema: RUN_RECORD_SCHEMA,
            runs: self.runs().iter().map(|run| RunEntry::new(run, self.metrics())).collect(),
            summary: self.summary(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|source| ReportError::Json { source })?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use fmam_metrics::{AUPRO, METRICS, PIXEL_AUROC};

    use super::*;
    use crate::fixture::{record, with_analysis, with_decision, with_findings};
    use crate::render::schema_check::violations;

    #[test]
    fn figures_are_flat_in_runs_and_estimates_in_the_summary() {
        let mut runs: Vec<RunRecord> = (0..2).map(|seed| record("mvtec", "screw", "rkd", seed)).collect();
        runs.iter_mut().for_each(|run| run.metrics.set(&AUPRO, None));
        let value: Value = serde_json::from_str(&Report::from_records(runs).json().unwrap()).unwrap();
        assert_eq!(value["schema"], 1);
        let run = &value["runs"][1];
        assert_eq!(
            (&run["seed"], &run["image_auroc"], &run["aupro"]),
            (&json!(1), &json!(0.91), &Value::Null)
        );
        assert_eq!(run["dir"], "runs/mvtec/screw/rkd/resnet18/seed-1");
        assert_eq!(run["config"]["method"]["train"]["epochs"], 10);
        let summary = &value["summary"][0];
        assert_eq!(summary["method"], "rkd");
        assert_eq!(summary["image_ap"], json!({"mean": 0.96, "std": 0.0, "n": 2}));
        assert_eq!(summary["aupro"], Value::Null);
        assert_eq!(summary["categories"], json!(["screw"]));
    }

    #[test]
    fn a_single_seed_has_no_standard_deviation() {
        let report = Report::from_records(vec![record("demo", "weave", "nkd", 3)]);
        let value: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(value["summary"][0]["image_auroc"], json!({"mean": 0.93, "std": null, "n": 1}));
    }

    /// True if a report satisfies the schema.
    fn is_valid(report: &Value) -> bool {
        let schema = report_schema(METRICS).unwrap();
        let violations = violations(&schema, report);
        violations.iter().for_each(|violation| println!("{violation}"));
        violations.is_empty()
    }

    #[test]
    fn reports_are_as_the_schema_says() {
        let mut runs: Vec<RunRecord> = (0..2).map(|seed| record("mvtec", "screw", "rkd", seed)).collect();
        runs.push(with_analysis(record("mvtec", "cable", "rkd", 0), 0.1));
        runs.push(record("demo", "weave", "nkd", 0));
        runs[3].metrics.set(&PIXEL_AUROC, None);
        runs[3].peak_rss_bytes = None;
        runs.push(with_decision(record("demo", "weave", "padim", 0)));
        runs.push(with_findings(record("demo", "weave", "patchcore", 0)));
        runs[5].n_test_normal = 0;
        let report = Report::from_records(runs);
        // A seed that lacks a category, a single seed, and figures that do not exist.
        assert!(report.summary().iter().any(|row| !row.missing.is_empty()));
        let value: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert!(is_valid(&value));
        assert!(is_valid(&json!({"schema": 1, "runs": [], "summary": []})));

        // The test would miss nothing: each of these is refused.
        let breaks: [fn(&mut Value); 9] = [
            |report| report["schema"] = json!(2),
            |report| report["other"] = json!(1),
            |report| report["runs"][0]["image_auroc"] = json!(96.5),
            |report| report["runs"][0]["image_auroc"] = json!("0.9"),
            |report| drop(report["runs"][0].as_object_mut().unwrap().remove("image_auroc")),
            |report| report["runs"][0]["seed"] = json!("0"),
            |report| report["runs"][0]["new"] = json!(1),
            |report| drop(report["runs"][0].as_object_mut().unwrap().remove("dir")),
            |report| report["summary"][0]["image_auroc"]["n"] = json!(0),
        ];
        for (k, damage) in breaks.into_iter().enumerate() {
            let mut broken = value.clone();
            damage(&mut broken);
            assert!(!is_valid(&broken), "{k}");
        }
        let analysed = value["runs"].as_array().unwrap().iter().position(|run| run.get("analysis").is_some());
        let mut broken = value.clone();
        broken["runs"][analysed.unwrap()]["analysis"]["scales"][0]["real"]["before"]["bias"] = json!(-1);
        assert!(!is_valid(&broken));

        let found = value["runs"].as_array().unwrap().iter().position(|run| run.get("findings").is_some());
        let findings = &value["runs"][found.unwrap()]["findings"];
        assert_eq!(findings["vanished"], json!(["test/scratch/<3>", "test/cut/000"]));
        let breaks: [fn(&mut Value); 5] = [
            |findings| findings["bits"] = json!(11),
            |findings| findings["vanished"] = json!([]),
            |findings| findings["vanished"] = json!([0]),
            |findings| findings["duplicates"] = json!([["a"]]),
            |findings| findings["new"] = json!(1),
        ];
        for (k, damage) in breaks.into_iter().enumerate() {
            let mut broken = value.clone();
            damage(&mut broken["runs"][found.unwrap()]["findings"]);
            assert!(!is_valid(&broken), "findings {k}");
        }

        let judged = value["runs"].as_array().unwrap().iter().position(|run| run.get("decision").is_some());
        let decision = &value["runs"][judged.unwrap()]["decision"];
        assert_eq!(decision["threshold"]["by"], "false-alarms");
        assert_eq!(decision["intervals"]["image_recall"], json!([0.5, 1.0]));
        let breaks: [fn(&mut Value); 4] = [
            |decision| decision["intervals"]["image_recall"] = json!([0.5]),
            |decision| decision["intervals"]["image_recall"] = json!([0.5, 75]),
            |decision| decision["threshold"]["by"] = json!("luck"),
            |decision| decision["threshold"]["promised"] = json!(2),
        ];
        for (k, damage) in breaks.into_iter().enumerate() {
            let mut broken = value.clone();
            damage(&mut broken["runs"][judged.unwrap()]["decision"]);
            assert!(!is_valid(&broken), "decision {k}");
        }
    }
}
