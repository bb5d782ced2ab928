use std::time::Instant;

use fmam_core::StageId;
use fmam_experiment::RunPlan;
use fmam_metrics::{IMAGE_AUROC, PIXEL_AUROC};
use fmam_record::RunRecord;

use super::eta::Eta;

/// Work under way in words: runs, stages, and the time that is left. It hears what an observer of a
/// grid hears.
#[derive(Debug)]
pub struct Status {
    eta: Eta,
    start: Instant,
    n_runs: usize,
    n_done: usize,
    /// The run under way; empty for work without runs.
    run: String,
    stage: Option<Stage>,
}

/// A stage under way, whatever run it belongs to.
#[derive(Debug)]
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

impl Status {
    /// The work that consists of `plans`; none for work that is a single stage.
    pub fn new<'a>(plans: impl IntoIterator<Item = &'a RunPlan> + Clone) -> Self {
        let n_runs = plans.clone().into_iter().count();
        let (eta, start) = (Eta::new(plans), Instant::now());
        Self { eta, start, n_runs, n_done: 0, run: String::new(), stage: None }
    }

    /// A stage of `total` steps begins; gives its title.
    pub fn start(&mut self, stage: &StageId, total: u64) -> String {
        let now = self.now();
        self.eta.start_stage(stage, now);
        self.stage = Some(Stage { id: stage.clone(), total, since: now });
        if self.run.is_empty() { stage.to_string() } else { format!("{}: {stage}", self.run) }
    }

    /// `done` steps of the stage are complete; gives `detail` with the speed.
    pub fn update(&mut self, done: u64, detail: &str) -> String {
        let now = self.now();
        let total = self.stage.as_ref().map_or(1, |stage| stage.total.max(1));
        self.eta.update(done as f64 / total as f64, now);
        let of_stage = || self.stage.as_ref()?.images_per_second(done, now);
        let speed = self.eta.images_per_second().or_else(of_stage);
        let speed = speed.map(|rate| format!("{rate:.1} images/s"));
        let parts = [Some(detail.to_owned()).filter(|detail| !detail.is_empty()), speed];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The stage is over.
    pub fn finish(&mut self) {
        self.eta.end_stage(self.now());
    }

    /// A run begins.
    pub fn run_started(&mut self, plan: &RunPlan) {
        self.run = plan.key.to_string();
    }

    /// A run is over; gives a line on the one that succeeded.
    pub fn run_finished(&mut self, record: Option<&RunRecord>) -> Option<String> {
        self.eta.end_run(self.now());
        self.n_done += 1;
        let left = match self.eta.remaining() {
            Some(seconds) if self.n_done < self.n_runs => format!("; about {} left", rough(seconds)),
            _ => String::new(),
        };
        record.map(|record| format!("{}/{} {}{left}", self.n_done, self.n_runs, run_line(record)))
    }

    /// The share of all work that is done, where it can be told, and how it stands.
    pub fn overall(&self) -> (Option<f64>, String) {
        let runs = if self.n_runs > 1 {
            format!("run {}/{}, ", (self.n_done + 1).min(self.n_runs), self.n_runs)
        } else {
            String::new()
        };
        match self.eta.remaining() {
            Some(seconds) => {
                let elapsed = self.now();
                let share = elapsed / (elapsed + seconds).max(1e-9);
                (Some(share), format!("{runs}about {} left", rough(seconds)))
            }
            None => (None, format!("{runs}estimating the time left")),
        }
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
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

/// A duration in two units at most, as a person says it.
pub fn rough(seconds: f64) -> String {
    let s = seconds.max(0.0).ceil() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..600 => format!("{} min {} s", s / 60, s % 60),
        600..3600 => format!("{} min", s.div_ceil(60)),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
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
