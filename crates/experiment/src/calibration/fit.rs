use std::collections::HashMap;
use std::time::Duration;

use fmam_core::{
    ImageSize, OneLarge, Progress, RgbImage, SampleSource, SourceError, StageId, Subset, TiledSource,
    ValueRange, ordered_map,
};
use fmam_datasets::{CachedSource, DEFAULT_CACHE_BYTES, resize_image};
use fmam_inspection::{Calibration, KnownImages, Look, Procedure, Profile, Trait};
use fmam_methods::{Detector, Fitted, KeptTraining, Method, MethodEntry, RunContext};

use super::config::{CalibrationConfig, CalibrationMode, Plan};
use super::good_scores::{DefectTrial, GoodScored, score_good};
use super::keep::{Facts, KeepTraining};
use super::seen::image_digest;
use crate::ExperimentError;
use crate::unwatched::Unwatched;

/// A fit with its calibration.
pub struct CalibratedFit {
    /// The detector and the losses of its trainings.
    pub fitted: Fitted,
    /// The time that interrupted attempts spent on what this one did not do again.
    pub earlier: Duration,
}

/// Fits the method `entry` with `settings` to the good images `good`, all of one size, and
/// calibrates the detector. Where `keep` says so, an interrupted fit goes on where it was.
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
    keep: Option<&KeepTraining>,
) -> Result<CalibratedFit, ExperimentError> {
    config.check()?;
    let n = good.len();
    let run = with_depth(good, run)?;
    let method_plan = (entry.build)(settings.clone()).map_err(ExperimentError::configuration)?.plan(n)?;
    let trains = !method_plan.stages.is_empty();
    let plan = config.mode.plan(trains);
    let needed = images_of(entry, plan);
    let check_count = |found| {
        let (method, others) = (entry.name.to_owned(), Vec::new());
        let error = || ExperimentError::TooFewImages { method, found, needed, others };
        if found < needed { Err(error()) } else { Ok(()) }
    };
    check_count(n)?;
    let keep = keep.filter(|_| trains);
    if plan.is_none() && keep.is_none() {
        let fitted = Fitting { good, run: &run, entry, settings }.fit(good, run.progress)?;
        return Ok(CalibratedFit { fitted, earlier: Duration::ZERO });
    }

    // Before the training, which must not be lost for a file that cannot be read.
    let (digests, looks) = looks(good, &run)?;
    let facts = Facts { entry, settings: &method_plan.settings, calibration: &config, images: &digests };
    let kept = keep.map(|keep| keep.open(&facts, &run)).transpose()?;
    let run = &RunContext { kept: kept.as_ref(), ..run };
    let fitting = Fitting { good, run, entry, settings };
    let earlier = || kept.as_ref().map_or(Duration::ZERO, KeptTraining::earlier);
    let Some(plan) = plan else {
        let fitted = fitting.fit(good, run.progress)?;
        return Ok(CalibratedFit { fitted, earlier: earlier() });
    };
    let copies = Copies::of(&digests);
    let images = copies.first.len();
    warn_of_odd(&looks, n - images);
    check_count(images)?;
    let of_part = |part: &[usize]| -> Vec<usize> { part.iter().map(|&image| copies.first[image]).collect() };
    let without_part = |part: &[usize]| {
        let is_kept = |index: &usize| part.binary_search(&copies.image[*index]).is_err();
        Subset::new(good, (0..n).filter(is_kept).collect())
    };
    let parts = plan.parts(images, run.seed);
    let n_scored = parts.iter().map(Vec::len).sum();
    let mut scored = GoodScored::default();
    let (Fitted { detector, curve }, procedure, held_out) = match plan {
        Plan::HoldOut { .. } => {
            let held_out = parts.concat();
            let fitted = fitting.fit(&without_part(&held_out), run.progress)?;
            run.progress.start(&StageId::CALIBRATING, n_scored as u64);
            fitting.score(&fitted.detector, of_part(&held_out), n_scored, &mut scored)?;
            run.progress.finish();
            (fitted, Procedure::HoldOut, held_out)
        }
        Plan::CrossFit { .. } => {
            run.progress.start(&StageId::CALIBRATING, n_scored as u64);
            for part in &parts {
                let detector = fitting.fit(&without_part(part), &Unwatched(run.progress))?.detector;
                fitting.score(&detector, of_part(part), n_scored, &mut scored)?;
            }
            run.progress.finish();
            (fitting.fit(good, run.progress)?, Procedure::CrossFit, Vec::new())
        }
    };
    let mut known = KnownImages::default();
    for (image, &first) in copies.first.iter().enumerate() {
        let is_held_out = held_out.binary_search(&image).is_ok();
        if is_held_out { &mut known.calibrated } else { &mut known.learnt }.push(digests[first].clone());
    }
    let calibration = Calibration::new(procedure, &scored.images, config.false_alarms)?
        .tried_on(&scored.defects)
        .with_known(known)
        .with_images(Profile::of(&looks));
    let fitted = Fitted { detector: detector.with_calibration(calibration), curve };
    Ok(CalibratedFit { fitted, earlier: earlier() })
}

