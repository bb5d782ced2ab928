//! `report.html`: one file with everything in it, for a browser without a network.
//!
//! Tables are written here and can be read without a script; `assets/report.js` sorts and filters
//! them and shows a run, from the data that [`page_data`] puts into the page.

mod evidence;
mod pictures;
mod tables;

use std::path::Path;

use fmam_record::{Decision, RunRecord};
use serde_json::{Value, json};

use crate::model::columns::metrics;
use crate::model::image_settings::{DEFAULTS, placed_size, reading_and_evaluation};
use crate::model::paper::{dataset_title, method_title};
use crate::picture::overlay::panel_lefts;
use crate::picture::plots;
use crate::render::notes::about_images;
use crate::text::Markup;
use crate::{Report, ReportError};
use pictures::Pictures;

const STYLE: &str = include_str!("../../../assets/report.css");
const SCRIPT: &str = include_str!("../../../assets/report.js");

impl Report {
    /// The text of `report.html`. Pictures are read from the runs' folders and `figures` under
    /// `dir`; of one that is missing the image's score is shown alone. Beyond 24 MiB they are links
    /// to their files.
    ///
    /// # Errors
    /// [`ReportError::Plot`], [`ReportError::Json`].
    pub fn html(&self, dir: &Path) -> Result<String, ReportError> {
        let mut pictures = Pictures::new();
        let mut results = evidence::datasets_side_by_side(self);
        for (k, rows) in self.datasets().enumerate() {
            let evidence = evidence::of_dataset(self, rows, dir, &mut pictures)?;
            results += &tables::dataset(self, k, rows, &evidence);
        }
        let data = page_data(self, dir, &mut pictures)?;
        // Nothing in it may end the element that holds it.
        let data = serde_json::to_string(&data).map_err(|source| ReportError::Json { source })?;
        let data = data.replace('<', "\\u003c");
        let (runs, filters) = (tables::runs(self), tables::filters(self));
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
             <title>Anomaly detection report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to the results</a>\n\
             <header>\n<h1>Anomaly detection report</h1>\n<p>{}</p>\n\
             <button type=\"button\" id=\"theme\" hidden>Dark</button>\n</header>\n\
             <main id=\"main\">\n{results}\n\
             <section aria-labelledby=\"runs-title\">\n<h2 id=\"runs-title\">Runs</h2>\n{filters}\n{runs}\n</section>\n\
             <section id=\"run\" aria-labelledby=\"run-title\" hidden></section>\n</main>\n\
             <footer><p>Written by fmam. Figures in per cent, from the last epoch{}. The same figures for machines: \
             report.json and report.csv.</p></footer>\n\
             <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            tables::opening(self),
            tables::remarks(self),
        ))
    }
}

/// The data of the runs that the script shows.
fn page_data(report: &Report, dir: &Path, pictures: &mut Pictures) -> Result<Value, ReportError> {
    let runs = report.runs().iter().map(|run| run_data(run, dir, pictures));
    let [left, right, above, below] = plots::MARGINS;
    let metrics = metrics(report.summary()).into_iter();
    let metrics: Vec<Value> =
        metrics.map(|metric| json!({ "key": metric.key, "title": metric.heading() })).collect();
    Ok(json!({
        "plot": { "size": [plots::SIZE.0, plots::SIZE.1], "left": left, "right": right, "above": above, "below": below },
        "metrics": metrics,
        "runs": runs.collect::<Result<Vec<_>, ReportError>>()?,
    }))
}

