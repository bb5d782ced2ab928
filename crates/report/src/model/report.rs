use std::path::{Path, PathBuf};

use fmam_record::RunRecord;

use crate::error::write_atomic;
use crate::model::analysis::{scatter_table, separability_table};
use crate::model::columns::headlines;
use crate::model::layout::column_title;
use crate::model::paper::{dataset_title, method_title, paper_position, published};
use crate::render::table::{Align, Table};
use crate::render::text::spread_percent;
use crate::{ReportError, Summary};

/// A set of runs and their summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    runs: Vec<RunRecord>,
    summary: Vec<Summary>,
}

impl Report {
    /// Sorts runs by data set, category, method (in the order of the paper's table, then by name), backbone and
    /// seed, and sums them up. Of runs that agree in all five the one started last is kept.
    pub fn from_records(mut runs: Vec<RunRecord>) -> Self {
        runs.sort_by(|a, b| {
            let key = |run| identity(run);
            // The newest first, since `dedup_by` keeps the first.
            key(a).cmp(&key(b)).then(b.started_at.cmp(&a.started_at))
        });
        runs.dedup_by(|later, kept| identity(later) == identity(kept));

        // By row first, so that the runs of one row stand together.
        let mut by_row: Vec<&RunRecord> = runs.iter().collect();
        by_row.sort_by(|a, b| row(a).cmp(&row(b)));
        let summary = by_row.chunk_by(|a, b| row(a) == row(b)).filter_map(Summary::of).collect();
        Self { runs, summary }
    }

    /// The runs, sorted.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// A line for each data set, method and backbone, in this order.
    pub fn summary(&self) -> &[Summary] {
        &self.summary
    }

    /// The summary rows by data set.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &[Summary]> {
        self.summary.chunk_by(|a, b| a.dataset == b.dataset)
    }

    /// The runs of a summary row.
    pub(crate) fn runs_of(&self, row: &Summary) -> impl Iterator<Item = &RunRecord> {
        self.runs.iter().filter(|run| row.covers(run))
    }

    /// A table for a terminal, some 85 columns wide: the headline metrics in per cent, the paper's published
    /// figures beside them.
    pub fn terminal_table(&self) -> String {
        let metrics = headlines(&self.summary);
        let columns = metrics.iter().map(|metric| metric.heading()).chain(["Paper".to_owned()]);
        let left = ["Data set", "Method", "Backbone"].map(|title| (title.to_owned(), Align::Left));
        let mut table = Table::new(left.into_iter().chain(columns.map(|title| (title, Align::Right))));
        let mut compared = false;
        for rows in self.datasets() {
            for (index, row) in rows.iter().enumerate() {
                let paper = published(&row.dataset, &row.method, &row.backbone);
                compared |= paper.is_some();
                let mut cells = vec![
                    if index == 0 { dataset_title(&row.dataset).to_owned() } else { String::new() },
                    method_title(&row.method).to_owned(),
                    row.backbone.clone(),
                ];
                cells.extend(metrics.iter().map(|metric| spread_percent(row.metrics.get(metric))));
                cells.push(paper.map_or_else(
                    || "–".to_owned(),
                    |paper| format!("{:.1} / {:.1}", paper.image_auroc, paper.pixel_auroc),
                ));
                table.row(cells);
            }
        }
        let mut text = table.terminal();
        text.push_str("\nPer cent; mean over categories, then mean ± standard deviation over seeds.\n");
        if self.summary.iter().any(|row| !row.missing.is_empty()) {
            text.push_str(
                "Some runs are missing: seeds that lack a category are left out (see report.md).\n",
            );
        }
        if compared {
            text.push_str(
                "Paper: published image / pixel AUROC, under other settings than these (see report.md).\n",
            );
        }
        text
    }

    /// The analyses of features and scores as tables for a terminal, by data set; empty where no run has one.
    pub fn terminal_analyses(&self) -> String {
        let mut text = String::new();
        for rows in self.datasets() {
            let title = |row: &Summary| column_title(row, rows);
            let tables = [scatter_table(self, rows, &title), separability_table(self, rows, &title)];
            for table in tables.into_iter().flatten() {
                text.push_str(&format!("{}\n\n{}\n", dataset_title(&rows[0].dataset), table.terminal()));
            }
        }
        text
    }

    /// Writes `report.json`, `report.csv`, `summary.csv`, `report.md`, `report.tex` and `report.html` into `dir`, each atomically, and returns their paths.
    ///
    /// # Errors
    /// [`ReportError::Write`] naming the path; [`ReportError::Json`], [`ReportError::Plot`].
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let mut paths = self.write_tables(dir)?;
        let page = dir.join("report.html");
        write_atomic(&page, self.html(dir)?.as_bytes())?;
        paths.push(page);
        Ok(paths)
    }

    /// Writes everything of [`Report::write`] but `report.html`, which encodes the pictures of all runs.
    ///
    /// # Errors
    /// As [`Report::write`].
    pub fn write_tables(&self, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let files = [
            ("report.json", self.json()?),
            ("report.csv", self.csv()),
            ("summary.csv", self.summary_csv()),
            ("report.md", self.markdown()),
            ("report.tex", self.latex()),
        ];
        files
            .into_iter()
            .map(|(name, text)| {
                let path = dir.join(name);
                write_atomic(&path, text.as_bytes())?;
                Ok(path)
            })
            .collect()
    }
}

