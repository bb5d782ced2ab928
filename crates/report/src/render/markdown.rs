use std::collections::BTreeSet;

use fmam_metrics::MetricEntry;
use fmam_record::RunRecord;

use crate::model::columns::{all_categories, headlines, metrics, ranks};
use crate::model::image_settings::{DEFAULTS, differ_in_pixels, placed_size, reading_and_evaluation};
use crate::model::layout::{self, Layout, has_several_backbones};
use crate::model::paper::{dataset_title, method_title};
use crate::model::settings::{device, distinct, epochs, versions};
use crate::render::analysis::{scatter_table, separability_table};
use crate::render::notes::{ABOUT_IMAGES, about_images, mixed_settings};
use crate::render::table::{Align, Table};
use crate::render::{ablation, comparison, gallery};
use crate::text::{Markup, code, escape, listed, short, spread_percent};
use crate::{Estimate, Report, Summary};

/// The sentences above the tables of results.
fn legend(metrics: &[&MetricEntry]) -> String {
    let titles = |is_meant: fn(&MetricEntry) -> bool| -> Vec<&str> {
        metrics.iter().filter(|metric| is_meant(metric)).map(|metric| metric.title).collect()
    };
    let oracle = match &titles(|metric| metric.is_oracle)[..] {
        [] => String::new(),
        [one] => format!("{one} is an *oracle*: its threshold is chosen on the test set. "),
        many => format!("{} are *oracles*: their thresholds are chosen on the test set. ", listed(many)),
    };
    let lower = match &titles(|metric| !metric.higher_is_better)[..] {
        [] => String::new(),
        some => format!("Of {} the lower value is the better one. ", listed(some)),
    };
    let at_threshold = match &titles(|metric| metric.needs_threshold)[..] {
        [] => String::new(),
        some => format!(
            "{}: at the threshold that the detector was calibrated with; runs without one have no figure. ",
            listed(some)
        ),
    };
    format!(
        "Figures are in per cent, from the last epoch. Each is the mean over the categories, then over the \
         seeds; ± is the sample standard deviation over the seeds. The best of a column is **bold**, the \
         second best in _italics_. AUPRO is taken up to a false positive rate of 0.3. {oracle}{at_threshold}{lower}Fit is \
         seconds of fitting for one category, Images/s the test images scored in a second.\n"
    )
}

const PICTURES: &str = "\
From left to right: the input; the input with the ground truth outlined; the anomaly map over the input; the map \
alone. One run's maps share a colour scale, from the lowest score at the foot of the bar to the highest; the ticks \
beside the bar mark the lowest and the highest score of the map shown. Scores of different methods do not compare. All methods \
side by side, the worst mistakes and the distributions of the scores lie as SVG and PNG in [figures](figures).
";

impl Report {
    /// The text of `report.md`: results, the paper's figures beside them, pictures, figures by
    /// category, settings. Links are relative to the folder that holds `runs`.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Anomaly detection report\n\n{}\n", self.opening());
        if self.runs().is_empty() {
            return text;
        }
        text.push_str(&format!("\n## Results\n\n{}\n", legend(&metrics(self.summary()))));
        for rows in self.datasets() {
            text.push_str(&format!("### {}\n\n{}\n", heading(rows), results(rows)));
            for note in notes(self, rows) {
                text.push_str(&format!("- {note}\n"));
            }
            text.push_str(if text.ends_with("\n\n") { "" } else { "\n" });
            let about = about_images(self.runs_on(rows), Markup::Markdown);
            if !about.is_empty() {
                text.push_str(&format!("#### {ABOUT_IMAGES}\n\n- {}\n\n", about.join("\n- ")));
            }
        }
        text.push_str(&format!("## The paper's figures\n\n{}\n", comparison::section(self)));

        let pictures: Vec<(String, String)> = self
            .datasets()
            .map(|rows| (heading(rows), gallery::section(self, rows)))
            .filter(|(_, pictures)| !pictures.is_empty())
            .collect();
        if !pictures.is_empty() {
            text.push_str(&format!("## Pictures\n\n{PICTURES}\n"));
        }
        for (heading, pictures) in pictures {
            text.push_str(&format!("### {heading}\n\n{pictures}"));
        }

