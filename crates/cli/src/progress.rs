//! Progress on stderr: two bars on a terminal, a line for each finished run elsewhere, nothing with
//! `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use fmam::reproduce::Eta;
use fmam_core::{Progress, StageId};
use fmam_experiment::{ExperimentError, GridObserver, RunPlan};
use fmam_metrics::{IMAGE_AUROC, PIXEL_AUROC};
use fmam_record::RunRecord;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{exit, interrupt};

/// Steps of the bar over everything.
const OVERALL_STEPS: u64 = 1000;
const REDRAW: Duration = Duration::from_millis(250);

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verbosity {
    Bars,
    Lines,
    Nothing,
}

/// Shows how far the work has come, and passes on Ctrl-C.
pub(crate) struct Console {
    verbosity: Verbosity,
    /// True for a grid of one run, whose failure is the failure of the whole.
    single: bool,
    bars: MultiProgress,
    overall: ProgressBar,
    stage: ProgressBar,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    eta: Eta,
    n_runs: usize,
    n_done: usize,
    /// The run under way; empty for work without runs.
    run: String,
    /// The stage under way.
    stage: Option<Stage>,
}

/// A stage under way, whatever run it belongs to.
struct Stage {
    id: StageId,
    /// Steps.
    total: u64,
    since: f64,
}

impl Stage {
    /// Images in a second, of the one stage that counts its steps in images.
    fn images_per_second(&self, done: u64, now: f64) -> Option<f64> {
        (self.id == StageId::SCORING && now > self.since).then(|| done as f64 / (now - self.since))
    }
}