/// What makes a run this run and no other, in sorting order.
fn identity(run: &RunRecord) -> (&str, &str, (usize, &str), &str, u64) {
    (&run.dataset, &run.category, method_order(run), &run.backbone, run.seed.value())
}

/// The summary row of a run, in sorting order.
fn row(run: &RunRecord) -> (&str, (usize, &str), &str) {
    (&run.dataset, method_order(run), &run.backbone)
}

fn method_order(run: &RunRecord) -> (usize, &str) {
    (position(run.method.as_str()), run.method.as_str())
}

/// Where a method stands among others; those that the paper does not have stand last.
pub(crate) fn position(method: &str) -> usize {
    // Variants, `rkd+fmam@no-margin` say, follow their method.
    let base = method.split_once('@').map_or(method, |(base, _)| base);
    paper_position(base).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use fmam_metrics::{AUPRO, IMAGE_AUROC};

    use super::*;
    use crate::fixture::record;

    #[test]
    fn runs_are_sorted_with_methods_as_the_paper_has_them() {
        let names = ["zeta", "rkd+fmam@wide", "rkd+fmam", "alpha", "rkd", "nkd", "padim"];
        let mut runs: Vec<_> = names.iter().map(|name| record("mvtec", "screw", name, 0)).collect();
        runs.push(record("mvtec", "cable", "zeta", 10));
        runs.push(record("mvtec", "cable", "zeta", 9));
        let report = Report::from_records(runs);
        let order: Vec<_> = report
            .runs()
            .iter()
            .map(|run| format!("{} {} {}", run.category, run.method, run.seed.value()))
            .collect();
        assert_eq!(
            order,
            [
                "cable zeta 9",
                "cable zeta 10",
                "screw padim 0",
                "screw nkd 0",
                "screw rkd 0",
                "screw rkd+fmam 0",
                "screw rkd+fmam@wide 0",
                "screw alpha 0",
                "screw zeta 0"
            ]
        );
        let methods: Vec<_> = report.summary().iter().map(|row| row.method.as_str()).collect();
        assert_eq!(methods, ["padim", "nkd", "rkd", "rkd+fmam", "rkd+fmam@wide", "alpha", "zeta"]);
        assert_eq!(report.summary()[6].missing.len(), 3);
    }

    #[test]
    fn of_a_repeated_run_the_newest_counts() {
        let (old, mut new) = (record("mvtec", "screw", "nkd", 0), record("mvtec", "screw", "nkd", 0));
        new.started_at += 1;
        new.metrics.set(&IMAGE_AUROC, Some(0.5));
        for runs in [vec![old.clone(), new.clone()], vec![new.clone(), old]] {
            assert_eq!(Report::from_records(runs).runs(), [new.clone()]);
        }
    }

    #[test]
    fn the_terminal_table_reads_well() {
        let mut runs = vec![record("demo", "weave", "nkd", 0), record("demo", "weave", "nkd+fmam", 0)];
        runs[1].metrics.set(&AUPRO, None);
        for seed in 0..3 {
            runs.push(record("mvtec", "screw", "rkd", seed));
            runs.push(record("mvtec", "screw", "rkd+fmam", seed));
        }
        runs.push(record("mvtec", "cable", "rkd", 0));
        expect![[r#"
            Data set  Method    Backbone  Image AUROC  Pixel AUROC       AUPRO        Paper
            ────────  ────────  ────────  ───────────  ───────────  ──────────  ───────────
            demo      NKD       resnet18         90.0         95.0        87.5            –
                      NKD+FMAM  resnet18         90.0         95.0           –            –
            MVTec AD  RKD       resnet18         90.0         95.0        87.5  96.1 / 97.1
                      RKD+FMAM  resnet18   91.0 ± 1.0   96.0 ± 1.0  87.5 ± 0.0  98.2 / 97.3

            Per cent; mean over categories, then mean ± standard deviation over seeds.
            Some runs are missing: seeds that lack a category are left out (see report.md).
            Paper: published image / pixel AUROC, under other settings than these (see report.md).
        "#]]
        .assert_eq(&Report::from_records(runs).terminal_table());
    }

    #[test]
    fn writing_gives_six_files_and_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        let report = Report::from_records(vec![record("demo", "weave", "nkd", 0)]);
        let paths = report.write(out.path()).unwrap();
        assert_eq!(paths.len(), 6);
        assert_eq!(std::fs::read_to_string(&paths[1]).unwrap(), report.csv());
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 6);

        let file = out.path().join("report.csv");
        assert!(matches!(report.write(&file), Err(ReportError::Write { .. })));
    }
}
