use fmam_core::MethodId;
use fmam_metrics::{METRICS, MetricEntry};
use fmam_record::RunRecord;

use crate::Summary;
use crate::model::paper::paper_position;

/// A set of runs and their summary.
#[derive(Debug, Clone)]
pub struct Report {
    runs: Vec<RunRecord>,
    summary: Vec<Summary>,
    metrics: Vec<&'static MetricEntry>,
}

impl Report {
    /// Sorts runs by data set, category, method (in the order of the paper's table, then by name),
    /// backbone and seed, and sums them up. Of runs that agree in all five the one started last is
    /// kept.
    pub fn from_records(runs: Vec<RunRecord>) -> Self {
        Self::by(METRICS, runs)
    }

    /// As [`Report::from_records`], with `metrics` as the columns of all tables and files instead
    /// of the built-in ones.
    pub fn by(metrics: &[&'static MetricEntry], mut runs: Vec<RunRecord>) -> Self {
        runs.sort_by(|a, b| {
            let key = |run| identity(run);
            // The newest first, since `dedup_by` keeps the first.
            key(a).cmp(&key(b)).then(b.started_at.cmp(&a.started_at))
        });
        runs.dedup_by(|later, kept| identity(later) == identity(kept));

        // By row first, so that the runs of one row stand together.
        let mut by_row: Vec<&RunRecord> = runs.iter().collect();
        by_row.sort_by(|a, b| row(a).cmp(&row(b)));
        let summary =
            by_row.chunk_by(|a, b| row(a) == row(b)).filter_map(|runs| Summary::of(runs, metrics)).collect();
        Self { runs, summary, metrics: metrics.to_vec() }
    }

    /// The metrics that are shown, in their order.
    pub fn metrics(&self) -> &[&'static MetricEntry] {
        &self.metrics
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

    /// The runs on the data set of `rows`.
    pub(crate) fn runs_on(&self, rows: &[Summary]) -> impl Iterator<Item = &RunRecord> {
        let dataset = rows.first().map(|row| row.dataset.clone());
        self.runs.iter().filter(move |run| Some(&run.dataset) == dataset.as_ref())
    }

    /// The runs of a summary row.
    pub(crate) fn runs_of(&self, row: &Summary) -> impl Iterator<Item = &RunRecord> {
        self.runs.iter().filter(|run| row.covers(run))
    }
}

/// The identity of a run, in sorting order.
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

/// The position of a method among others; methods that the paper does not have are last.
pub(crate) fn position(method: &str) -> usize {
    // Variants, `rkd+fmam@no-margin` say, follow their method.
    paper_position(MethodId::from(method).base()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use fmam_metrics::IMAGE_AUROC;

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
}
