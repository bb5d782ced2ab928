//! The calibration of a fitted detector on more good images, without a training.

use std::collections::HashMap;

use fmam_core::{ImageSize, OneLarge, SampleSource, StageId};
use fmam_datasets::{DatasetError, resize_image};
use fmam_experiment::{DefectTrial, ExperimentError, GoodScored, image_digest, score_good};
use fmam_inspection::{Basis, Calibration, KnownImages, Look, Procedure, Profile, Series, Threshold};
use fmam_methods::Detector;
use fmam_synthesis::Textures;

use crate::image::TrainImages;
use crate::{Error, Image, Session};

/// The options of [`Session::calibrate`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recalibration {
    /// The rate of false alarms that the threshold is for; `None` for that of the detector, or
    /// 0.01.
    pub false_alarms: Option<f64>,
    /// True if the scores take the place of those that the detector has; otherwise they are added.
    pub replaces: bool,
}

/// The rate of false alarms of a detector that has none of its own.
const DEFAULT_RATE: f64 = 0.01;

/// The rate of false alarms that the threshold of a detector was chosen for.
fn asked_rate(calibration: &Calibration) -> Option<f64> {
    match calibration.threshold().basis {
        Basis::FalseAlarms { asked, .. } => Some(asked),
        Basis::Misses { .. } | Basis::Given => None,
    }
}

/// Warns of images that do not look like those that the detector learnt from: their scores say
/// little about its product.
fn warn_of_unlike(profile: &Profile, looks: &[Look]) {
    let unlike: Vec<_> = looks.iter().filter_map(|look| profile.warnings(look).into_iter().next()).collect();
    if let Some(first) = unlike.first() {
        let (images, of) = (unlike.len(), looks.len());
        tracing::warn!(images, of, %first, "images that do not look like those learnt from");
    }
    let mut series = Series::new(profile);
    looks.iter().for_each(|look| series.add(look));
    for shift in series.shifts() {
        tracing::warn!("{shift}");
    }
}

impl Session {
    /// Calibrates a detector on images of good parts that it did not learn from: paths, bytes or
    /// pixels of any size.
    ///
    /// The threshold becomes that of the rate of false alarms, or of the least rate that so many
    /// images promise. A threshold that was chosen by defects or by hand stays, unless the options
    /// have a rate. Scores that the detector has by cross-fitting stay cross-fitted ones.
    ///
    /// # Errors
    /// [`Error::AlreadyLearnt`] for an image that the detector learnt from or was calibrated on,
    /// and for one that is given twice; [`Error::Image`] naming an image that cannot be read;
    /// [`Error::Experiment`] naming one that cannot be scored, and where there is no score at all;
    /// [`Error::Cancelled`].
    pub fn calibrate<I>(
        &self,
        detector: Detector,
        images: I,
        options: Recalibration,
    ) -> Result<Detector, Error>
    where
        I: IntoIterator<Item: Into<Image>>,
    {
        let images: Vec<Image> = images.into_iter().map(Into::into).collect();
        let good = TrainImages::new(images, &detector.card().preparation());
        let before = detector.calibration();
        let mut known = before.map(|calibration| calibration.known().clone()).unwrap_or_default();
        if options.replaces {
            known.calibrated.clear();
        }
        let (digests, looks) = self.looks(&good, &known, detector.image_size())?;
        known.calibrated.extend(digests);
        if let Some(profile) = before.and_then(Calibration::images) {
            warn_of_unlike(profile, &looks);
        }
        let scored = self.scored(&detector, &good)?;

        let rate = options.false_alarms.or(before.and_then(asked_rate)).unwrap_or(DEFAULT_RATE);
        let calibration = match before.filter(|_| !options.replaces) {
            Some(calibration) => calibration.extended(&scored.images, rate),
            None => Calibration::new(Procedure::HoldOut, &scored.images, rate),
        };
        let mut calibration = calibration.map_err(ExperimentError::from)?.with_known(known);
        let chosen = before.filter(|known| options.false_alarms.is_none() && asked_rate(known).is_none());
        if let Some(Threshold { score, basis, .. }) = chosen.map(Calibration::threshold) {
            let kept = calibration.at_score(score, basis).map_err(ExperimentError::from)?;
            calibration = calibration.with_threshold(kept);
        }
        // The looks are those of the images that were learnt from, as far as they are known.
        let profile = before.and_then(Calibration::images).cloned().or_else(|| Profile::of(&looks));
        let calibration = calibration.tried_on(&scored.defects).with_images(profile);
        Ok(detector.with_calibration(calibration))
    }

    /// The scores of good images, and of synthetic defects in them.
    fn scored(&self, detector: &Detector, good: &TrainImages) -> Result<GoodScored, Error> {
        let seed = detector.card().seed.derive("calibration defects");
        let trial = DefectTrial { textures: Textures::Generated, seed, n_images: good.len() };
        let (progress, threads) = (self.progress(), self.loader_threads());
        progress.start(&StageId::CALIBRATING, good.len() as u64);
        let scored = self.on_threads(|| score_good(detector, good, &trial, threads, progress, 0))?;
        progress.finish();
        Ok(scored)
    }

    /// The digests and the looks of images, none of which may be known already.
    fn looks(
        &self,
        images: &TrainImages,
        known: &KnownImages,
        detector_size: ImageSize,
    ) -> Result<(Vec<String>, Vec<Look>), Error> {
        let of =
            |digests: &[String], how| digests.iter().map(|digest| (digest.clone(), how)).collect::<Vec<_>>();
        let learnt = of(&known.learnt, "is one that the detector learnt from");
        let calibrated = of(&known.calibrated, "has calibrated the detector already");
        let mut seen: HashMap<String, &str> = learnt.into_iter().chain(calibrated).collect();
        let (n, threads, progress) = (images.len(), self.loader_threads(), self.progress());
        progress.start(&StageId::READING, n as u64);
        let (mut digests, mut looks) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let large = OneLarge::default();
        let look = |index: usize| -> Result<(String, Look), DatasetError> {
            let _alone = large.enter(images, index);
            let prepared = images.prepared(index)?;
            let (digest, original) = (image_digest(&prepared.image), prepared.frame.original);
            let image = resize_image(prepared.image, &images.sample(index).id, detector_size)?;
            Ok((digest, Look::of(&image, Some(original))))
        };
        fmam_core::ordered_map(n, threads, 2 * threads, look, |index, look| {
            let name = || images.sample(index).id.clone();
            let (digest, look) = look.map_err(|source| Error::Image {
                index,
                name: name(),
                source: Box::new(Error::from(source)),
            })?;
            if let Some(how) = seen.insert(digest.clone(), "is given twice") {
                return Err(Error::AlreadyLearnt { name: name(), how });
            }
            digests.push(digest);
            looks.push(look);
            progress.update(index as u64 + 1, "");
            if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        })?;
        progress.finish();
        Ok((digests, looks))
    }
}
