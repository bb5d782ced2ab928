use std::collections::HashMap;

use fmam_core::{ImageSize, Progress, RgbImage, SampleSource, SourceError, StageId, Subset, ordered_map};
use fmam_inspection::{Calibration, KnownImages, Look, Procedure, Profile, SyntheticDefects, Trait};
use fmam_methods::{Detector, Fitted, MethodEntry, RunContext};

use super::config::{CalibrationConfig, CalibrationMode, Split, n_held_out};
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
    let too_few = |found| {
        let (method, others) = (entry.name.to_owned(), Vec::new());
        ExperimentError::TooFewImages { method, found, needed, others }
    };
    if n < needed {
        return Err(too_few(n));
    }
    let trains = !build()?.plan(n)?.stages.is_empty();
    let fitting = Fitting { good, run, entry, settings };
    if config.mode == CalibrationMode::Off {
        return fitting.fit(good, run.progress);
    }
    // Before the training, which must not be lost for a file that cannot be read.
    let (digests, looks) = looks(good, run)?;
    let flat = looks.iter().filter(|look| look.value(Trait::Contrast).is_some_and(|grey| grey < 1.0)).count();
    if flat > 0 {
        tracing::warn!(images = flat, "good images of one colour: are they masks?");
    }
    let copies = Copies::of(&digests);
    if copies.first.len() < n {
        let images = n - copies.first.len();
        tracing::warn!(images, "good images that are copies of others: each counts once for the threshold");
    }
    let images = copies.first.len();
    if images < needed {
        return Err(too_few(images));
    }
    let of_part = |part: &[usize]| -> Vec<usize> { part.iter().map(|&image| copies.first[image]).collect() };
    let without_part = |part: &[usize]| {
        let is_kept = |index: &usize| part.binary_search(&copies.image[*index]).is_err();
        Subset::new(good, (0..n).filter(is_kept).collect())
    };
    let (fitted, procedure, scored, held_out) = match config.split(images, trains, run.seed) {
        Split::None => return fitting.fit(good, run.progress),
        Split::HoldOut { held_out } => {
            let fitted = fitting.fit(&without_part(&held_out), run.progress)?;
            run.progress.start(&StageId::CALIBRATING, held_out.len() as u64);
            let scored = fitting.score(&fitted.detector, of_part(&held_out), held_out.len(), 0)?;
            run.progress.finish();
            (fitted, Procedure::HoldOut, scored, held_out)
        }
        Split::CrossFit { parts } => {
            run.progress.start(&StageId::CALIBRATING, images as u64);
            let mut scored = GoodScored::default();
            for part in &parts {
                let detector = fitting.fit(&without_part(part), &Unwatched(run.progress))?.detector;
                let done = scored.images.len();
                scored.extend(fitting.score(&detector, of_part(part), images, done)?);
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
    let mut known = KnownImages::default();
    for (image, &first) in copies.first.iter().enumerate() {
        let is_held_out = held_out.binary_search(&image).is_ok();
        if is_held_out { &mut known.calibrated } else { &mut known.learnt }.push(digests[first].clone());
    }
    let mut calibration = calibration.with_synthetic(synthetic).with_known(known);
    if let Some(profile) = Profile::of(&looks) {
        calibration = calibration.with_images(profile);
    }
    let Fitted { detector, curve } = fitted;
    Ok(Fitted { detector: detector.with_calibration(calibration), curve })
}

/// Images of which there are copies. A copy of a held-out image must not be learnt from: the
/// held-out one would score lower than a new part.
struct Copies {
    /// The image that each file shows; images count from 0 in the order in which they come.
    image: Vec<usize>,
    /// The first file of each image.
    first: Vec<usize>,
}

impl Copies {
    /// Files are copies where their digests are equal.
    fn of(digests: &[String]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut first = Vec::new();
        let mut image = Vec::with_capacity(digests.len());
        for (file, digest) in digests.iter().enumerate() {
            image.push(*numbers.entry(digest.as_str()).or_insert_with(|| {
                first.push(file);
                first.len() - 1
            }));
        }
        Self { image, first }
    }
}

/// The least number of different good images with which the method `entry` is fitted, also to the
/// least part of them, and calibrated.
pub fn images_needed(entry: &MethodEntry, mode: CalibrationMode) -> usize {
    let learnt = |n: usize| match mode {
        CalibrationMode::Off => n,
        CalibrationMode::Auto => n - 1,
        CalibrationMode::HoldOut { share } => n - n_held_out(n, share),
        CalibrationMode::CrossFit { folds } => n - n.div_ceil(folds.min(n).max(1)),
    };
    (1..MAX_NEEDED).find(|&n| learnt(n) >= entry.min_images).unwrap_or(MAX_NEEDED)
}

/// No share is so large that more images were needed.
const MAX_NEEDED: usize = 1_000_000;

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
        part: Vec<usize>,
        total: usize,
        done: usize,
    ) -> Result<GoodScored, ExperimentError> {
        let run = self.run;
        let synthesizer = synthesizer_of(run.textures.clone())?;
        let seed = run.seed.derive("calibration defects").derive_index(done as u64);
        let n_defects = SCORED_DEFECTS.div_ceil(total.max(1));
        let images = Subset::new(self.good, part);
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
