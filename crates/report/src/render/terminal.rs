//! The tables for a terminal.

use crate::model::columns::headlines;
use crate::model::findings::ImageFindings;
use crate::model::image_settings::differ_in_pixels;
use crate::model::layout::column_title;
use crate::model::paper::{dataset_title, method_title, published};
use crate::render::analysis::{scatter_table, separability_table};
use crate::render::table::{Align, Table};
use crate::text::spread_percent;
use crate::{Report, Summary};

impl Report {
    /// A table for a terminal, some 85 columns wide: the headline metrics in per cent, the paper's
    /// published figures beside them.
    pub fn terminal_table(&self) -> String {
        let metrics = headlines(self.summary());
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
        if self.summary().iter().any(|row| !row.missing.is_empty()) {
            text.push_str(
                "Some runs are missing: seeds that lack a category are left out (see report.md).\n",
            );
        }
        if self.summary().iter().any(|row| differ_in_pixels(self.runs_of(row))) {
            text.push_str("Rows without figures mix runs of different image settings (see report.md).\n");
        }
        let found: Vec<_> = self.datasets().map(|rows| ImageFindings::of(self.runs_on(rows))).collect();
        let n_vanished: usize = found.iter().map(ImageFindings::n_vanished).sum();
        if n_vanished > 0 {
            text.push_str(&format!(
                "Masks without a pixel left at the resolution of the pixel figures: {n_vanished} (see report.md).\n"
            ));
        }
        let n_duplicates: usize = found.iter().map(ImageFindings::n_duplicates).sum();
        if n_duplicates > 0 {
            text.push_str(&format!(
                "Pairs of samples with the same pixels: {n_duplicates} (see report.md).\n"
            ));
        }
        if compared {
            text.push_str(
                "Paper: published image / pixel AUROC, under other settings than these (see report.md).\n",
            );
        }
        text
    }

    /// The analyses of features and scores as tables for a terminal, by data set; empty where no
    /// run has one.
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
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use fmam_core::ImageSize;
    use fmam_metrics::AUPRO;

    use super::*;
    use crate::fixture::{record, with_findings};

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
    fn findings_and_mixed_settings_are_a_line_each() {
        let mut runs: Vec<_> =
            (0..2).map(|seed| with_findings(record("demo", "weave", "nkd", seed))).collect();
        runs[1].image_size = ImageSize::new(160, 768);
        let text = Report::from_records(runs).terminal_table();
        for line in [
            "Rows without figures mix runs of different image settings (see report.md).",
            "Masks without a pixel left at the resolution of the pixel figures: 2 (see report.md).",
            "Pairs of samples with the same pixels: 1 (see report.md).",
        ] {
            assert!(text.lines().any(|other| other == line), "{text}");
        }
    }
}