        text.push_str(&ablations(self));
        text.push_str(&paper_layouts(self));
        text.push_str(&analyses(self));
        text.push_str("## By category\n\n");
        for rows in self.datasets() {
            text.push_str(&format!("### {}\n\n{}", heading(rows), by_category(self, rows)));
        }
        text.push_str(&format!("## Settings\n\n{}", settings(self)));
        text
    }

    fn opening(&self) -> String {
        let [runs, datasets, categories, methods, seeds] = self.counts();
        format!(
            "{runs}: {datasets}, {categories}, {methods}, {seeds}. Every figure stands in [report.csv](report.csv) and \
             [report.json](report.json)."
        )
    }

    /// The numbers of runs, data sets, categories, methods and seeds, in words.
    pub(crate) fn counts(&self) -> [String; 5] {
        let runs = self.runs();
        let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let n_distinct = |of: fn(&RunRecord) -> String| runs.iter().map(of).collect::<BTreeSet<_>>().len();
        [
            count(runs.len(), "run", "runs"),
            count(self.datasets().count(), "data set", "data sets"),
            count(n_distinct(|run| format!("{}\n{}", run.dataset, run.category)), "category", "categories"),
            count(n_distinct(|run| run.method.to_string()), "method", "methods"),
            count(n_distinct(|run| run.seed.value().to_string()), "seed", "seeds"),
        ]
    }
}

const ABLATION: &str = "\
Variants of a method, each with the settings in which it differs; Δ is the difference to the method as it is, in points, where both have \
the same categories and seeds.
";

fn ablations(report: &Report) -> String {
    let of = |rows: &[Summary]| Some(ablation::section(report, rows)).filter(|text| !text.is_empty());
    let sections =
        report.datasets().filter_map(|rows| Some(format!("### {}\n\n{}", heading(rows), of(rows)?)));
    let sections: String = sections.collect();
    if sections.is_empty() { sections } else { format!("## Ablation\n\n{ABLATION}\n{sections}") }
}

/// Data sets side by side, and backbones with and without feature mapping, where there are several.
fn paper_layouts(report: &Report) -> String {
    let mut layouts: Vec<Layout> = layout::table_1(report).into_iter().collect();
    layouts.extend(report.datasets().flat_map(layout::table_4));
    layouts
        .iter()
        .map(|layout| {
            format!("## {}\n\n{}\n", layout.title, Table::laid_out(layout, Markup::Markdown).markdown())
        })
        .collect()
}

const SCORES: &str = "\
How far the scores of normal and anomalous images, and those of pixels inside and outside of the masks, lie apart: the area \
that both histograms share, Fisher's discriminant ratio (the squared difference of the means over the sum of the variances), \
and the Kolmogorov-Smirnov distance.
";

const FEATURES: &str = "\
Features of length 1 at positions of test images. Bias is the mean distance of defective features to the mean normal feature, \
variance the mean squared distance of normal features to it; `about the student`, both are to what the student expects at the \
same position, the discrepancy that is scored. Defects are the test images' own (real) and synthetic ones in normal test images.
";

/// The distribution analysis and the statistical one, of the data sets that have them.
fn analyses(report: &Report) -> String {
    type Section =
        (&'static str, &'static str, fn(&Report, &[Summary], &dyn Fn(&Summary) -> String) -> Option<Table>);
    let sections: [Section; 2] =
        [("Scores", SCORES, separability_table), ("Features", FEATURES, scatter_table)];
    let mut text = String::new();
    for (title, legend, table) in sections {
        let table = |rows: &[Summary]| {
            let title = |row: &Summary| in_column(row, rows);
            Some(format!("### {}\n\n{}\n", heading(rows), table(report, rows, &title)?.markdown()))
        };
        let tables: String = report.datasets().filter_map(table).collect();
        if !tables.is_empty() {
            text.push_str(&format!("## {title}\n\n{legend}\n{tables}"));
        }
    }
    text
}

/// A row's method, with its backbone where the rows have several.
fn in_column(row: &Summary, rows: &[Summary]) -> String {
    let method = escape(method_title(&row.method));
    if has_several_backbones(rows) { format!("{method} {}", code(&row.backbone)) } else { method }
}

