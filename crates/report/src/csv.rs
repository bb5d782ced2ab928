use std::borrow::Cow;

use fmam_record::RunRecord;

use crate::Report;
use crate::markdown::{Figure, ranks};
use crate::paper::published;

const HEADER: [&str; 21] = [
    "dataset",
    "category",
    "method",
    "backbone",
    "seed",
    "image_auroc",
    "pixel_auroc",
    "aupro",
    "image_ap",
    "pixel_ap",
    "image_f1_max",
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

impl Report {
    /// The text of `report.csv`: a header and one line for each run, figures as fractions in full precision, a
    /// figure that does not exist as an empty field, quoted as RFC 4180 has it.
    pub fn csv(&self) -> String {
        let mut text = HEADER.join(",") + "\n";
        for run in self.runs() {
            let line: Vec<String> = fields(run).iter().map(|field| quoted(field).into_owned()).collect();
            text.push_str(&line.join(","));
            text.push('\n');
        }
        text
    }
}

/// Columns of `summary.csv` before those of the figures.
const SUMMARY_HEADER: [&str; 5] = ["dataset", "method", "backbone", "categories", "seeds"];

/// Columns of each figure in `summary.csv`.
const SUMMARY_FIGURES: [(&str, Figure); 6] = [
    ("image_auroc", |row| row.image_auroc),
    ("pixel_auroc", |row| row.pixel_auroc),
    ("aupro", |row| row.aupro),
    ("image_ap", |row| row.image_ap),
    ("pixel_ap", |row| row.pixel_ap),
    ("image_f1_max", |row| row.image_f1_max),
];

impl Report {
    /// The text of `summary.csv`: a header and a line for each data set, method and backbone: its numbers of categories and
    /// seeds, mean, standard deviation and rank (1 for the best; empty where nothing competes) of each figure, and what the paper
    /// publishes. Ours are fractions, the paper's too.
    pub fn summary_csv(&self) -> String {
        let mut header: Vec<String> = SUMMARY_HEADER.map(str::to_owned).to_vec();
        for (name, _) in SUMMARY_FIGURES {
            header.extend(["mean", "std", "rank"].map(|what| format!("{name}_{what}")));
        }
        header.extend(["paper_image_auroc", "paper_pixel_auroc"].map(str::to_owned));
        let mut text = header.join(",") + "\n";
        for rows in self.datasets() {
            for row in rows {
                let names = [row.dataset.clone(), row.method.clone(), row.backbone.clone()];
                let counts = [row.categories.len(), row.seeds.len()].map(|n| n.to_string());
                let mut line: Vec<String> = names.into_iter().chain(counts).collect();
                let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
                for (_, figure) in SUMMARY_FIGURES {
                    let estimate = figure(row);
                    line.push(number(estimate.map(|estimate| estimate.mean)));
                    line.push(number(estimate.and_then(|estimate| estimate.std)));
                    line.push(
                        ranks(row, rows, figure).map(|better| (better + 1).to_string()).unwrap_or_default(),
                    );
                }
                let paper = published(&row.dataset, &row.method, &row.backbone);
                let fraction = |per_cent: f64| (10.0 * per_cent).round() / 1000.0;
                line.push(number(paper.map(|paper| fraction(paper.image_auroc))));
                line.push(number(paper.map(|paper| fraction(paper.pixel_auroc))));
                let line: Vec<_> = line.iter().map(|field| quoted(field)).collect();
                text.push_str(&(line.join(",") + "\n"));
            }
        }
        text
    }
}

fn fields(run: &RunRecord) -> [String; HEADER.len()] {
    let optional = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let metrics = &run.metrics;
    [
        run.dataset.clone(),
        run.category.clone(),
        run.method.to_string(),
        run.backbone.clone(),
        run.seed.value().to_string(),
        metrics.image_auroc.to_string(),
        optional(metrics.pixel_auroc),
        optional(metrics.aupro),
        metrics.image_ap.to_string(),
        optional(metrics.pixel_ap),
        metrics.image_f1_max.to_string(),
        run.fit_seconds.to_string(),
        run.score_images_per_second.to_string(),
        run.peak_rss_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        run.device.clone(),
        run.image_size.height.to_string(),
        run.image_size.width.to_string(),
        run.n_train.to_string(),
        run.n_test_normal.to_string(),
        run.n_test_anomalous.to_string(),
        run.started_at.to_string(),
    ]
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_run_is_a_line() {
        let mut odd = record("folder", "left, \"old\"", "nkd", 0);
        odd.metrics.pixel_auroc = None;
        odd.peak_rss_bytes = None;
        expect![[r#"
            dataset,category,method,backbone,seed,image_auroc,pixel_auroc,aupro,image_ap,pixel_ap,image_f1_max,fit_seconds,score_images_per_second,peak_rss_bytes,device,image_height,image_width,n_train,n_test_normal,n_test_anomalous,started_at
            folder,"left, ""old""",nkd,resnet18,0,0.9,,0.875,0.96,0.5,0.925,62.5,31.25,,cpu,256,256,320,41,119,1700000000
            mvtec,screw,rkd,resnet18,0,0.9,0.95,0.875,0.96,0.5,0.925,62.5,31.25,1073741824,cpu,256,256,320,41,119,1700000000
        "#]]
        .assert_eq(&Report::from_records(vec![record("mvtec", "screw", "rkd", 0), odd]).csv());
    }

    #[test]
    fn the_summary_has_ranks_and_the_papers_figures() {
        let mut runs = vec![record("mvtec", "screw", "rkd", 0), record("mvtec", "screw", "rkd", 1)];
        runs.push(record("mvtec", "screw", "rkd+fmam", 0));
        runs[2].metrics.image_auroc = 0.97;
        runs[2].metrics.aupro = None;
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