fn run_data(run: &RunRecord, dir: &Path, pictures: &mut Pictures) -> Result<Value, ReportError> {
    let folder = run.key().path();
    let samples = &run.artefacts.images;
    let shown: Vec<Value> = samples
        .iter()
        .map(|sample| {
            let path = sample.path.as_ref().map(|path| format!("{folder}/{path}"));
            json!({
                "id": sample.sample,
                "anomalous": sample.label == fmam_core::Label::Anomalous,
                "defect": sample.defect_type,
                // As the range is: the nearest number of half the precision would not be equal to
                // it.
                "score": f64::from(sample.image_score),
                "picture": path.and_then(|path| pictures.source(dir, &path)),
            })
        })
        .collect();
    let pixels = run.pixels.as_ref();
    let on_page = |plot: Option<String>| plot.as_deref().map(plots::on_page);
    Ok(json!({
        "id": folder,
        "dataset": dataset_title(&run.dataset),
        "category": run.category,
        "method": method_title(run.method.as_str()),
        "backbone": run.backbone,
        "seed": run.seed.value(),
        "device": run.device,
        "image_size": [run.image_size.height, run.image_size.width],
        "placed_size": placed_size(run),
        "reading_and_evaluation": Some(reading_and_evaluation(run)).filter(|text| text != DEFAULTS),
        "about_images": about_images([run], Markup::Plain),
        "panels": panel_lefts(run.image_size),
        "n_train": run.n_train,
        "n_test": [run.n_test_normal, run.n_test_anomalous],
        "metrics": run.metrics,
        "decision": run.decision.as_ref().map(|decision| {
            let Decision { threshold, confidence, intervals, .. } = decision;
            // In double precision, as the scores are.
            let score = f64::from(threshold.score);
            json!({ "threshold": score, "confidence": confidence, "intervals": intervals })
        }),
        "fit_seconds": run.fit_seconds,
        "images_per_second": run.score_images_per_second,
        "peak_rss_bytes": run.peak_rss_bytes,
        "started_at": run.started_at,
        "config": run.config,
        "versions": run.versions,
        "analysis": run.analysis.as_ref().map(|analysis| {
            json!({ "image_scores": analysis.image_scores, "pixel_scores": analysis.pixel_scores })
        }),
        "samples": shown,
        "score_range": plots::score_range(samples),
        "plots": {
            "rates": on_page(plots::rates(samples, pixels)?),
            "image_scores": on_page(plots::image_scores(samples)?),
            "pixel_scores": on_page(pixels.map(plots::pixel_scores).transpose()?.flatten()),
            "training": on_page(plots::training(&run.curve)?),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, with_decision, with_findings, with_overlays};

    fn report() -> Report {
        let mut run = with_overlays(record("mvtec", "screw", "rkd+fmam", 0), &["scratch", "cut"]);
        run.category = "</script><b>screw".to_owned();
        Report::from_records(vec![run, record("mvtec", "screw", "nkd", 0)])
    }

    #[test]
    fn names_cannot_break_the_page() {
        let dir = tempfile::tempdir().unwrap();
        let page = report().html(dir.path()).unwrap();
        assert!(!page.contains("<b>screw"), "{page}");
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;screw"));
        assert_eq!(page.matches("</script>").count(), 2);
    }

    #[test]
    fn findings_and_mixed_settings_stand_beside_the_results_and_in_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs: Vec<_> =
            (0..2).map(|seed| with_findings(record("mvtec", "screw", "nkd", seed))).collect();
        runs[1].image_size = fmam_core::ImageSize::new(160, 768);
        let page = Report::from_records(runs.clone()).html(dir.path()).unwrap();
        let (_, section) = page.split_once("<h3>About the images</h3>").unwrap();
        let (notes, _) = section.split_once("</ul>").unwrap();
        assert!(notes.contains("test/scratch/&lt;3&gt;.</li>"), "{notes}");
        assert_eq!(notes.matches("<li>").count(), 6, "{notes}");
        assert!(!page.contains("scratch/<3>"), "an id is taken for HTML");
        assert!(page.contains("<li>NKD mixes runs of different image sizes: 256×256 / 160×768.</li>"));
        let data = data_of(&page);
        assert_eq!(data["runs"][1]["placed_size"], "160×768");
        assert_eq!(data["runs"][1]["reading_and_evaluation"], Value::Null);
        assert_eq!(data["runs"][1]["about_images"].as_array().unwrap().len(), 5);

        runs.iter_mut().for_each(|run| *run = record("mvtec", "screw", "nkd", run.seed.value()));
        let page = Report::from_records(runs).html(dir.path()).unwrap();
        assert!(!page.contains("<h3>About the images</h3>") && !page.contains("class=\"notes\""));
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let dir = tempfile::tempdir().unwrap();
        let page = report().html(dir.path()).unwrap();
        for address in ["http://", "https://", "src=\"//", "@import", "url("] {
            let found = page.replace("http://www.w3.org/2000/svg", "").contains(address);
            assert!(!found, "{address}");
        }
    }

    fn data_of(page: &str) -> Value {
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn a_run_has_the_threshold_that_its_slider_starts_at() {
        let dir = tempfile::tempdir().unwrap();
        let runs =
            vec![with_decision(record("mvtec", "screw", "nkd", 0)), record("mvtec", "screw", "rkd", 0)];
        let page = Report::from_records(runs).html(dir.path()).unwrap();
        let data = data_of(&page);
        // Neither rounded nor a string: compared with the scores of the images.
        assert_eq!(data["runs"][0]["decision"]["threshold"].as_f64(), Some(f64::from(0.6_f32)));
        assert_eq!(data["runs"][0]["decision"]["intervals"]["image_recall"], json!([0.5, 1.0]));
        assert_eq!(data["runs"][1]["decision"], Value::Null);
        assert!(page.contains("are at the threshold that the detector was calibrated with"));
    }

    #[test]
    fn the_data_of_the_page_are_those_of_the_runs() {
        let dir = tempfile::tempdir().unwrap();
        let page = report().html(dir.path()).unwrap();
        let data = data_of(&page);
        let runs = data["runs"].as_array().unwrap();
        let run = runs.iter().find(|run| run["method"] == "RKD+FMAM").unwrap();
        assert_eq!(run["metrics"]["image_auroc"], 0.9);
        assert_eq!(run["samples"].as_array().unwrap().len(), 3);
        assert!(run["plots"]["rates"].as_str().unwrap().starts_with("<svg"));
        assert_eq!(run["samples"][0]["picture"], Value::Null);
    }
}
