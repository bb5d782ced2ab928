//! The report of a grid under way.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use fmam_core::{Progress, StageId};
use fmam_experiment::{ExperimentError, GridObserver, RunPlan};
use fmam_record::{RunRecord, load_records};
use fmam_report::Report;

use crate::exit;
use crate::progress::Console;

/// The page is drawn again once the work since it was drawn took so many times as long as drawing
/// it: each page encodes the pictures of all runs anew.
const WORK_PER_PAGE: u32 = 20;

/// Shows progress, and brings the report up to date: its tables after every run, its page when that
/// is stale, so that a grid under way has both and a killed one the tables.
pub(crate) struct Reporting<'a> {
    console: &'a Console,
    out: &'a Path,
    /// True for a grid of one run, whose failure is the failure of the whole.
    single: bool,
    n_finished: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    page: Option<Page>,
    /// The first report that could not be written.
    failure: Option<anyhow::Error>,
}

/// A page that was drawn.
struct Page {
    at: Instant,
    took: Duration,
}

impl<'a> Reporting<'a> {
    pub(crate) fn new(console: &'a Console, out: &'a Path, single: bool) -> Self {
        Self { console, out, single, n_finished: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// Runs that finished now.
    pub(crate) fn n_finished(&self) -> usize {
        self.n_finished.load(Ordering::SeqCst)
    }

    /// Writes the tables, and the page as far as it is stale or `whole` asks for it.
    pub(crate) fn write(&self, whole: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = whole || is_stale(state.page.as_ref().map(|page| (page.at.elapsed(), page.took)));
        let start = Instant::now();
        match write_report(self.out, whole) {
            Err(error) => _ = state.failure.get_or_insert(error),
            Ok(()) if whole => state.page = Some(Page { at: Instant::now(), took: start.elapsed() }),
            Ok(()) => {}
        }
    }

    /// The first report that could not be written, as an error.
    pub(crate) fn into_result(self) -> Result<()> {
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

fn write_report(out: &Path, whole: bool) -> Result<()> {
    let report = Report::from_records(load_records(out)?);
    let written = if whole { report.write(out) } else { report.write_tables(out) };
    written.context("cannot bring the report up to date")?;
    Ok(())
}

impl Progress for Reporting<'_> {
    fn start(&self, stage: &StageId, total: u64) {
        self.console.start(stage, total);
    }

    fn update(&self, done: u64, detail: &str) {
        self.console.update(done, detail);
    }

    fn finish(&self) {
        self.console.finish();
    }

    fn cancelled(&self) -> bool {
        self.console.cancelled()
    }
}

impl GridObserver for Reporting<'_> {
    fn run_started(&self, plan: &RunPlan) {
        self.console.run_started(plan);
    }

    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        self.console.run_finished(plan, result);
        match result {
            Ok(_) => {
                self.n_finished.fetch_add(1, Ordering::SeqCst);
                self.write(false);
            }
            Err(_) if self.single => {}
            Err(error) => {
                let why = exit::one_line(anyhow::Chain::new(error));
                self.console.error(&anyhow!("run {}: {why}", plan.key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let console = Console::new(true, []);
        let reporting = Reporting::new(&console, out.path(), false);
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