impl Console {
    /// Watches over work that consists of `plans`; none for work that is a single stage.
    pub(crate) fn new<'a>(quiet: bool, plans: impl IntoIterator<Item = &'a RunPlan> + Clone) -> Self {
        let verbosity = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Verbosity::Nothing,
            (false, true) => Verbosity::Bars,
            (false, false) => Verbosity::Lines,
        };
        let n_runs = plans.clone().into_iter().count();
        let target = match verbosity {
            Verbosity::Bars => ProgressDrawTarget::stderr_with_hz(5),
            _ => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let overall = ProgressBar::new(OVERALL_STEPS)
            .with_style(style("{elapsed_precise} [{bar:30.cyan}] {msg}").progress_chars("=> "));
        let stage = ProgressBar::new(0)
            .with_style(style("{prefix}\n  [{bar:20}] {pos}/{len} {wide_msg}").progress_chars("=> "));
        let state = State { eta: Eta::new(plans), n_runs, ..State::default() };
        let console = Self {
            verbosity,
            single: false,
            overall: bars.add(overall),
            stage: bars.add(stage),
            bars,
            start: Instant::now(),
            state: Mutex::new(state),
        };
        if console.verbosity == Verbosity::Bars {
            console.overall.enable_steady_tick(REDRAW);
        }
        console
    }

    /// With `single` the failure of a run is not told, because it is that of the whole.
    pub(crate) fn of_single(mut self, single: bool) -> Self {
        self.single = single;
        self
    }

    /// Writes a line above the bars; nothing with `--quiet`.
    pub(crate) fn say(&self, line: &str) {
        match self.verbosity {
            Verbosity::Nothing => {}
            Verbosity::Bars => self.bars.suspend(|| to_stderr(line)),
            Verbosity::Lines => to_stderr(line),
        }
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

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_overall(&self, state: &State) {
        let runs = if state.n_runs > 1 {
            format!("run {}/{}, ", (state.n_done + 1).min(state.n_runs), state.n_runs)
        } else {
            String::new()
        };
        let left = match state.eta.remaining() {
            Some(seconds) => {
                let elapsed = self.now();
                let share = elapsed / (elapsed + seconds).max(1e-9);
                self.overall.set_position((share * OVERALL_STEPS as f64) as u64);
                format!("about {} left", rough(seconds))
            }
            None => "estimating the time left".to_owned(),
        };
        self.overall.set_message(format!("{runs}{left}"));
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
        let mut state = self.state();
        let now = self.now();
        state.eta.start_stage(stage, now);
        state.stage = Some(Stage { id: stage.clone(), total, since: now });
        self.stage.set_length(total);
        self.stage.set_position(0);
        self.stage.set_prefix([state.run.as_str(), stage.as_str()].join(if state.run.is_empty() {
            ""
        } else {
            ": "
        }));
        self.stage.set_message("");
        self.show_overall(&state);
    }

    fn update(&self, done: u64, detail: &str) {
        let mut state = self.state();
        let now = self.now();
        let total = state.stage.as_ref().map_or(1, |stage| stage.total.max(1));
        state.eta.update(done as f64 / total as f64, now);
        self.stage.set_position(done);
        let of_stage = || state.stage.as_ref()?.images_per_second(done, now);
        let speed = state.eta.images_per_second().or_else(of_stage);
        let speed = speed.map(|rate| format!("{rate:.1} images/s"));
        let parts = [Some(detail.to_owned()).filter(|detail| !detail.is_empty()), speed];
        self.stage.set_message(parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
        self.show_overall(&state);
    }

    fn finish(&self) {
        let mut state = self.state();
        state.eta.end_stage(self.now());
        self.show_overall(&state);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl GridObserver for Console {
    fn run_started(&self, plan: &RunPlan) {
        let mut state = self.state();
        state.run = plan.key.to_string();
        self.show_overall(&state);
    }

    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        let line = {
            let mut state = self.state();
            state.eta.end_run(self.now());
            state.n_done += 1;
            let left = match state.eta.remaining() {
                Some(seconds) if state.n_done < state.n_runs => format!("; about {} left", rough(seconds)),
                _ => String::new(),
            };
            result.ok().map(|record| format!("{}/{} {}{left}", state.n_done, state.n_runs, run_line(record)))
        };
        if let Some(line) = line {
            self.say(&line);
        }
        self.show_overall(&self.state());
        if let Some(error) = result.err().filter(|_| !self.single) {
            self.error(&anyhow!("run {}: {}", plan.key, exit::one_line(anyhow::Chain::new(error))));
        }
    }
}

/// A run's figures on a line.
fn run_line(record: &RunRecord) -> String {
    let percent = |metric| {
        record.metrics.get(metric).map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value))
    };
    let (image, pixel) = (percent(&IMAGE_AUROC), percent(&PIXEL_AUROC));
    format!(
        "{} {} {} seed {}: AUROC image {image} pixel {pixel}, fitted in {}, {:.1} images/s",
        record.category,
        record.method,
        record.backbone,
        record.seed.value(),
        rough(record.fit_seconds),
        record.score_images_per_second,
    )
}

/// A duration as a person says it: two units at most.
pub(crate) fn rough(seconds: f64) -> String {
    let s = seconds.max(0.0).ceil() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..600 => format!("{} min {} s", s / 60, s % 60),
        600..3600 => format!("{} min", s.div_ceil(60)),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

fn to_stderr(line: &str) {
    // Not `eprintln!`, which panics when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scoring_has_a_speed_without_a_planned_run() {
        let stage = |id| Stage { id, total: 20, since: 1.0 };
        assert_eq!(stage(StageId::SCORING).images_per_second(10, 3.0), Some(5.0));
        assert_eq!(stage(StageId::SCORING).images_per_second(0, 1.0), None);
        assert_eq!(stage(StageId::READING).images_per_second(10, 3.0), None);
    }

    #[test]
    fn durations_read_well() {
        let said = [0.2, 59.0, 61.0, 599.5, 3500.0, 3725.0].map(rough);
        assert_eq!(said, ["1 s", "59 s", "1 min 1 s", "10 min", "59 min", "1 h 2 min"]);
    }
}
