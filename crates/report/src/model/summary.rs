use std::collections::{BTreeMap, BTreeSet};

use fmam_core::MethodId;
use fmam_metrics::MetricEntry;
use fmam_record::RunRecord;
use serde::{Serialize, Serializer};

use crate::model::image_settings::differ_in_pixels;

/// A mean over seeds with its spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n - 1); `None` for a single value, which has none.
    pub std: Option<f64>,
    /// Number of values.
    pub n: usize,
}

impl Estimate {
    /// Mean and sample standard deviation of `values`; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }
}

/// The estimates of the metrics of a report.
#[derive(Debug, Clone, Default)]
pub struct Estimates(Vec<Estimated>);

#[derive(Debug, Clone)]
struct Estimated {
    metric: &'static MetricEntry,
    /// True where the metric evaluated a run of the row.
    is_known: bool,
    estimate: Option<Estimate>,
}

impl PartialEq for Estimated {
    fn eq(&self, other: &Self) -> bool {
        (self.metric.key, self.is_known, self.estimate) == (other.metric.key, other.is_known, other.estimate)
    }
}

impl PartialEq for Estimates {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Estimates {
    /// The estimate of a metric; `None` where a run does not have it, and where no seed is
    /// complete.
    pub fn get(&self, metric: &MetricEntry) -> Option<Estimate> {
        self.0.iter().find(|entry| entry.metric.key == metric.key)?.estimate
    }

    /// True where a metric evaluated a run of the row.
    pub fn has(&self, metric: &MetricEntry) -> bool {
        self.0.iter().any(|entry| entry.metric.key == metric.key && entry.is_known)
    }

    /// The metrics of the report, in their order.
    pub fn metrics(&self) -> impl Iterator<Item = &'static MetricEntry> + '_ {
        self.0.iter().map(|entry| entry.metric)
    }
}

/// An object with a key for every metric of the report, so that its layout does not depend on the
/// runs.
impl Serialize for Estimates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| (entry.metric.key, entry.estimate)))
    }
}

/// A run that a complete grid would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Category of the run.
    pub category: String,
    /// Its seed.
    pub seed: u64,
}

/// One method on one data set with one backbone: the mean over the categories first, as the paper's
/// tables have it, then mean and standard deviation of that over the seeds.
///
/// Only seeds that have a run for every one of `categories` count. A seed that lacks some is left
/// out whole and its gaps stand in `missing`: a mean over other categories is another quantity. For
/// the same reason a figure is `None` when one of the runs does not have it, and all are `None`
/// when no seed is complete, or when the figures of runs of one category are of different pixels:
/// other image sizes, regions of interest or resolutions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Registered name of the data set.
    pub dataset: String,
    /// Registered name of the method.
    pub method: String,
    /// Registered name of the backbone.
    pub backbone: String,
    /// The categories averaged over, by name: all that have a run of this method and backbone.
    pub categories: Vec<String>,
    /// The complete seeds, ascending; the figures are over these.
    pub seeds: Vec<u64>,
    /// Runs that the left-out seeds lack.
    pub missing: Vec<Cell>,
    /// The metrics, fractions.
    #[serde(flatten)]
    pub metrics: Estimates,
    /// Seconds to fit one category.
    pub fit_seconds: Option<Estimate>,
    /// Test images scored in a second.
    pub score_images_per_second: Option<Estimate>,
}

