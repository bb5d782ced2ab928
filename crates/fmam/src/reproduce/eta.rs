//! The time that a list of runs still takes, from the speed so far.
//!
//! Work is counted in images that pass a stage: epochs times training images, and test images for
//! scoring. A stage's seconds per image are those measured for it, of the same kind of run where
//! one has been seen, else of the same stage, else of any stage. So there is an estimate from the
//! first step on, and it is right for a kind of run once one of it has passed. Reading images
//! beforehand is left out: it is short, and no part of a run.

use std::collections::HashMap;

use fmam_core::StageId;
use fmam_experiment::RunPlan;

/// A stage and its work.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    id: StageId,
    work: f64,
    started: bool,
}

/// A run and what it consists of.
#[derive(Debug, Clone)]
struct Run {
    /// Runs of one kind take the same time per image.
    kind: String,
    /// Training images times the longest stage's epochs: the work of a stage that was not foreseen.
    typical_work: f64,
    stages: Vec<Stage>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    seconds: f64,
    work: f64,
}

impl Speed {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.work += other.work;
    }

    fn seconds_per_work(self) -> Option<f64> {
        (self.work > 0.0).then(|| self.seconds / self.work)
    }
}

/// The stage that is under way.
#[derive(Debug, Clone)]
struct Current {
    stage: usize,
    since: f64,
    /// Share of the stage that is done, in 0..=1.
    share: f64,
    now: f64,
}

/// Estimates the time that is left. Times are seconds since any fixed moment, given by the caller.
#[derive(Debug, Default)]
pub struct Eta {
    runs: Vec<Run>,
    /// The run under way, or the next one.
    run: usize,
    current: Option<Current>,
    /// By kind of run and stage.
    measured: HashMap<(String, StageId), Speed>,
}

impl Eta {
    /// The estimate for the runs of `plans`, none of which has begun.
    pub fn new<'a>(plans: impl IntoIterator<Item = &'a RunPlan>) -> Self {
        let run = |plan: &RunPlan| {
            let work = |epochs: u64| epochs as f64 * plan.n_train as f64;
            let training = plan.stages().iter().map(|stage| (stage.id.clone(), work(stage.epochs)));
            let scoring = (StageId::SCORING, plan.n_test as f64);
            let stages = training.chain([scoring]);
            let stages = stages.map(|(id, work)| Stage { id, work, started: false }).collect();
            let longest = plan.stages().iter().map(|stage| stage.epochs).max().unwrap_or(1);
            Run {
                kind: format!("{} {}", plan.key.method, plan.key.backbone),
                typical_work: work(longest),
                stages,
            }
        };
        Self { runs: plans.into_iter().map(run).collect(), ..Self::default() }
    }

    /// A stage of the current run begins.
    pub fn start_stage(&mut self, announced: &StageId, now: f64) {
        self.end_stage(now);
        let Some(run) = self.runs.get(self.run).filter(|_| *announced != StageId::READING) else { return };
        let planned = run.stages.iter().position(|stage| !stage.started && stage.id == *announced);
        let (n_stages, kind) = (run.stages.len(), run.kind.clone());
        if planned.is_none() {
            // Runs of this kind that are still to come have it too.
            for run in self.runs[self.run..].iter_mut().filter(|run| run.kind == kind) {
                let id = announced.clone();
                run.stages.push(Stage { id, work: run.typical_work, started: false });
            }
        }
        let stage = planned.unwrap_or(n_stages);
        self.runs[self.run].stages[stage].started = true;
        self.current = Some(Current { stage, since: now, share: 0.0, now });
    }

    /// `share` of the current stage is done.
    pub fn update(&mut self, share: f64, now: f64) {
        if let Some(current) = &mut self.current {
            current.share = share.clamp(0.0, 1.0);
            current.now = now;
        }
    }

    /// The current stage is over.
    pub fn end_stage(&mut self, now: f64) {
        let (Some(mut current), Some(run)) = (self.current.take(), self.runs.get(self.run)) else { return };
        current.now = now;
        let stage = &run.stages[current.stage];
        // Whatever was missing for the whole was not done either.
        let speed = Speed { seconds: current.now - current.since, work: stage.work * current.share };
        self.measured.entry((run.kind.clone(), stage.id.clone())).or_default().add(speed);
    }

    /// The current run is over, done or failed; the next one comes.
    pub fn end_run(&mut self, now: f64) {
        self.end_stage(now);
        self.run += 1;
    }

    /// Seconds left; `None` before anything was measured.
    pub fn remaining(&self) -> Option<f64> {
        let speeds = self.speeds();
        let mut total = 0.0;
        for (index, run) in self.runs.iter().enumerate().skip(self.run) {
            for (at, stage) in run.stages.iter().enumerate() {
                let work = match &self.current {
                    Some(current) if index == self.run && current.stage == at => {
                        stage.work * (1.0 - current.share)
                    }
                    _ if index == self.run && stage.started => 0.0,
                    _ => stage.work,
                };
                if work > 0.0 {
                    total += work * seconds_per_work(&speeds, &run.kind, &stage.id)?;
                }
            }
        }
        Some(total)
    }

    /// Images of the current stage in a second; `None` for a stage of no planned run.
    pub fn images_per_second(&self) -> Option<f64> {
        let current = self.current.as_ref()?;
        let stage = &self.runs.get(self.run)?.stages[current.stage];
        let seconds = current.now - current.since;
        (seconds > 0.0 && current.share > 0.0).then(|| stage.work * current.share / seconds)
    }

    /// All that was measured, the stage under way included.
    fn speeds(&self) -> HashMap<(String, StageId), Speed> {
        let mut speeds = self.measured.clone();
        if let (Some(current), Some(run)) = (&self.current, self.runs.get(self.run)) {
            let stage = &run.stages[current.stage];
            let speed = Speed { seconds: current.now - current.since, work: stage.work * current.share };
            speeds.entry((run.kind.clone(), stage.id.clone())).or_default().add(speed);
        }
        speeds
    }
}

