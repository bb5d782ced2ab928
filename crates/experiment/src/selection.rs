//! The choice of a method by good images alone: each candidate learns from a part of them and is
//! tried on the rest, and on synthetic defects of several kinds in the rest.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use fmam_core::{Progress, RgbImage, SampleSource, StageId, Subset};
use fmam_methods::{Detector, MethodEntry, MethodError, RunContext};
use fmam_metrics::auroc;
use fmam_synthesis::{Source, SynthesisConfig, Synthesizer, confetti_within};

use crate::ExperimentError;

/// Good images that the candidates are tried on, at most.
const MAX_HELD_OUT: usize = 48;

/// Images that there must be: as many are tried on and learnt from, at least.
pub const SELECTION_IMAGES: usize = 4;

/// The time of the final fit, with its calibration, in trials.
const FINAL_FIT: f64 = 1.5;

/// A method that may be chosen, with its settings.
#[derive(Clone)]
pub struct Candidate {
    /// The method.
    pub entry: &'static MethodEntry,
    /// Its settings over the defaults.
    pub settings: toml::Table,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { entry, settings } = self;
        f.debug_struct("Candidate").field("entry", &entry.name).field("settings", settings).finish()
    }
}

/// The trial of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodTrial {
    /// The registered name of the method.
    pub method: &'static str,
    /// Time of fit and scoring in seconds.
    pub seconds: f64,
    /// Image AUROC in 0..=1 of held-out good images against each kind of synthetic defects; empty
    /// for a method that did not end in time.
    pub kinds: Vec<(&'static str, f64)>,
}

impl MethodTrial {
    /// The mean over the kinds; `None` for a method that did not end in time.
    pub fn separation(&self) -> Option<f64> {
        let n = self.kinds.len();
        (n > 0).then(|| self.kinds.iter().map(|(_, auroc)| auroc).sum::<f64>() / n as f64)
    }
}

/// Tries `candidates` on the good images `good`, which each of them reads anew, and gives the
/// trials, the best first. Few images tell little: `rkd+fmam` and then `nkd+fmam` come first where
/// they are within a standard error of the best. `budget` includes the final fit of the first.
/// Methods that train nothing are tried first, then `rkd+fmam`, then the others in their order. A
/// trial ends early where its candidate cannot be fitted within the budget. Where all end, the
/// outcome does not depend on the machine.
///
/// # Errors
/// [`ExperimentError::TooFewImages`] for fewer than [`SELECTION_IMAGES`],
/// [`ExperimentError::NoMethodInTime`] where no candidate ends in time,
/// [`ExperimentError::Cancelled`], and the errors of the images, of a fit and of the synthesis.
pub fn rank_methods(
    candidates: Vec<Candidate>,
    good: &dyn SampleSource,
    run: &RunContext<'_>,
    budget: Duration,
) -> Result<Vec<MethodTrial>, ExperimentError> {
    let (n, start) = (good.len(), Instant::now());
    if n < SELECTION_IMAGES {
        let (method, needed) = ("auto".to_owned(), SELECTION_IMAGES);
        return Err(ExperimentError::TooFewImages { method, found: n, needed, others: Vec::new() });
    }
    let held_out = held_out(n);
    let learnt = (0..n).filter(|index| held_out.binary_search(index).is_err()).collect();
    let learnt = Subset::new(good, learnt);
    let test = TestImages::new(&Subset::new(good, held_out), run)?;
    let mut trials: Vec<MethodTrial> = Vec::new();
    for candidate in in_order(candidates)? {
        let left = budget.as_secs_f64() - start.elapsed().as_secs_f64();
        // Time for this trial and the final fit of it, or of the choice so far.
        let for_this = left / (1.0 + FINAL_FIT);
        let allowed =
            choice(&trials).map_or(for_this, |choice| for_this.min(left - FINAL_FIT * choice.seconds));
        let began = Instant::now();
        let kinds = if allowed > 0.0 { test.tried(&candidate, &learnt, run, allowed)? } else { Vec::new() };
        let trial =
            MethodTrial { method: candidate.entry.name, seconds: began.elapsed().as_secs_f64(), kinds };
        trials.push(trial);
        sort_best_first(&mut trials, test.good.len());
    }
    if choice(&trials).is_none() {
        return Err(ExperimentError::NoMethodInTime { seconds: budget.as_secs_f64() });
    }
    Ok(trials)
}

/// The first of sorted trials; `None` where no method ended in time.
fn choice(trials: &[MethodTrial]) -> Option<&MethodTrial> {
    trials.first().filter(|trial| trial.separation().is_some())
}

/// Methods that weigh several kinds of evidence, in the order in which level ones are preferred.
const PREFERRED: [&str; 2] = ["rkd+fmam", "nkd+fmam"];

