//! The calibration of a fitted detector on more good images, without a training.

use std::collections::HashSet;

use fmam_core::{SampleSource, StageId};
use fmam_datasets::DatasetError;
use fmam_experiment::{
    CalibrationConfig, ExperimentError, SCORED_DEFECTS, image_digest, score_good, synthesizer_of,
};
use fmam_inspection::{Basis, Calibration, Look, Procedure, Profile, SyntheticDefects};
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

impl Session {
    /// Calibrates a detector on images of good parts that it did not learn from: paths, bytes or
    /// pixels of any size. The threshold becomes that of the rate of false alarms, or of the least
    /// rate that so many images promise. Scores that the detector has by cross-fitting stay
    /// cross-fitted ones.
    ///
    /// # Errors [`Error::AlreadyLearnt`] for an image that the detector learnt from or was
    /// calibrated on, and for one that is given twice; [`Error::Experiment`] naming an image that
    /// cannot be read, or for no image; [`Error::Cancelled`].
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
        let good = TrainImages::new(images, detector.image_size());
        let known = detector.calibration().filter(|_| !options.replaces).cloned();
        let (digests, looks) = self.looks(&good, detector.calibration())?;
        let n_defects = SCORED_DEFECTS.div_ceil(good.len().max(1));
        let synthesizer = synthesizer_of(Textures::Generated)?;
        let defects = Some((&synthesizer, n_defects, detector.card().seed.derive("calibration defects")));
        let (progress, threads) = (self.progress(), self.loader_threads());
        progress.start(&StageId::CALIBRATING, good.len() as u64);
        let update = |done: usize| progress.update(done as u64, "");
        let scored = self.on_threads(|| score_good(&detector, &good, defects, threads, progress, update))?;
        progress.finish();

        let asked = detector.calibration().and_then(|calibration| match calibration.threshold().basis {
            Basis::FalseAlarms { asked, .. } => Some(asked),
            Basis::Misses { .. } | Basis::Given => None,
        });
        let rate = options.false_alarms.or(asked).unwrap_or(CalibrationConfig::default().false_alarms);
        let calibration = match &known {
            Some(known) => known.extended(&scored.images, rate),
            None => Calibration::new(Procedure::HoldOut, &scored.images, rate),
        };
        let calibration = calibration.map_err(ExperimentError::from)?;
        let limit = calibration.threshold().score;
        let caught = scored.defects.iter().filter(|score| **score > limit).count();
        let synthetic = SyntheticDefects { caught, of: scored.defects.len() };
        let before = detector.calibration();
        let seen = before.map(|known| known.seen().to_vec()).unwrap_or_default();
        let calibration =
            calibration.with_synthetic(synthetic).with_seen(seen.into_iter().chain(digests).collect());
        // The looks are those of the images that were learnt from, as far as they are known.
        let profile = before.and_then(Calibration::images).cloned().or_else(|| Profile::of(&looks));
        let calibration = match profile {
            Some(profile) => calibration.with_images(profile),
            None => calibration,
        };
        Ok(detector.with_calibration(calibration))
    }

    /// The digests and the looks of images, none of which may be known already.
    fn looks(
        &self,
        images: &TrainImages,
        calibration: Option<&Calibration>,
    ) -> Result<(Vec<String>, Vec<Look>), Error> {
        let mut seen: HashSet<String> =
            calibration.map(|known| known.seen().iter().cloned().collect()).unwrap_or_default();
        let (n, threads, progress) = (images.len(), self.loader_threads(), self.progress());
        progress.start(&StageId::READING, n as u64);
        let (mut digests, mut looks) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let look = |index: usize| -> Result<(String, Look), DatasetError> {
            let (image, original) = images.with_original_size(index)?;
            Ok((image_digest(&image), Look::of(&image, Some(original))))
        };
        fmam_core::ordered_map(n, threads, 2 * threads, look, |index, look| {
            let name = || images.sample(index).id.clone();
            let (digest, look) = look.map_err(|source| Error::Image {
                index,
                name: name(),
                source: Box::new(Error::from(source)),
            })?;
            if !seen.insert(digest.clone()) {
                return Err(Error::AlreadyLearnt { name: name() });
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
