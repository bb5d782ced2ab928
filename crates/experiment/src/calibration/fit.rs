use std::collections::HashSet;

use fmam_core::{ImageSize, Progress, RgbImage, SampleSource, SourceError, StageId, Subset, ordered_map};
use fmam_inspection::{Calibration, KnownImages, Look, Procedure, Profile, SyntheticDefects};
use fmam_methods::{Detector, Fitted, MethodEntry, RunContext};

use super::config::{CalibrationConfig, CalibrationMode, Split, without};
use super::good_scores::{GoodScored, SCORED_DEFECTS, score_good};
use super::seen::image_digest;
use crate::ExperimentError;
use crate::defects::synthesizer_of;

/// Fits the method `entry` with `settings` to the good images `good`, all of one size, and
/// calibrates the detector.
///
/// # Errors
/// [`ExperimentError::TooFewImages`] for fewer images than [`images_needed`],
/// [`ExperimentError::Inspection`] for a rate that is none, [`ExperimentError::Sample`] naming an
/// unreadable image, [`ExperimentError::Method`], [`ExperimentError::Cancelled`].
pub fn fit_calibrated(
    entry: &MethodEntry,
    settings: &toml::Table,
    good: &dyn SampleSource,
    run: &RunContext<'_>,
    config: CalibrationConfig,
) -> Result<Fitted, ExperimentError> {
    config.check()?;
    let build = || (entry.build)(settings.clone()).map_err(ExperimentError::configuration);
    let n = good.len();
    let needed = images_needed(entry, config.mode);
    if n < needed {
        return Err(ExperimentError::TooFewImages {
            method: entry.name.to_owned(),
            found: n,
            needed,
            others: Vec::new(),
        });
    }
    let trains = !build()?.plan(n)?.stages.is_empty();
    let split = config.split(n, trains, run.seed);
    let fitting = Fitting { good, run, entry, settings };
    let (fitted, procedure, scored, held_out) = match split {
        Split::None => return fitting.fit(good, run.progress),
        Split::HoldOut { held_out } => {
            let train = Subset::new(good, without(n, &held_out));
            let fitted = fitting.fit(&train, run.progress)?;
            run.progress.start(&StageId::CALIBRATING, held_out.len() as u64);
            let scored = fitting.score(&fitted.detector, &held_out, held_out.len(), 0)?;
            run.progress.finish();
            (fitted, Procedure::HoldOut, scored, held_out)
        }
        Split::CrossFit { parts } => {
            run.progress.start(&StageId::CALIBRATING, n as u64);
            let mut scored = GoodScored::default();
            for part in &parts {
                let train = Subset::new(good, without(n, part));
                let quiet = Unwatched(run.progress);
                let detector = fitting.fit(&train, &quiet)?.detector;
                let done = scored.images.len();
                scored.extend(fitting.score(&detector, part, n, done)?);
            }
            run.progress.finish();
            (fitting.fit(good, run.progress)?, Procedure::CrossFit, scored, Vec::new())
        }
    };
    let calibration = Calibration::new(procedure, &scored.images, config.false_alarms)?;
    let limit = calibration.threshold().score;
    let synthetic = SyntheticDefects {
        caught: scored.defects.iter().filter(|score| **score > limit).count(),
        of: scored.defects.len(),
    };
    let mut calibration = calibration.with_synthetic(synthetic);
    let (digests, looks) = looks(good, run)?;
    calibration = calibration.with_known(known_images(digests, &held_out));
    if let Some(profile) = Profile::of(&looks) {
        calibration = calibration.with_images(profile);
    }
    let Fitted { detector, curve } = fitted;
    Ok(Fitted { detector: detector.with_calibration(calibration), curve })
}

