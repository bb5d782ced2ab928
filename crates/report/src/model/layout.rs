//! Tables as the paper has them, before they are Markdown, HTML or LaTeX: its Table 1 (methods by
//! data sets), its Table 4 (backbones by methods), and the appendix (categories by methods).

use std::collections::BTreeMap;

use fmam_metrics::MetricEntry;

use crate::model::columns::{all_categories, headlines, ranks};
use crate::model::paper::{PAPER_METRICS, dataset_title, method_title, published};
use crate::{Estimate, Report, Summary};

/// A cell of a table, not yet in any language.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A name.
    Name(String),
    /// The name of a thing in code.
    Code(String),
    /// A fraction of ours and how many of its column are better, where it competes.
    Ours(Option<Estimate>, Option<usize>),
    /// A figure of the paper in per cent.
    Paper(Option<f64>),
    /// Ours minus the paper's, in points.
    Difference(Option<f64>),
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) title: String,
    /// Titles of the columns; names stand in the first `n_names` of them, figures in the others.
    pub(crate) header: Vec<String>,
    pub(crate) n_names: usize,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// The figure of ours, and where the table has them, the paper's and the difference.
fn beside_paper(row: Option<&Summary>, rows: &[Summary], metric: &MetricEntry, compared: bool) -> Vec<Cell> {
    let ours = row.and_then(|row| row.metrics.get(metric));
    let mut cells = vec![Cell::Ours(ours, row.and_then(|row| ranks(row, rows, metric)))];
    if compared && is_published(metric) {
        let paper = row.and_then(|row| published(&row.dataset, &row.method, &row.backbone));
        let paper = paper.and_then(|paper| paper.of(metric));
        let difference = paper.zip(ours).map(|(paper, ours)| 100.0 * ours.mean - paper);
        cells.extend([Cell::Paper(paper), Cell::Difference(difference)]);
    }
    cells
}

/// True if the paper has figures of one of the rows.
pub(crate) fn compared(rows: &[Summary]) -> bool {
    rows.iter().any(|row| published(&row.dataset, &row.method, &row.backbone).is_some())
}

/// True where the paper has a metric at all.
fn is_published(metric: &MetricEntry) -> bool {
    PAPER_METRICS.iter().any(|published| published.key == metric.key)
}

/// Titles of the cells of [`beside_paper`].
fn titles(ours: String, metric: &MetricEntry, compared: bool) -> Vec<String> {
    let more = if compared && is_published(metric) { &["paper", "difference"][..] } else { &[] };
    [ours].into_iter().chain(more.iter().map(|title| (*title).to_owned())).collect()
}

/// The results on one data set.
pub(crate) fn results(rows: &[Summary]) -> Layout {
    let compared = compared(rows);
    let mut header = vec!["Method".to_owned(), "Backbone".to_owned()];
    let metrics = headlines(rows);
    header.extend(metrics.iter().flat_map(|metric| titles(metric.heading(), metric, compared)));
    let line = |row: &Summary| {
        let mut cells =
            vec![Cell::Name(method_title(&row.method).to_owned()), Cell::Code(row.backbone.clone())];
        cells.extend(metrics.iter().flat_map(|metric| beside_paper(Some(row), rows, metric, compared)));
        cells
    };
    let title = dataset_title(&rows[0].dataset).to_owned();
    Layout { title, header, n_names: 2, rows: rows.iter().map(line).collect() }
}