/// Warns of good images of one colour, and of copies of others.
fn warn_of_odd(looks: &[Look], n_copies: usize) {
    let flat = looks.iter().filter(|look| look.value(Trait::Contrast).is_some_and(|grey| grey < 1.0)).count();
    if flat > 0 {
        tracing::warn!(images = flat, "good images of one colour: are they masks?");
    }
    if n_copies > 0 {
        tracing::warn!(
            images = n_copies,
            "good images that are copies of others: each counts once for the threshold"
        );
    }
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
///
/// # Errors
/// As [`MethodEntry::trains`].
pub fn images_needed(entry: &MethodEntry, mode: CalibrationMode) -> Result<usize, ExperimentError> {
    Ok(images_of(entry, mode.plan(entry.trains()?)))
}

fn images_of(entry: &MethodEntry, plan: Option<Plan>) -> usize {
    let least = entry.min_images.max(1);
    plan.map_or(least, |plan| plan.images_needed(least))
}

/// A method, its good images and its surroundings.
struct Fitting<'a> {
    good: &'a dyn SampleSource,
    run: &'a RunContext<'a>,
    entry: &'a MethodEntry,
    settings: &'a toml::Table,
}

impl Fitting<'_> {
    fn method(&self) -> Result<Box<dyn Method>, ExperimentError> {
        (self.entry.build)(self.settings.clone()).map_err(ExperimentError::configuration)
    }

    /// Fits the method to the images `train`, or to their tiles.
    fn fit(&self, train: &dyn SampleSource, progress: &dyn Progress) -> Result<Fitted, ExperimentError> {
        let run = RunContext { progress, ..self.run.clone() };
        let Some(overlap) = run.preparation.tile_overlap() else {
            return Ok(self.method()?.fit(train, &run)?);
        };
        let tiles = TiledSource::new(train, run.image_size(), overlap)?;
        let tiles = CachedSource::new(tiles, DEFAULT_CACHE_BYTES);
        Ok(self.method()?.fit(&tiles, &run)?)
    }

    /// Scores the images at the positions `part`, of `n_images` in the whole calibration, and adds
    /// the scores to those that are there.
    fn score(
        &self,
        detector: &Detector,
        part: Vec<usize>,
        n_images: usize,
        scored: &mut GoodScored,
    ) -> Result<(), ExperimentError> {
        let RunContext { seed, textures, loader_threads, progress, .. } = self.run;
        let done = scored.images.len();
        let seed = seed.derive("calibration defects").derive_index(done as u64);
        let trial = DefectTrial { textures: textures.clone(), seed, n_images };
        let images = Subset::new(self.good, part);
        scored.extend(score_good(detector, &images, &trial, *loader_threads, *progress, done)?);
        Ok(())
    }
}

/// The run on images whose 16-bit files have the depth that `good` has found.
fn with_depth<'a>(good: &dyn SampleSource, run: &RunContext<'a>) -> Result<RunContext<'a>, ExperimentError> {
    let mut run = run.clone();
    if run.preparation.reading.values == ValueRange::Auto {
        let id = || "the training images".to_owned();
        let bits = good.bits().map_err(|source| ExperimentError::Sample { id: id(), source })?;
        run.preparation.reading.values = bits.map_or(ValueRange::Auto, ValueRange::Bits);
    }
    Ok(run)
}

/// The digests and the looks of all images.
fn looks(good: &dyn SampleSource, run: &RunContext<'_>) -> Result<(Vec<String>, Vec<Look>), ExperimentError> {
    let (mut digests, mut looks) = (Vec::with_capacity(good.len()), Vec::with_capacity(good.len()));
    let large = OneLarge::default();
    let look = |index: usize| -> Result<(String, Look), SourceError> {
        let _alone = large.enter(good, index);
        let image: RgbImage = good.image(index)?;
        let digest = image_digest(&image);
        let original = match run.preparation.tile_overlap() {
            Some(_) => Some(image.size()),
            None => original_size(good, index)?,
        };
        // Images of tiles have their own sizes, and looks are compared at one.
        let image = resize_image(image, &good.sample(index).id, run.image_size())?;
        Ok((digest, Look::of(&image, original)))
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
