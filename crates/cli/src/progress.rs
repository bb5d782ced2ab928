//! Progress on stderr: two bars on a terminal, a line for each finished run elsewhere, nothing with
//! `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use fmam::reproduce::Status;
use fmam::{Progress, StageId};
use fmam_core::shown_line;
use fmam_experiment::{ExperimentError, GridObserver, RunPlan};
use fmam_record::RunRecord;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{exit, interrupt, stdout};

/// Steps of the bar over everything.
const OVERALL_STEPS: u64 = 1000;
const REDRAW: Duration = Duration::from_millis(250);

/// Shows how far the work has come, and passes on Ctrl-C.
pub(crate) struct Console {
    quiet: bool,
    /// True for a grid of one run, whose failure is the failure of the whole.
    single: bool,
    bars: MultiProgress,
    overall: ProgressBar,
    stage: ProgressBar,
    status: Mutex<Status>,
}

impl Console {
    /// Watches over work that consists of `plans`; none for work that is a single stage.
    pub(crate) fn new<'a>(quiet: bool, plans: impl IntoIterator<Item = &'a RunPlan> + Clone) -> Self {
        let has_bars = !quiet && std::io::stderr().is_terminal();
        let target =
            if has_bars { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let bar = |length: u64, template: &str| {
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(length).with_style(style.progress_chars("=> ")))
        };
        let overall = bar(OVERALL_STEPS, "{elapsed_precise} [{bar:30.cyan}] {msg}");
        let stage = bar(0, "{prefix}\n  [{bar:20}] {pos}/{len} {wide_msg}");
        if has_bars {
            overall.enable_steady_tick(REDRAW);
        }
        let status = Mutex::new(Status::new(plans));
        Self { quiet, single: false, bars, overall, stage, status }
    }

    /// With `single` the failure of a run is not told, because it is that of the whole.
    pub(crate) fn of_single(mut self, single: bool) -> Self {
        self.single = single;
        self
    }

    /// Writes a line above the bars; nothing with `--quiet`.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            self.bars.suspend(|| to_stderr(line));
        }
    }

    /// Writes `text` to stdout, above the bars where both are on a terminal.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        self.bars.suspend(|| stdout::print(text))
    }

    /// Writes a warning above the bars, also with `--quiet`.
    pub(crate) fn warn(&self, line: &str) {
        self.bars.suspend(|| to_stderr(&format!("warning: {line}")));
    }

    /// Writes an error line above the bars, also with `--quiet`.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.bars.suspend(|| exit::error_line(error));
    }

    /// Removes the bars.
    pub(crate) fn clear(&self) {
        self.stage.finish_and_clear();
        self.overall.finish_and_clear();
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_overall(&self, status: &Status) {
        let (share, message) = status.overall();
        if let Some(share) = share {
            self.overall.set_position((share * OVERALL_STEPS as f64) as u64);
        }
        self.overall.set_message(shown_line(&message));
    }
}

impl Drop for Console {
    /// An error is told without bars too.
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Console {
    fn start(&self, stage: &StageId, total: u64) {
        let mut status = self.status();
        match total {
            // The work is found bit by bit.
            0 => self.stage.unset_length(),
            total => self.stage.set_length(total),
        }
        self.stage.set_position(0);
        self.stage.set_prefix(shown_line(&status.start(stage, total)));
        self.stage.set_message("");
        self.show_overall(&status);
    }

    fn update(&self, done: u64, detail: &str) {
        let mut status = self.status();
        self.stage.set_position(done);
        self.stage.set_message(shown_line(&status.update(done, detail)));
        self.show_overall(&status);
    }

    fn finish(&self) {
        let mut status = self.status();
        status.finish();
        self.show_overall(&status);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl GridObserver for Console {
    fn run_started(&self, plan: &RunPlan) {
        let mut status = self.status();
        status.run_started(plan);
        self.show_overall(&status);
    }

    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        let line = self.status().run_finished(result.ok());
        if let Some(line) = line {
            self.say(&line);
        }
        self.show_overall(&self.status());
        if let Some(error) = result.err().filter(|_| !self.single) {
            self.error(&anyhow!("run {}: {}", plan.key, fmam::one_line(error)));
        }
    }
}

fn to_stderr(line: &str) {
    let lines: Vec<_> = line.split('\n').map(shown_line).collect();
    // Not `eprintln!`, which panics when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}