fn seconds_per_work(speeds: &HashMap<(String, StageId), Speed>, kind: &str, stage: &StageId) -> Option<f64> {
    let mean = |fits: &dyn Fn(&str, &StageId) -> bool| {
        let mut sum = Speed::default();
        speeds.iter().filter(|((kind, stage), _)| fits(kind, stage)).for_each(|(_, speed)| sum.add(*speed));
        sum.seconds_per_work()
    };
    mean(&|k, s| k == kind && s == stage).or_else(|| mean(&|_, s| s == stage)).or_else(|| mean(&|_, _| true))
}

#[cfg(test)]
mod tests {
    use fmam_core::{Needs, Seed, StagePlan};
    use fmam_record::{RunConfig, RunKey};

    use super::*;

    const STUDENT: StageId = StageId::new("student");
    const MAPPING: StageId = StageId::new("feature-mapping");

    fn plan(method: &str, stages: &[(StageId, u64)]) -> RunPlan {
        let stages =
            stages.iter().map(|(id, epochs)| StagePlan { id: id.clone(), epochs: *epochs }).collect();
        RunPlan {
            key: RunKey {
                dataset: "demo".into(),
                category: "plain".into(),
                method: method.into(),
                backbone: "tiny".into(),
                seed: Seed::new(0),
            },
            n_train: 10,
            n_test: 20,
            config: RunConfig { stages, ..RunConfig::default() },
            needs: Needs::default(),
        }
    }

    #[test]
    fn there_is_an_estimate_from_the_first_step_on() {
        let plans = [plan("nkd", &[(STUDENT, 10)]), plan("nkd", &[(STUDENT, 10)])];
        let mut eta = Eta::new(&plans);
        assert_eq!(eta.remaining(), None);
        eta.start_stage(&STUDENT, 0.0);
        assert_eq!(eta.remaining(), None);
        // A tenth of 100 images in one second: 90 + 20, then 100 + 20 are left, at 0.1 s each.
        eta.update(0.1, 1.0);
        assert!((eta.remaining().unwrap() - 23.0).abs() < 1e-9);
        assert_eq!(eta.images_per_second(), Some(10.0));
    }

    #[test]
    fn each_stage_has_its_own_speed_once_seen() {
        let plans = [plan("nkd", &[(STUDENT, 10)]), plan("nkd", &[(STUDENT, 10)])];
        let mut eta = Eta::new(&plans);
        eta.start_stage(&STUDENT, 0.0);
        eta.update(1.0, 10.0);
        eta.start_stage(&StageId::SCORING, 10.0);
        eta.update(1.0, 11.0);
        eta.end_run(11.0);
        assert!((eta.remaining().unwrap() - 11.0).abs() < 1e-9);
        eta.start_stage(&STUDENT, 11.0);
        eta.update(0.5, 16.0);
        assert!((eta.remaining().unwrap() - 6.0).abs() < 1e-9);
        eta.end_run(21.0);
        assert_eq!(eta.remaining(), Some(0.0));
    }

    #[test]
    fn another_kind_borrows_the_speed_until_it_has_its_own() {
        let plans = [plan("nkd", &[(STUDENT, 10)]), plan("nkd+fmam", &[(STUDENT, 10), (MAPPING, 5)])];
        let mut eta = Eta::new(&plans);
        eta.start_stage(&STUDENT, 0.0);
        eta.update(1.0, 10.0);
        eta.end_run(10.0);
        // 50 + 100 + 20 images at 0.1 s.
        assert!((eta.remaining().unwrap() - 17.0).abs() < 1e-9);
        eta.start_stage(&MAPPING, 10.0);
        eta.update(1.0, 20.0);
        eta.start_stage(&STUDENT, 20.0);
        // The mapping took 0.2 s an image, the student is still thought to take 0.1 s, scoring the
        // mean of all.
        assert!((eta.remaining().unwrap() - (10.0 + 20.0 * 20.0 / 150.0)).abs() < 1e-9);
    }

    #[test]
    fn reading_images_is_no_stage_of_a_run() {
        let mut eta = Eta::new(&[plan("x", &[(STUDENT, 10)])]);
        eta.start_stage(&StageId::READING, 0.0);
        eta.update(1.0, 50.0);
        assert_eq!((eta.remaining(), eta.images_per_second()), (None, None));
        eta.start_stage(&STUDENT, 60.0);
        eta.update(0.5, 65.0);
        assert!((eta.remaining().unwrap() - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_stage_that_was_not_foreseen_counts_like_the_longest_and_is_expected_next_time() {
        let mut eta = Eta::new(&[plan("x", &[(STUDENT, 10)]), plan("x", &[(STUDENT, 10)]), plan("y", &[])]);
        eta.start_stage(&STUDENT, 0.0);
        eta.update(1.0, 10.0);
        // 100 + 20, 100 + 20, 20 images at 0.1 s.
        assert!((eta.remaining().unwrap() - 16.0).abs() < 1e-9);
        eta.start_stage(&StageId::new("second"), 10.0);
        assert!((eta.remaining().unwrap() - 36.0).abs() < 1e-9);
        eta.update(0.5, 15.0);
        assert!((eta.remaining().unwrap() - 31.0).abs() < 1e-9);
    }
}