/// Table 1: a line for each method and backbone, the data sets side by side. `None` for one data
/// set, whose results it is.
pub(crate) fn table_1(report: &Report) -> Option<Layout> {
    let datasets: Vec<&[Summary]> = report.datasets().collect();
    if datasets.len() < 2 {
        return None;
    }
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for row in datasets.iter().copied().flatten() {
        if !lines.contains(&(&row.method, &row.backbone)) {
            lines.push((&row.method, &row.backbone));
        }
    }
    // In the order of one data set, whatever the first of them lacks.
    lines.sort_by_key(|(method, backbone)| {
        (crate::model::report::position(method), method.to_owned(), backbone.to_owned())
    });
    let mut header = vec!["Method".to_owned(), "Backbone".to_owned()];
    for rows in &datasets {
        for metric in PAPER_METRICS {
            let title = format!("{}, {}", dataset_title(&rows[0].dataset), metric.level.name());
            header.extend(titles(title, metric, compared(rows)));
        }
    }
    let line = |(method, backbone): (&str, &str)| {
        let mut cells = vec![Cell::Name(method_title(method).to_owned()), Cell::Code(backbone.to_owned())];
        for rows in &datasets {
            let row = rows.iter().find(|row| row.method == method && row.backbone == backbone);
            let metrics = PAPER_METRICS.into_iter();
            cells.extend(metrics.flat_map(|metric| beside_paper(row, rows, metric, compared(rows))));
        }
        cells
    };
    let title = "Image-level and pixel-level AUROC of methods on data sets (the paper's Table 1)".to_owned();
    Some(Layout { title, header, n_names: 2, rows: lines.into_iter().map(line).collect() })
}

/// Table 4: a line for each backbone, a method and the same with feature mapping side by side. One
/// table for each data set and method that have several backbones.
pub(crate) fn table_4<'a>(rows: &'a [Summary]) -> Vec<Layout> {
    // The plain method and the one with feature mapping, by the name of the former.
    let pair = |row: &'a Summary| {
        let id = row.method_id();
        let plain = id.plain_base().filter(|_| id.variant().is_none())?;
        Some((plain.to_owned(), row.method.as_str()))
    };
    let pairs: BTreeMap<String, &str> = rows.iter().filter_map(pair).collect();
    let of = |(plain, mapped): (String, &'a str)| {
        let plain = plain.as_str();
        let find = |method: &str, backbone: &str| {
            rows.iter().find(|row| row.method == method && row.backbone == backbone)
        };
        let mut backbones: Vec<&str> = Vec::new();
        for row in rows.iter().filter(|row| row.method == plain || row.method == mapped) {
            if !backbones.contains(&row.backbone.as_str()) {
                backbones.push(&row.backbone);
            }
        }
        if backbones.len() < 2 {
            return None;
        }
        let mut header = vec!["Backbone".to_owned()];
        let compared = compared(rows);
        for method in [plain, mapped] {
            for metric in PAPER_METRICS {
                let title = format!("{}, {}", method_title(method), metric.level.name());
                header.extend(titles(title, metric, compared));
            }
        }
        let line = |backbone: &str| {
            let mut cells = vec![Cell::Code(backbone.to_owned())];
            for method in [plain, mapped] {
                let row = find(method, backbone);
                let metrics = PAPER_METRICS.into_iter();
                cells.extend(metrics.flat_map(|metric| beside_paper(row, rows, metric, compared)));
            }
            cells
        };
        let title = format!(
            "{} and {} with several backbones on {}{}",
            method_title(plain),
            method_title(mapped),
            dataset_title(&rows[0].dataset),
            if compared { " (the paper's Table 4)" } else { "" }
        );
        Some(Layout { title, header, n_names: 1, rows: backbones.into_iter().map(line).collect() })
    };
    pairs.into_iter().filter_map(of).collect()
}

/// The appendix: a line for each category, a column for each row of the results; one table a
/// figure. None for one category.
pub(crate) fn by_category(report: &Report, rows: &[Summary]) -> Vec<Layout> {
    let categories = all_categories(rows);
    if categories.len() < 2 {
        return Vec::new();
    }
    let table = |metric: &'static MetricEntry| {
        let line = |category: &String| {
            // Each category by itself, as if there were no other.
            let alone: Vec<Option<Summary>> = rows
                .iter()
                .map(|row| {
                    let runs = report.runs_of(row).filter(|run| run.category == *category);
                    Summary::of(&runs.collect::<Vec<_>>(), fmam_metrics::METRICS)
                })
                .collect();
            let known: Vec<Summary> = alone.iter().flatten().cloned().collect();
            let cell = |row: &Option<Summary>| {
                Cell::Ours(
                    row.as_ref().and_then(|row| row.metrics.get(metric)),
                    row.as_ref().and_then(|row| ranks(row, &known, metric)),
                )
            };
            [Cell::Name(category.clone())].into_iter().chain(alone.iter().map(cell)).collect()
        };
        Layout {
            title: format!("{} by category of {}", metric.heading(), dataset_title(&rows[0].dataset)),
            header: ["Category".to_owned()]
                .into_iter()
                .chain(rows.iter().map(|row| column_title(row, rows)))
                .collect(),
            n_names: 1,
            rows: categories.iter().map(line).collect(),
        }
    };
    headlines(rows).into_iter().map(table).collect()
}

