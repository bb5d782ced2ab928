use std::path::Path;
use std::time::Duration;

use fmam_core::Progress;
use fmam_experiment::{Experiment, ExperimentError, FinishedRuns, Grid, GridObserver, RunPlan};
use fmam_record::{RunKey, Shard, load_records};
use fmam_report::Report;

use super::doubts::{DoubtfulRuns, group_doubts};
use super::reporting::Reporting;
use crate::report::{FigureOptions, Overlays, Written, write_report};
use crate::{Error, Session};

/// The runs of some experiments in an output folder, and their report. No other study can have the
/// folder until this one is dropped.
#[derive(Debug)]
pub struct Study<'a> {
    grid: Grid<'a>,
    n_runs: usize,
}

/// The outcome of a study.
#[derive(Debug)]
pub struct StudyOutcome {
    /// The report with its files; `None` where no run is finished.
    pub report: Option<(Report, Written)>,
    /// Runs that failed, and why.
    pub failed: Vec<(RunKey, ExperimentError)>,
    n_runs: usize,
    report_failure: Option<Error>,
}

impl<'a> Study<'a> {
    /// Looks up which runs of `experiments`, or of the part `shard` of them, are finished in `out`.
    /// `finished` says what becomes of them; see [`Grid::new`].
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn open(
        experiments: &'a [Experiment],
        out: &Path,
        finished: FinishedRuns,
        shard: Option<Shard>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let mut grid = Grid::new(experiments, out, finished, progress)?;
        let mut n_runs = experiments.iter().map(|experiment| experiment.plans().len()).sum();
        if let Some(shard) = shard {
            grid = grid.only(shard);
            n_runs = (0..n_runs).filter(|&position| shard.has(position)).count();
            grid.write_shard(shard)?;
        }
        Ok(Self { grid, n_runs })
    }

    /// Keeps the state of trainings each time that `every` has passed; see [`Grid::keeping`].
    #[must_use]
    pub fn keeping(self, every: Option<Duration>) -> Self {
        Self { grid: self.grid.keeping(every), ..self }
    }

    /// The number of runs, finished ones among them.
    pub fn n_runs(&self) -> usize {
        self.n_runs
    }

    /// The runs to do, in order.
    pub fn pending(&self) -> Vec<&'a RunPlan> {
        self.grid.pending()
    }

    /// The finished runs that are kept although they may not be what this program would make of
    /// them.
    pub fn doubts(&self) -> Vec<DoubtfulRuns<'_>> {
        group_doubts(self.grid.doubtful())
    }

    /// Does the pending runs; the report grows with them. A run that fails does not keep the others
    /// from being done. `kept` hears how many runs are finished in the folder where the study stops
    /// early.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and [`Error::Experiment`] before any run; finished runs stay.
    pub fn run(
        &self,
        session: &Session,
        observer: &dyn GridObserver,
        kept: impl FnOnce(usize),
    ) -> Result<StudyOutcome, Error> {
        let out = self.grid.out().path();
        let n_before = self.n_runs - self.pending().len();
        let reporting = Reporting::new(observer, out, session.registry().metrics());
        let outcome = session.on_threads(|| self.grid.run(&Overlays, &reporting)).inspect_err(|_| {
            if reporting.n_finished() > 0 {
                reporting.write(true);
            }
            kept(n_before + reporting.n_finished());
        })?;
        let mut report = None;
        if n_before + outcome.n_finished > 0 {
            let records = Report::by(session.registry().metrics(), load_records(out)?);
            let written = write_report(session.registry(), &records, out, None, &FigureOptions::default())?;
            report = Some((records, written));
        }
        let report_failure = reporting.into_result().err();
        Ok(StudyOutcome { report, failed: outcome.failed, n_runs: self.n_runs, report_failure })
    }
}

impl StudyOutcome {
    /// The failure of the study: of its only run, of some of its runs, or of a report on the way.
    ///
    /// # Errors
    /// [`Error::Run`], [`Error::RunsFailed`], [`Error::ReportUpdate`].
    pub fn into_result(mut self) -> Result<(), Error> {
        let n_failed = self.failed.len();
        match (self.failed.pop(), self.report_failure) {
            (Some((key, error)), _) if self.n_runs == 1 => {
                Err(Error::Run { key: key.to_string(), source: Box::new(error) })
            }
            (Some(_), _) => Err(Error::RunsFailed { n_failed, n_runs: self.n_runs }),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        }
    }
}
