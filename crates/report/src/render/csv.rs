use fmam_core::Placing;
use fmam_metrics::MetricEntry;
use fmam_record::{EvaluationConfig, Resolution, RunRecord};

use crate::Report;
use crate::model::columns::ranks;
use crate::model::paper::published;
use crate::render::csv_row::CsvRow;

/// Columns of `report.csv` before and after those of the metrics.
const BEFORE: [&str; 5] = ["dataset", "category", "method", "backbone", "seed"];
const AFTER: [&str; 10] = [
    "fit_seconds",
    "score_images_per_second",
    "peak_rss_bytes",
    "device",
    "image_height",
    "image_width",
    "n_train",
    "n_test_normal",
    "n_test_anomalous",
    "started_at",
];

/// The last columns of `report.csv`: image settings and findings. The resolution of pixel figures
/// is empty for a run without them.
const IMAGES: [&str; 9] = [
    "placing",
    "tile_overlap",
    "value_range",
    "background",
    "roi_sha256",
    "pixel_figures_at",
    "bits",
    "n_vanished",
    "n_duplicates",
];

impl Report {
    /// The text of `report.csv`: a header and one line for each run, figures as fractions in full
    /// precision, a figure that does not exist as an empty field, quoted as RFC 4180 has it. The
    /// threshold of the detector and the bounds of the metrics with intervals follow, then the
    /// settings and the findings of the images.
    pub fn csv(&self) -> String {
        let metrics = self.metrics().iter().map(|metric| metric.key);
        let header: Vec<&str> = BEFORE.into_iter().chain(metrics).chain(AFTER).collect();
        let mut text = header.join(",") + ",threshold";
        for metric in with_interval(self.metrics()) {
            text.push_str(&format!(",{key}_low,{key}_high", key = metric.key));
        }
        text.push_str(&format!(",{}\n", IMAGES.join(",")));
        for run in self.runs() {
            text.push_str(&row(run, self.metrics()));
        }
        text
    }
}

/// Columns of `summary.csv` before those of the figures.
const SUMMARY_HEADER: [&str; 5] = ["dataset", "method", "backbone", "categories", "seeds"];

impl Report {
    /// The text of `summary.csv`: a header and a line for each data set, method and backbone: its
    /// numbers of categories and seeds, mean, standard deviation and rank (1 for the best; empty
    /// where nothing competes) of each figure, and what the paper publishes. Ours are fractions,
    /// the paper's too.
    pub fn summary_csv(&self) -> String {
        let mut header: Vec<String> = SUMMARY_HEADER.map(str::to_owned).to_vec();
        for metric in self.metrics() {
            header.extend(["mean", "std", "rank"].map(|what| format!("{}_{what}", metric.key)));
        }
        header.extend(["paper_image_auroc", "paper_pixel_auroc"].map(str::to_owned));
        let mut text = header.join(",") + "\n";
        for rows in self.datasets() {
            for row in rows {
                let names = [&row.dataset, &row.method, &row.backbone];
                let mut line = names.into_iter().fold(CsvRow::new(), |line, name| line.text(name));
                line = line.value(row.categories.len()).value(row.seeds.len());
                let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
                for metric in self.metrics() {
                    let estimate = row.metrics.get(metric);
                    let rank = ranks(row, rows, metric);
                    line = line
                        .value(number(estimate.map(|estimate| estimate.mean)))
                        .value(number(estimate.and_then(|estimate| estimate.std)))
                        .value(rank.map(|better| (better + 1).to_string()).unwrap_or_default());
                }
                let paper = published(&row.dataset, &row.method, &row.backbone);
                let fraction = |per_cent: f64| (10.0 * per_cent).round() / 1000.0;
                line = line
                    .value(number(paper.map(|paper| fraction(paper.image_auroc))))
                    .value(number(paper.map(|paper| fraction(paper.pixel_auroc))));
                text.push_str(&line.end());
            }
        }
        text
    }
}

fn with_interval<'a>(metrics: &'a [&'static MetricEntry]) -> impl Iterator<Item = &'static MetricEntry> + 'a {
    metrics.iter().copied().filter(|metric| metric.interval.is_some())
}