/// Sorts trials on `n` good images and as many defective ones. Those within a standard error of the
/// highest are level with it: of these the [`PREFERRED`] come first.
fn sort_best_first(trials: &mut [MethodTrial], n: usize) {
    let separation = |trial: &MethodTrial| trial.separation().unwrap_or(-1.0);
    trials.sort_by(|a, b| separation(b).total_cmp(&separation(a)));
    let Some(best) = trials.first() else { return };
    let errors = best.kinds.iter().map(|(_, auroc)| auroc_error(*auroc, n));
    // The kinds are tried on the same good images: their errors do not average out.
    let level = separation(best) - errors.sum::<f64>() / best.kinds.len().max(1) as f64;
    let place = |trial: &MethodTrial| {
        let place = PREFERRED.iter().position(|&name| name == trial.method);
        place.filter(|_| separation(trial) >= level).unwrap_or(PREFERRED.len())
    };
    trials.sort_by_key(place);
}

/// The standard error of an AUROC of `n` images of either class (Hanley and McNeil 1982).
fn auroc_error(auroc: f64, n: usize) -> f64 {
    let (square, others) = (auroc * auroc, n as f64 - 1.0);
    let pairs = auroc / (2.0 - auroc) + 2.0 * square / (1.0 + auroc) - 2.0 * square;
    ((auroc * (1.0 - auroc) + others * pairs).max(0.0)).sqrt() / n as f64
}

/// A fifth of `n` images, [`MAX_HELD_OUT`] at most, from the middles of equal parts of them.
fn held_out(n: usize) -> Vec<usize> {
    let count = (n / 5).clamp(1, MAX_HELD_OUT);
    (0..count).map(|k| (2 * k + 1) * n / (2 * count)).collect()
}