/// The images by their digests, of which those at the positions `held_out` were not learnt from.
/// Warns of copies: a held-out image of which a copy is learnt from scores lower than a new one.
fn known_images(digests: Vec<String>, held_out: &[usize]) -> KnownImages {
    let n_different = digests.iter().collect::<HashSet<_>>().len();
    if n_different < digests.len() {
        let copies = digests.len() - n_different;
        tracing::warn!(copies, "some of the good images are copies of others: the threshold may be too low");
    }
    let mut known = KnownImages::default();
    for (index, digest) in digests.into_iter().enumerate() {
        let is_held_out = held_out.binary_search(&index).is_ok();
        if is_held_out { &mut known.calibrated } else { &mut known.learnt }.push(digest);
    }
    known
}

/// The least number of good images with which the method `entry` is fitted and calibrated.
pub fn images_needed(entry: &MethodEntry, mode: CalibrationMode) -> usize {
    let calibrating = match mode {
        CalibrationMode::Off => 0,
        _ => 1,
    };
    entry.min_images + calibrating
}

/// A method, its good images and its surroundings.
struct Fitting<'a> {
    good: &'a dyn SampleSource,
    run: &'a RunContext<'a>,
    entry: &'a MethodEntry,
    settings: &'a toml::Table,
}

impl Fitting<'_> {
    fn fit(&self, train: &dyn SampleSource, progress: &dyn Progress) -> Result<Fitted, ExperimentError> {
        let method = (self.entry.build)(self.settings.clone()).map_err(ExperimentError::configuration)?;
        let RunContext { device, seed, image_size, backbone, textures, loader_threads, .. } = self.run;
        let run = RunContext {
            device: device.clone(),
            seed: *seed,
            image_size: *image_size,
            backbone: backbone.clone(),
            textures: textures.clone(),
            loader_threads: *loader_threads,
            progress,
        };
        Ok(method.fit(train, &run)?)
    }

    /// Scores the images at the positions `part`, of `total` in the whole calibration, `done` of
    /// which have been scored.
    fn score(
        &self,
        detector: &Detector,
        part: &[usize],
        total: usize,
        done: usize,
    ) -> Result<GoodScored, ExperimentError> {
        let run = self.run;
        let synthesizer = synthesizer_of(run.textures.clone())?;
        let seed = run.seed.derive("calibration defects").derive_index(done as u64);
        let n_defects = SCORED_DEFECTS.div_ceil(total.max(1));
        let images = Subset::new(self.good, part.to_vec());
        let update = |scored: usize| run.progress.update((done + scored) as u64, "");
        let defects = Some((&synthesizer, n_defects, seed));
        score_good(detector, &images, defects, run.loader_threads, run.progress, update)
    }
}

/// The digests and the looks of all images.
fn looks(good: &dyn SampleSource, run: &RunContext<'_>) -> Result<(Vec<String>, Vec<Look>), ExperimentError> {
    let (mut digests, mut looks) = (Vec::with_capacity(good.len()), Vec::with_capacity(good.len()));
    let look = |index: usize| -> Result<(String, Look), SourceError> {
        let image: RgbImage = good.image(index)?;
        Ok((image_digest(&image), Look::of(&image, original_size(good, index)?)))
    };
    ordered_map(good.len(), run.loader_threads, 2 * run.loader_threads, look, |index, look| {
        let id = || good.sample(index).id.clone();
        let (digest, look) = look.map_err(|source| ExperimentError::Sample { id: id(), source })?;
        digests.push(digest);
        looks.push(look);
        Ok::<(), ExperimentError>(())
    })?;
    Ok((digests, looks))
}

/// The size of the image file of a sample; `None` for an image that comes from no file.
fn original_size(good: &dyn SampleSource, index: usize) -> Result<Option<ImageSize>, SourceError> {
    let path = &good.sample(index).image_path;
    Ok(if path.as_os_str().is_empty() { None } else { Some(fmam_datasets::image_size(path)?) })
}

/// The progress of a fit that is a part of another piece of work: it hears of a request to stop and
/// shows nothing.
struct Unwatched<'a>(&'a dyn Progress);

impl Progress for Unwatched<'_> {
    fn start(&self, _stage: &StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {}
    fn finish(&self) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