fn heading(rows: &[Summary]) -> String {
    escape(dataset_title(&rows[0].dataset))
}

fn row_title(row: &Summary) -> String {
    format!("{} ({})", escape(method_title(&row.method)), code(&row.backbone))
}

fn results(rows: &[Summary]) -> String {
    let left = ["Method", "Backbone"].map(|title| (title, Align::Left));
    let metrics = metrics(rows);
    let speeds = ["Fit", "Images/s"].map(str::to_owned);
    let right = metrics.iter().map(|metric| metric.heading()).chain(speeds);
    let left = left.map(|(title, align)| (title.to_owned(), align));
    let mut table = Table::new(left.into_iter().chain(right.map(|title| (title, Align::Right))));
    for row in rows {
        let figures = metrics.iter().map(|metric| {
            let text = spread_percent(row.metrics.get(metric));
            Markup::Markdown.ranked(text, ranks(row, rows, metric))
        });
        let identity = [escape(method_title(&row.method)), code(&row.backbone)];
        let speeds = [seconds(row.fit_seconds), amount(row.score_images_per_second)];
        table.row(identity.into_iter().chain(figures).chain(speeds));
    }
    table.markdown()
}

/// Notes about the rows: categories, gaps, mixed settings.
fn notes(report: &Report, rows: &[Summary]) -> Vec<String> {
    let all = all_categories(rows);
    let n = all.len();
    let noun = if n == 1 { "category" } else { "categories" };
    let mut notes = vec![format!("Mean over {n} {noun}: {}.", escape(&listed(&all)))];
    for row in rows {
        let title = row_title(row);
        if row.categories != all {
            let covered = escape(&listed(&row.categories));
            notes.push(format!(
                "{title} has run on {covered} only; its figures do not compare with the others."
            ));
        }
        for gaps in row.missing.chunk_by(|a, b| a.seed == b.seed) {
            let lacking: Vec<&str> = gaps.iter().map(|cell| cell.category.as_str()).collect();
            let (seed, lacking) = (gaps[0].seed, escape(&listed(&lacking)));
            notes.push(format!("{title}: seed {seed} is left out, for it has not run on {lacking}."));
        }
        notes.extend(mixed_settings(report, row, &title, Markup::Markdown));
    }
    notes
}

/// The images of each category, then a table for each of three figures.
fn by_category(report: &Report, rows: &[Summary]) -> String {
    let all = all_categories(rows);
    let images = ["Train", "Test normal", "Test anomalous"].map(|title| (title, Align::Right));
    let mut table = Table::new([("Images", Align::Left)].into_iter().chain(images));
    for category in &all {
        let runs =
            || report.runs().iter().filter(|run| run.dataset == rows[0].dataset && run.category == *category);
        table.row([
            escape(category),
            distinct(runs(), |run| run.n_train.to_string()),
            distinct(runs(), |run| run.n_test_normal.to_string()),
            distinct(runs(), |run| run.n_test_anomalous.to_string()),
        ]);
    }
    let mut text = table.markdown() + "\n";
    if all.len() == 1 {
        // The results already are this category's.
        return text;
    }
    for metric in headlines(rows) {
        let methods = rows.iter().map(|row| (in_column(row, rows), Align::Right));
        let mut table = Table::new([(metric.heading(), Align::Left)].into_iter().chain(methods));
        for category in &all {
            let cells = rows.iter().map(|row| {
                let runs = || report.runs_of(row).filter(|run| run.category == *category);
                let values: Vec<f64> = runs().filter_map(|run| run.metrics.get(metric)).collect();
                spread_percent(Estimate::of(&values).filter(|_| !differ_in_pixels(runs())))
            });
            table.row([escape(category)].into_iter().chain(cells));
        }
        text.push_str(&format!("{}\n", table.markdown()));
    }
    text
}