/// The candidates in the order in which they are tried.
fn in_order(candidates: Vec<Candidate>) -> Result<Vec<Candidate>, ExperimentError> {
    let place = |candidate: Candidate| -> Result<(u8, Candidate), ExperimentError> {
        let trains = candidate.entry.trains().map_err(ExperimentError::configuration)?;
        let is_first = candidate.entry.name == "rkd+fmam";
        Ok((u8::from(trains) + u8::from(trains && !is_first), candidate))
    };
    let mut placed = candidates.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Good images and what the kinds of defects make of them.
struct TestImages {
    good: Vec<RgbImage>,
    kinds: Vec<(&'static str, Vec<RgbImage>)>,
}

impl TestImages {
    fn new(held_out: &dyn SampleSource, run: &RunContext<'_>) -> Result<Self, ExperimentError> {
        let id = |index: usize| held_out.sample(index).id.clone();
        let error = |index, source| ExperimentError::Sample { id: id(index), source };
        let image = |index| held_out.image(index).map_err(|source| error(index, source));
        let good = (0..held_out.len()).map(image).collect::<Result<Vec<_>, _>>()?;
        let inside = |index| held_out.inside(index).map_err(|source| error(index, source));
        let insides = (0..held_out.len()).map(inside).collect::<Result<Vec<_>, _>>()?;
        let of = |config: SynthesisConfig| Synthesizer::new(config, run.textures.clone());
        let defaults = SynthesisConfig::default;
        let synthesizers = [
            ("texture", of(SynthesisConfig { source: Source::Texture, ..defaults() })),
            ("structure", of(SynthesisConfig { source: Source::Structure, ..defaults() })),
            ("small", of(SynthesisConfig { max_area: 0.01, ..defaults() })),
        ];
        let seed =
            |kind: &str, index: usize| run.seed.derive("selection").derive(kind).derive_index(index as u64);
        let mut kinds = Vec::new();
        for (kind, synthesizer) in synthesizers {
            let synthesizer = synthesizer.map_err(MethodError::Synthesis)?;
            let defect = |(index, image): (usize, &RgbImage)| {
                let inside = insides[index].as_ref();
                Ok(synthesizer.synthesize_within(image, inside, seed(kind, index))?.image)
            };
            let images = good.iter().enumerate().map(defect).collect::<Result<_, _>>();
            kinds.push((kind, images.map_err(MethodError::Synthesis)?));
        }
        // A kind that no method is trained on.
        let confetti = |(index, image): (usize, &RgbImage)| match &insides[index] {
            Some(inside) => confetti_within(image, inside, seed("confetti", index)),
            None => Ok(fmam_synthesis::confetti(image, seed("confetti", index))),
        };
        let images = good.iter().enumerate().map(confetti).collect::<Result<_, _>>();
        kinds.push(("confetti", images.map_err(MethodError::Synthesis)?));
        Ok(Self { good, kinds })
    }

    /// Fits a candidate to `learnt` and tries it; nothing where it takes more than `seconds`.
    fn tried(
        &self,
        candidate: &Candidate,
        learnt: &dyn SampleSource,
        run: &RunContext<'_>,
        seconds: f64,
    ) -> Result<Vec<(&'static str, f64)>, ExperimentError> {
        let deadline = Deadline::new(run.progress, seconds);
        let timed = RunContext { progress: &deadline, ..run.clone() };
        let method =
            (candidate.entry.build)(candidate.settings.clone()).map_err(ExperimentError::configuration)?;
        let detector = match method.fit(learnt, &timed) {
            Ok(fitted) => fitted.detector,
            Err(MethodError::Cancelled) if !run.progress.cancelled() => return Ok(Vec::new()),
            Err(MethodError::Cancelled) => return Err(ExperimentError::Cancelled),
            Err(error) => return Err(error.into()),
        };
        let Some(good) = scores(&detector, &self.good, &deadline)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (kind, images) in &self.kinds {
            let Some(defective) = scores(&detector, images, &deadline)? else { return Ok(Vec::new()) };
            let labels: Vec<u8> = good.iter().map(|_| 0).chain(defective.iter().map(|_| 1)).collect();
            found.push((*kind, auroc(&[good.as_slice(), &defective].concat(), &labels)?));
        }
        Ok(found)
    }
}

/// The scores of `images`; `None` past the deadline.
fn scores(
    detector: &Detector,
    images: &[RgbImage],
    deadline: &Deadline<'_>,
) -> Result<Option<Vec<f32>>, ExperimentError> {
    let mut found = Vec::with_capacity(images.len());
    for image in images {
        if deadline.inner.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        if deadline.is_past() {
            return Ok(None);
        }
        let scored = detector.score(std::slice::from_ref(image))?;
        found.extend(scored.iter().map(|prediction| prediction.image_score));
    }
    Ok(Some(found))
}

/// A progress that asks to stop as soon as the current piece of work cannot end in time.
struct Deadline<'a> {
    inner: &'a dyn Progress,
    start: Instant,
    seconds: f64,
    stage: Mutex<Stage>,
}

/// The current piece of work.
struct Stage {
    start: Instant,
    done: u64,
    total: u64,
}

/// Part of a stage, and seconds of it, after which its length is estimated.
const ENOUGH: (f64, f64) = (0.02, 1.0);

impl<'a> Deadline<'a> {
    fn new(inner: &'a dyn Progress, seconds: f64) -> Self {
        let start = Instant::now();
        Self { inner, start, seconds, stage: Mutex::new(Stage { start, done: 0, total: 0 }) }
    }

    fn is_past(&self) -> bool {
        self.start.elapsed().as_secs_f64() > self.seconds
    }

    /// True if the current stage, at its speed so far, ends after the deadline.
    fn will_pass(&self) -> bool {
        let stage = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (taken, part) =
            (stage.start.elapsed().as_secs_f64(), stage.done as f64 / stage.total.max(1) as f64);
        let is_known = part >= ENOUGH.0 && taken >= ENOUGH.1;
        is_known && (stage.start - self.start).as_secs_f64() + taken / part > self.seconds
    }
}

impl Progress for Deadline<'_> {
    fn start(&self, stage: &StageId, total: u64) {
        let mut current = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *current = Stage { start: Instant::now(), done: 0, total };
        drop(current);
        self.inner.start(stage, total);
    }

    fn update(&self, done: u64, detail: &str) {
        self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).done = done;
        self.inner.update(done, detail);
    }

    fn finish(&self) {
        self.inner.finish();
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled() || self.is_past() || self.will_pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_level_methods_fmam_is_the_best() {
        // Hanley and McNeil's formula by hand: sqrt((0.09 + 11 (0.9/1.1 + 1.62/1.9 - 1.62)) / 144).
        assert!((auroc_error(0.9, 12) - 0.06713).abs() < 1e-4, "{}", auroc_error(0.9, 12));
        assert_eq!(auroc_error(1.0, 12), 0.0);
        let trial = |method, auroc| MethodTrial { method, seconds: 1.0, kinds: vec![("texture", auroc)] };
        let sorted = |trials: &[(&'static str, f64)]| {
            let mut trials: Vec<_> = trials.iter().map(|&(method, auroc)| trial(method, auroc)).collect();
            sort_best_first(&mut trials, 12);
            trials.iter().map(|trial| trial.method).collect::<Vec<_>>()
        };
        assert_eq!(sorted(&[("nkd+fmam", 0.89), ("padim", 0.9)]), ["nkd+fmam", "padim"]);
        assert_eq!(
            sorted(&[("padim", 0.9), ("nkd+fmam", 0.89), ("rkd+fmam", 0.85)]),
            ["rkd+fmam", "nkd+fmam", "padim"]
        );
        assert_eq!(sorted(&[("rkd+fmam", 0.8), ("padim", 0.9), ("rkd", 0.85)]), ["padim", "rkd", "rkd+fmam"]);
    }

    #[test]
    fn held_out_images_are_spread_over_all() {
        assert_eq!(held_out(4), [2]);
        assert_eq!(held_out(10), [2, 7]);
        let of_many = held_out(1000);
        assert_eq!((of_many.len(), of_many[0], of_many[47]), (48, 10, 989));
    }
}
