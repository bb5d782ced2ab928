//! Columns of tables: the metrics of a report, and the rank of a row by one of them.

use std::collections::BTreeSet;

use fmam_metrics::MetricEntry;

use crate::Summary;

/// The metrics that a run of `rows` was evaluated by, in the order of the report.
pub(crate) fn metrics<'a>(rows: impl IntoIterator<Item = &'a Summary>) -> Vec<&'static MetricEntry> {
    let rows: Vec<&Summary> = rows.into_iter().collect();
    let is_known = |metric: &&MetricEntry| rows.iter().any(|row| row.metrics.has(metric));
    rows.first().into_iter().flat_map(|row| row.metrics.metrics()).filter(is_known).collect()
}

/// The columns of [`metrics`] that are also in the short tables.
pub(crate) fn headlines<'a>(rows: impl IntoIterator<Item = &'a Summary>) -> Vec<&'static MetricEntry> {
    metrics(rows).into_iter().filter(|metric| metric.is_headline).collect()
}

/// Every category that a row of the data set has.
pub(crate) fn all_categories(rows: &[Summary]) -> Vec<String> {
    let all: BTreeSet<&String> = rows.iter().flat_map(|row| &row.categories).collect();
    all.into_iter().cloned().collect()
}

/// The number of different values of a metric, as printed, that are better than that of a row.
/// Means over other categories are other quantities and do not compete; where all values are equal
/// nobody has a rank.
pub(crate) fn ranks(row: &Summary, rows: &[Summary], metric: &MetricEntry) -> Option<usize> {
    let all = all_categories(rows);
    let competing = |row: &Summary| {
        let estimate = row.metrics.get(metric).filter(|_| row.categories == all)?;
        Some((1000.0 * estimate.mean).round() as i64)
    };
    let (own, values) = (competing(row)?, rows.iter().filter_map(competing).collect::<BTreeSet<_>>());
    let is_better = |value: i64| if metric.higher_is_better { value > own } else { value < own };
    (values.len() > 1).then(|| values.into_iter().filter(|value| is_better(*value)).count())
}

#[cfg(test)]
mod tests {
    use fmam_metrics::{IMAGE_AUROC, Level};

    use super::*;
    use crate::Report;
    use crate::fixture::{record, with_decision};

    #[test]
    fn the_better_value_has_the_lower_rank_whichever_end_is_better() {
        let mut runs = vec![record("demo", "plain", "nkd", 0), record("demo", "plain", "rkd", 0)];
        runs[0].metrics.set(&IMAGE_AUROC, Some(0.25));
        let report = Report::from_records(runs);
        let [nkd, rkd] = report.summary() else { panic!("two rows") };
        let ranks_by = |metric| [nkd, rkd].map(|row| ranks(row, report.summary(), metric));
        assert_eq!(ranks_by(&IMAGE_AUROC), [Some(1), Some(0)]);
        static ERROR: MetricEntry = MetricEntry {
            key: "image_auroc",
            title: "Error",
            summary: "A metric of which less is better",
            level: Level::Image,
            higher_is_better: false,
            is_oracle: false,
            is_headline: false,
            needs_threshold: false,
            compute: |_| Ok(0.0),
            interval: None,
        };
        assert_eq!(ranks_by(&ERROR), [Some(0), Some(1)]);
    }

    #[test]
    fn metrics_at_a_threshold_are_columns_where_a_run_has_one() {
        let plain = vec![record("demo", "plain", "nkd", 0), record("demo", "plain", "rkd", 0)];
        let mut judged = plain.clone();
        judged[0] = with_decision(judged[0].clone());
        for (runs, expected) in [(plain, 0), (judged, 5)] {
            let report = Report::from_records(runs);
            let columns = metrics(report.summary());
            assert_eq!(columns.iter().filter(|metric| metric.needs_threshold).count(), expected);
            assert!(!headlines(report.summary()).iter().any(|metric| metric.needs_threshold));
            let (markdown, title) = (report.markdown(), "Image miss rate");
            assert_eq!(markdown.contains(title), expected > 0, "{markdown}");
            assert_eq!(report.html(std::path::Path::new("none")).unwrap().contains(title), expected > 0);
            assert!(!report.latex().contains(title) && !report.terminal_table().contains(title));
        }
    }

    #[test]
    fn a_metric_that_no_run_has_is_no_column() {
        let mut runs = vec![record("demo", "plain", "nkd", 0), record("demo", "plain", "rkd", 0)];
        let columns = |runs: &[fmam_record::RunRecord]| {
            metrics(Report::from_records(runs.to_vec()).summary()).iter().map(|metric| metric.key).collect()
        };
        let all: Vec<&str> = columns(&runs);
        let without: fmam_record::Metrics =
            runs[0].metrics.iter().filter(|(key, _)| *key != "pixel_ap").collect();
        runs[0].metrics = without.clone();
        // An empty cell beside that of the other run.
        assert_eq!(columns(&runs), all);
        runs[1].metrics = without;
        assert_eq!(columns(&runs), all.into_iter().filter(|key| *key != "pixel_ap").collect::<Vec<_>>());
    }
}