/// The line of a run.
fn row(run: &RunRecord, metrics: &[&'static MetricEntry]) -> String {
    let optional = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let names: [&str; BEFORE.len() - 1] = [&run.dataset, &run.category, run.method.as_str(), &run.backbone];
    let row = names.into_iter().fold(CsvRow::new(), |row, name| row.text(name)).value(run.seed.value());
    let threshold = run.decision.as_ref().map(|decision| decision.threshold.score.to_string());
    let bounds = with_interval(metrics).flat_map(|metric| {
        let interval = run.decision.as_ref().and_then(|decision| decision.interval(metric));
        [0, 1].map(|bound| optional(interval.map(|bounds| bounds[bound])))
    });
    let decision = std::iter::once(threshold.unwrap_or_default()).chain(bounds);
    let metrics = metrics.iter().map(|metric| optional(run.metrics.get(metric)));
    let row = metrics.fold(row, CsvRow::value);
    let row = row
        .value(run.fit_seconds)
        .value(run.score_images_per_second)
        .value(run.peak_rss_bytes.map(|bytes| bytes.to_string()).unwrap_or_default())
        .text(&run.device);
    let after: [String; AFTER.len() - 4] = [
        run.image_size.height.to_string(),
        run.image_size.width.to_string(),
        run.n_train.to_string(),
        run.n_test_normal.to_string(),
        run.n_test_anomalous.to_string(),
        run.started_at.to_string(),
    ];
    after.into_iter().chain(decision).chain(images(run)).fold(row, CsvRow::value).end()
}

/// The fields of [`IMAGES`].
fn images(run: &RunRecord) -> [String; IMAGES.len()] {
    let (data, findings) = (&run.config.data, &run.findings);
    let (placing, overlap) = match data.placing {
        Placing::Squeeze => ("squeeze", None),
        Placing::KeepAspect => ("keep-aspect", None),
        Placing::Tiles { overlap } => ("tiles", Some(overlap)),
    };
    let resolution = match run.config.evaluation {
        EvaluationConfig { pixel_metrics: false, .. } => "",
        EvaluationConfig { at: Resolution::Network, .. } => "network",
        EvaluationConfig { at: Resolution::Original, .. } => "original",
    };
    let [red, green, blue] = data.reading.background;
    [
        placing.to_owned(),
        overlap.map(|overlap| overlap.to_string()).unwrap_or_default(),
        data.reading.values.to_string(),
        format!("#{red:02x}{green:02x}{blue:02x}"),
        data.roi_sha256.clone().unwrap_or_default(),
        resolution.to_owned(),
        findings.bits.map(|bits| bits.to_string()).unwrap_or_default(),
        findings.vanished.len().to_string(),
        findings.duplicates.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use fmam_core::ValueRange;
    use fmam_metrics::{AUPRO, IMAGE_AUROC, PIXEL_AUROC};

    use super::*;
    use crate::fixture::{record, with_decision, with_findings};

    #[test]
    fn a_run_is_a_line() {
        let mut odd = record("folder", "left, \"old\"", "nkd", 0);
        odd.metrics.set(&PIXEL_AUROC, None);
        odd.peak_rss_bytes = None;
        let text = Report::from_records(vec![record("mvtec", "screw", "rkd", 0), odd]).csv();
        let [header, odd, screw] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        // A line of (start, fields of the metrics, end).
        fn parts<'a>(line: &'a str, start: &str, end: &str) -> Vec<&'a str> {
            let figures = line.strip_prefix(start).and_then(|line| line.strip_suffix(end)).expect(line);
            figures.split(',').collect()
        }
        // No run has a threshold, hence no bounds of the five metrics at it.
        let decision = header.split_once(",threshold,").expect(header).1;
        assert_eq!(decision.split(',').count(), 10 + IMAGES.len());
        let keys =
            parts(header, &(BEFORE.join(",") + ","), &format!(",{},threshold,{decision}", AFTER.join(",")));
        assert_eq!(keys, fmam_metrics::METRICS.iter().map(|metric| metric.key).collect::<Vec<_>>());
        let end = ",62.5,31.25,1073741824,cpu,256,256,320,41,119,1700000000,,,,,,,,,,,,squeeze,,auto,#000000,,network,,0,0";
        let screw = parts(screw, "mvtec,screw,rkd,resnet18,0,", end);
        let odd_start = r#"folder,"left, ""old""",nkd,resnet18,0,"#;
        let odd = parts(odd, odd_start, &end.replace("1073741824", ""));
        let figures = |line: &[&str]| {
            ["image_auroc", "pixel_auroc", "aupro", "image_ap", "pixel_ap", "image_f1_max"]
                .map(|key| line[keys.iter().position(|other| *other == key).unwrap()].to_owned())
        };
        assert_eq!(figures(&screw), ["0.9", "0.95", "0.875", "0.96", "0.5", "0.925"]);
        assert_eq!(figures(&odd), ["0.9", "", "0.875", "0.96", "0.5", "0.925"]);
    }

    #[test]
    fn a_name_is_no_formula() {
        let report = Report::from_records(vec![record("folder", "=1+1", "nkd", 0)]);
        assert!(report.csv().contains("\nfolder,'=1+1,nkd,resnet18,0,"), "{}", report.csv());
        let report = Report::from_records(vec![record("@set", "a", "nkd", 0)]);
        assert!(report.summary_csv().contains("\n'@set,nkd,resnet18,1,1,"), "{}", report.summary_csv());
    }

    #[test]
    fn a_run_with_a_threshold_has_it_and_the_bounds_of_its_rates() {
        let text = Report::from_records(vec![with_decision(record("mvtec", "screw", "rkd", 0))]).csv();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
        let of = |name| lines[1][lines[0].iter().position(|title| *title == name).expect(name)];
        assert_eq!((of("threshold"), of("image_recall"), of("image_precision")), ("0.6", "0.75", ""));
        assert_eq!((of("image_recall_low"), of("image_recall_high")), ("0.5", "1"));
        assert_eq!((of("image_precision_low"), of("image_precision_high")), ("", ""));
    }

    #[test]
    fn a_run_has_its_image_settings_and_the_numbers_of_its_findings() {
        let mut run = with_findings(record("mvtec", "screw", "rkd", 0));
        run.config.data.placing = Placing::Tiles { overlap: 64 };
        run.config.data.reading.values = ValueRange::Between { low: 0.0, high: 1.0 };
        run.config.data.reading.background = [255, 0, 16];
        run.config.data.roi_sha256 = Some("0123".to_owned());
        run.config.evaluation.at = Resolution::Original;
        let text = Report::from_records(vec![run.clone()]).csv();
        let end = ",tiles,64,\"0,1\",#ff0010,0123,original,12,2,1\n";
        assert!(text.ends_with(end), "{text}");
        run.config.evaluation.pixel_metrics = false;
        let text = Report::from_records(vec![run]).csv();
        assert!(text.ends_with(",0123,,12,2,1\n"), "{text}");
    }

    #[test]
    fn the_summary_has_ranks_and_the_papers_figures() {
        let mut runs = vec![record("mvtec", "screw", "rkd", 0), record("mvtec", "screw", "rkd", 1)];
        runs.push(record("mvtec", "screw", "rkd+fmam", 0));
        runs[2].metrics.set(&IMAGE_AUROC, Some(0.97));
        runs[2].metrics.set(&AUPRO, None);
        let text = Report::from_records(runs).summary_csv();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let column = |name| lines[0].iter().position(|title| *title == name).unwrap();
        let of = |line: usize, name| lines[line][column(name)];
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert_eq!((of(1, "method"), of(1, "seeds"), of(2, "seeds")), ("rkd", "2", "1"));
        assert_eq!((of(1, "image_auroc_mean"), of(1, "image_auroc_rank")), ("0.905", "2"));
        assert_eq!((of(2, "image_auroc_std"), of(2, "image_auroc_rank")), ("", "1"));
        assert_eq!((of(2, "aupro_mean"), of(2, "paper_image_auroc")), ("", "0.982"));
    }
}