fn settings(report: &Report) -> String {
    let mut titles = vec!["Data set", "Method", "Backbone", "Image size", "Epochs", "Seeds", "Device"];
    if report.runs().iter().any(|run| reading_and_evaluation(run) != DEFAULTS) {
        titles.push("Reading and evaluation");
    }
    let n_columns = titles.len();
    let mut table = Table::new(titles.into_iter().map(|title| (title, Align::Left)));
    for row in report.summary() {
        let of = |value: fn(&RunRecord) -> String| distinct(report.runs_of(row), value);
        let epochs = of(epochs);
        let seeds: BTreeSet<u64> = report.runs_of(row).map(|run| run.seed.value()).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let cells = [
            escape(dataset_title(&row.dataset)),
            escape(method_title(&row.method)),
            code(&row.backbone),
            of(placed_size),
            if epochs.is_empty() { "–".to_owned() } else { epochs },
            seeds.join(", "),
            of(device),
            escape(&of(reading_and_evaluation)),
        ];
        table.row(cells.into_iter().take(n_columns));
    }
    let versions: Vec<String> = versions(report.runs()).into_iter().collect();
    format!(
        "{}\nVersions: {}. The resolved configuration of a run stands in its `record.json`, under \
         `runs/<data set>/<category>/<method>/<backbone>/seed-<n>/`.\n",
        table.markdown(),
        escape(&versions.join(", "))
    )
}

fn seconds(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "–".to_owned(), |_| format!("{} s", amount(estimate)))
}

fn amount(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "–".to_owned(), |estimate| short(estimate.mean))
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;
    use fmam_core::Placing;
    use fmam_metrics::IMAGE_AUROC;
    use fmam_record::Resolution;

    use super::*;
    use crate::fixture::{raise, record, with_findings, with_overlays};

    #[test]
    fn the_whole_report() {
        let mut runs = Vec::new();
        for (method, gain) in [("nkd", 0.0), ("nkd+fmam", 0.04), ("rkd+fmam", 0.02)] {
            for (category, seeds) in [("cable", 0..2), ("metal_nut", 0..2)] {
                for seed in seeds {
                    let mut run = with_overlays(record("mvtec", category, method, seed), &["scratch", "cut"]);
                    raise(&mut run, &IMAGE_AUROC, gain);
                    runs.push(run);
                }
            }
        }
        runs.pop();
        runs.push(record("mvtec", "cable", "spade", 0));
        runs.push(record("demo", "weave", "nkd", 0));
        runs.push(record("demo", "weave", "own", 0));
        let text = Report::from_records(runs).markdown();
        expect_file!["../../tests/report.md"].assert_eq(&text);
    }

    #[test]
    fn findings_stand_below_the_results_and_image_settings_in_their_table() {
        let mut run = with_findings(record("mvtec", "screw", "nkd", 0));
        run.config.data.placing = Placing::Tiles { overlap: 64 };
        run.config.evaluation.at = Resolution::Original;
        run.config.data.roi_sha256 = Some("01234567|89".to_owned());
        let text = Report::from_records(vec![run, record("demo", "weave", "nkd", 0)]).markdown();
        let (_, about) = text.split_once("#### About the images\n\n").unwrap();
        assert_eq!(about.lines().take_while(|line| line.starts_with("- ")).count(), 5, "{text}");
        assert!(about.contains("left at the original resolution: `test/cut/000`"), "{about}");
        assert_eq!(text.matches("#### About the images").count(), 1);
        let (_, settings) = text.split_once("## Settings").unwrap();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows: Vec<_> = settings.lines().filter(|line| line.contains("NKD")).map(cells).collect();
        assert_eq!((rows[0][4].as_str(), rows[0][8].as_str()), ("256×256", "default"), "{settings}");
        let told = "region of interest 01234567; pixel figures at the original resolution";
        assert_eq!((rows[1][4].as_str(), rows[1][8].as_str()), ("tiles of 256×256, overlap 64", told));
        for note in
            ["cut into tiles of 256×256;", "pixel figures are at the original", "a region of interest;"]
        {
            assert!(text.contains(note), "{note}");
        }
    }

    #[test]
    fn a_report_of_nothing_says_so() {
        let text = Report::from_records(Vec::new()).markdown();
        assert!(text.contains("0 runs") && !text.contains("##"), "{text}");
    }
}
