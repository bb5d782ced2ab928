use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fmam_core::{Progress, StageId};
use fmam_experiment::{ExperimentError, GridObserver, RunPlan};
use fmam_metrics::MetricEntry;
use fmam_record::{RunRecord, load_records};
use fmam_report::Report;

use crate::Error;

/// The page is drawn again once the work since it was drawn took so many times as long as drawing
/// it: each page encodes the pictures of all runs anew.
const WORK_PER_PAGE: u32 = 20;

/// A [`GridObserver`] that brings the report of a grid up to date, and passes everything on to
/// another observer: the tables after every run, the page when it is stale. A grid under way has
/// both, and a killed one the tables.
pub struct Reporting<'a> {
    observer: &'a dyn GridObserver,
    out: &'a Path,
    metrics: &'a [&'static MetricEntry],
    n_finished: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    page: Option<Page>,
    /// The first report that could not be written.
    failure: Option<Error>,
}

/// A page that was drawn.
struct Page {
    at: Instant,
    took: Duration,
}

impl std::fmt::Debug for Reporting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporting").field("out", &self.out).finish_non_exhaustive()
    }
}

impl<'a> Reporting<'a> {
    /// The report of the runs in the folder `out`, with `metrics` as its columns.
    pub fn new(observer: &'a dyn GridObserver, out: &'a Path, metrics: &'a [&'static MetricEntry]) -> Self {
        Self { observer, out, metrics, n_finished: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// The number of runs that have finished since.
    pub fn n_finished(&self) -> usize {
        self.n_finished.load(Ordering::SeqCst)
    }

    /// Writes the tables, and the page as far as it is stale or `whole` asks for it.
    pub fn write(&self, whole: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = whole || is_stale(state.page.as_ref().map(|page| (page.at.elapsed(), page.took)));
        let start = Instant::now();
        match write_report(self.out, self.metrics, whole) {
            Err(error) => _ = state.failure.get_or_insert(Error::ReportUpdate(Box::new(error))),
            Ok(()) if whole => state.page = Some(Page { at: Instant::now(), took: start.elapsed() }),
            Ok(()) => {}
        }
    }

    /// The end of the grid.
    ///
    /// # Errors
    /// [`Error::ReportUpdate`] for the first report that could not be written.
    pub fn into_result(self) -> Result<(), Error> {
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// True where a page of this age and drawing time is to be drawn again.
fn is_stale(page: Option<(Duration, Duration)>) -> bool {
    page.is_none_or(|(ago, took)| ago >= WORK_PER_PAGE * took)
}

fn write_report(out: &Path, metrics: &[&'static MetricEntry], whole: bool) -> Result<(), Error> {
    let report = Report::by(metrics, load_records(out)?);
    if whole {
        report.write(out)?
    } else {
        report.write_tables(out)?
    };
    Ok(())
}

impl Progress for Reporting<'_> {
    fn start(&self, stage: &StageId, total: u64) {
        self.observer.start(stage, total);
    }

    fn update(&self, done: u64, detail: &str) {
        self.observer.update(done, detail);
    }

    fn finish(&self) {
        self.observer.finish();
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

impl GridObserver for Reporting<'_> {
    fn run_started(&self, plan: &RunPlan) {
        self.observer.run_started(plan);
    }

    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        self.observer.run_finished(plan, result);
        if result.is_ok() {
            self.n_finished.fetch_add(1, Ordering::SeqCst);
            self.write(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Silent;

    use super::*;

    #[test]
    fn drawing_the_page_takes_a_small_share_of_the_time() {
        let seconds = Duration::from_secs;
        assert!(is_stale(None));
        assert!(!is_stale(Some((seconds(19), seconds(1)))));
        assert!(is_stale(Some((seconds(20), seconds(1)))));
    }

    #[test]
    fn the_page_is_drawn_once_for_a_row_of_quick_runs_and_the_tables_each_time() {
        let out = tempfile::tempdir().unwrap();
        let reporting = Reporting::new(&Silent, out.path(), fmam_metrics::METRICS);
        let page = out.path().join("report.html");
        reporting.write(false);
        assert!(page.is_file() && out.path().join("report.json").is_file());
        // A page that takes long.
        reporting.state.lock().unwrap().page.as_mut().unwrap().took = Duration::from_secs(3600);
        std::fs::remove_file(&page).unwrap();
        std::fs::remove_file(out.path().join("report.json")).unwrap();
        reporting.write(false);
        assert!(!page.exists() && out.path().join("report.json").is_file());
        reporting.write(true);
        assert!(page.is_file());
        reporting.into_result().unwrap();
    }
}