impl Summary {
    /// Sums up runs of one data set, method and backbone, at most one for each category and seed;
    /// `None` when there are none.
    pub(crate) fn of(runs: &[&RunRecord], metrics: &[&'static MetricEntry]) -> Option<Self> {
        let first = runs.first()?;
        let cells: BTreeMap<(u64, &str), &RunRecord> =
            runs.iter().map(|&run| ((run.seed.value(), run.category.as_str()), run)).collect();
        let categories: BTreeSet<&str> = cells.keys().map(|&(_, category)| category).collect();
        let seeds: BTreeSet<u64> = cells.keys().map(|&(seed, _)| seed).collect();

        let missing: Vec<Cell> = seeds
            .iter()
            .flat_map(|&seed| categories.iter().map(move |&category| (seed, category)))
            .filter(|cell| !cells.contains_key(cell))
            .map(|(seed, category)| Cell { category: category.to_owned(), seed })
            .collect();
        let complete: Vec<u64> =
            seeds.into_iter().filter(|&seed| missing.iter().all(|cell| cell.seed != seed)).collect();

        let is_mixed = differ_in_pixels(runs.iter().copied());
        let over_seeds = |figure: &dyn Fn(&RunRecord) -> Option<f64>| {
            if is_mixed {
                return None;
            }
            let means: Option<Vec<f64>> = complete
                .iter()
                .map(|&seed| {
                    let values: Option<Vec<f64>> =
                        categories.iter().map(|&category| figure(cells[&(seed, category)])).collect();
                    Estimate::of(&values?).map(|over_categories| over_categories.mean)
                })
                .collect();
            Estimate::of(&means?)
        };
        Some(Self {
            dataset: first.dataset.clone(),
            method: first.method.to_string(),
            backbone: first.backbone.clone(),
            metrics: Estimates(
                metrics
                    .iter()
                    .map(|&metric| Estimated {
                        metric,
                        is_known: runs.iter().any(|run| run.metrics.has(metric)),
                        estimate: over_seeds(&|run| run.metrics.get(metric)),
                    })
                    .collect(),
            ),
            fit_seconds: over_seeds(&|run| Some(run.fit_seconds)),
            score_images_per_second: over_seeds(&|run| Some(run.score_images_per_second)),
            categories: categories.into_iter().map(str::to_owned).collect(),
            seeds: complete,
            missing,
        })
    }

    /// The parts of the method's name.
    pub(crate) fn method_id(&self) -> MethodId {
        self.method.as_str().into()
    }

    /// True if `run` is one of this row's runs.
    pub(crate) fn covers(&self, run: &RunRecord) -> bool {
        run.method == *self.method.as_str()
            && (&self.dataset, &self.backbone) == (&run.dataset, &run.backbone)
    }
}

#[cfg(test)]
mod tests {
    use fmam_metrics::{AUPRO, IMAGE_AUROC, METRICS, PIXEL_AUROC};

    use super::*;
    use crate::fixture::record;

    fn run(category: &str, seed: u64, image_auroc: f64) -> RunRecord {
        let mut run = record("mvtec", category, "nkd", seed);
        run.metrics.set(&IMAGE_AUROC, Some(image_auroc));
        run
    }

    fn sum_up(runs: &[RunRecord]) -> Summary {
        Summary::of(&runs.iter().collect::<Vec<_>>(), METRICS).unwrap()
    }

    #[test]
    fn the_standard_deviation_is_that_of_a_sample() {
        let estimate = Estimate::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(estimate.mean, 5.0);
        // Squared deviations sum to 32; the sample divides by 7.
        assert!((estimate.std.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(Estimate::of(&[0.5]), Some(Estimate { mean: 0.5, std: None, n: 1 }));
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn categories_are_averaged_before_seeds() {
        // Category means by seed: 0.8 and 0.6; the spread between categories must not enter.
        let summary = sum_up(&[run("a", 0, 0.6), run("b", 0, 1.0), run("a", 1, 0.7), run("b", 1, 0.5)]);
        let estimate = summary.metrics.get(&IMAGE_AUROC).unwrap();
        assert!((estimate.mean - 0.7).abs() < 1e-12);
        assert!((estimate.std.unwrap() - 0.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!((estimate.n, &summary.seeds[..]), (2, &[0, 1][..]));
        assert!(summary.missing.is_empty());
    }

    #[test]
    fn a_seed_that_lacks_a_category_is_left_out_and_said_so() {
        let summary = sum_up(&[run("a", 0, 0.6), run("b", 0, 1.0), run("a", 1, 0.1)]);
        assert_eq!(summary.metrics.get(&IMAGE_AUROC), Some(Estimate { mean: 0.8, std: None, n: 1 }));
        assert_eq!(summary.seeds, [0]);
        assert_eq!(summary.missing, [Cell { category: "b".to_owned(), seed: 1 }]);

        let summary = sum_up(&[run("a", 0, 0.6), run("b", 1, 1.0)]);
        assert_eq!(
            (summary.metrics.get(&IMAGE_AUROC), summary.seeds.len(), summary.missing.len()),
            (None, 0, 2)
        );
    }

    #[test]
    fn a_figure_that_one_category_lacks_has_no_mean() {
        let mut without_masks = run("b", 0, 1.0);
        without_masks.metrics.set(&PIXEL_AUROC, None);
        let summary = sum_up(&[run("a", 0, 0.6), without_masks]);
        let is_defined = |metric| summary.metrics.get(metric).is_some();
        assert!(!is_defined(&PIXEL_AUROC) && is_defined(&IMAGE_AUROC) && is_defined(&AUPRO));
    }
}