/// A row's method, with its backbone where the rows have several.
pub(crate) fn column_title(row: &Summary, rows: &[Summary]) -> String {
    let method = method_title(&row.method);
    if has_several_backbones(rows) { format!("{method} {}", row.backbone) } else { method.to_owned() }
}

pub(crate) fn has_several_backbones(rows: &[Summary]) -> bool {
    rows.iter().any(|row| row.backbone != rows[0].backbone)
}

#[cfg(test)]
mod tests {
    use fmam_metrics::IMAGE_AUROC;

    use super::*;
    use crate::fixture::{raise, record};

    #[test]
    fn backbones_are_lines_of_table_4_with_the_papers_figures() {
        let mut runs = Vec::new();
        for backbone in ["resnet34", "wide-resnet50-2"] {
            for method in ["rkd", "rkd+fmam", "nkd"] {
                let mut run = record("mvtec", "screw", method, 0);
                run.backbone = backbone.to_owned();
                runs.push(run);
            }
        }
        let report = Report::from_records(runs);
        let tables = table_4(report.summary());
        let [table] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!(table.header.len(), 1 + 2 * 2 * 3);
        assert_eq!(table.rows[1][0], Cell::Code("wide-resnet50-2".to_owned()));
        assert_eq!(table.rows[1][8], Cell::Paper(Some(99.1)));
        let Cell::Difference(Some(points)) = table.rows[0][3] else { panic!("{table:?}") };
        assert!((points - (90.0 - 98.3)).abs() < 1e-9);
        assert!(table_1(&report).is_none() && by_category(&report, report.summary()).is_empty());
    }

    #[test]
    fn data_sets_stand_side_by_side_and_gaps_stay_empty() {
        let runs = vec![
            record("demo", "plain", "patchcore", 0),
            record("mvtec", "screw", "rkd", 0),
            record("mvtec", "screw", "spade", 0),
        ];
        let table = table_1(&Report::from_records(runs)).unwrap();
        let names: Vec<_> = table.rows.iter().map(|row| row[0].clone()).collect();
        assert_eq!(names, ["SPADE", "RKD", "PatchCore"].map(|name| Cell::Name(name.to_owned())));
        // Two figures of demo, without the paper's, then the same of MVTec AD with them.
        assert_eq!(table.header.len(), 2 + 2 + 6);
        assert_eq!(table.rows[0][2], Cell::Ours(None, None));
        assert!(matches!(table.rows[0][4], Cell::Ours(Some(_), None)), "{:?}", table.rows[0]);
    }

    #[test]
    fn categories_compete_within_their_line() {
        let mut runs = Vec::new();
        for category in ["cable", "screw"] {
            for (method, gain) in [("nkd", 0.0), ("rkd", 0.05)] {
                let mut run = record("mvtec", category, method, 0);
                raise(&mut run, &IMAGE_AUROC, gain);
                runs.push(run);
            }
        }
        let report = Report::from_records(runs);
        let tables = by_category(&report, report.summary());
        assert_eq!(tables.len(), 3);
        let ranks: Vec<_> = tables[0].rows.iter().map(|row| (row[1].clone(), row[2].clone())).collect();
        for (nkd, rkd) in ranks {
            assert!(matches!(nkd, Cell::Ours(Some(_), Some(1))), "{nkd:?}");
            assert!(matches!(rkd, Cell::Ours(Some(_), Some(0))), "{rkd:?}");
        }
    }
}
