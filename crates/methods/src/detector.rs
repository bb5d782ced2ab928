//! The fitted method: one [`Detector`] for every method, around the [`Scorer`] that is the method's
//! own.

use std::path::Path;

use candle_core::Tensor;
use fmam_core::{AnomalyMap, ImageSize, RgbImage};
use fmam_inspection::Calibration;
use fmam_models::{Backbone, FeaturePyramid};
use rayon::prelude::*;
use serde::Serialize;

use crate::card::ModelCard;
use crate::checkpoint::Tensors;
use crate::settings::settings_table;
use crate::{MethodError, RunContext};

/// The verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Higher is more anomalous; the scale is the method's own.
    pub image_score: f32,
    /// A score for each pixel of the image as it was given.
    pub anomaly_map: AnomalyMap,
}

/// The features of images that a detector compares with what it has learnt, for analysis.
#[derive(Debug)]
pub struct AdaptedFeatures {
    /// The backbone's features.
    pub teacher: FeaturePyramid,
    /// The features after adaptation to the task, of the same shapes; `None` for a detector that
    /// uses the backbone's.
    pub adapted: Option<FeaturePyramid>,
    /// The features that the detector expects in their place, as a student gives them, of the same
    /// shapes; `None` for a detector that expects no feature of its own at each position.
    pub expected: Option<FeaturePyramid>,
}

impl AdaptedFeatures {
    fn scales(&self) -> impl Iterator<Item = &Tensor> {
        let pyramids = [Some(&self.teacher), self.adapted.as_ref(), self.expected.as_ref()];
        pyramids.into_iter().flatten().flat_map(|pyramid| &pyramid.scales)
    }
}

/// The part of a fitted method that no other method shares: from images to verdicts. [`Detector`]
/// checks the images and the verdicts, makes the batches, and saves.
pub trait Scorer: Send + Sync {
    /// The verdicts on `images`, at least one and all of the detector's size, in their order. The
    /// bits of a verdict must not depend on the call.
    ///
    /// # Errors
    /// The errors of the networks and the device.
    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError>;

    /// True if [`Scorer::score`] gets whole batches; by default it gets one image at a time, on
    /// several threads, so that the bits of an image do not depend on its neighbours.
    fn takes_batches(&self) -> bool {
        false
    }

    /// See [`Detector::features`]; `images` as for [`Scorer::score`].
    ///
    /// # Errors
    /// As [`Scorer::score`].
    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let _ = images;
        Ok(None)
    }

    /// The backbone to save with the networks; `None` for a method that uses none.
    fn backbone(&self) -> Option<&dyn Backbone> {
        None
    }

    /// The networks to save, each under the name of its file.
    ///
    /// # Errors
    /// The errors of the device.
    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError>;
}

/// A fitted method.
pub struct Detector {
    card: ModelCard,
    scorer: Box<dyn Scorer>,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("card", &self.card).finish_non_exhaustive()
    }
}

impl Detector {
    /// The detector that `card` describes.
    pub fn new(card: ModelCard, scorer: Box<dyn Scorer>) -> Self {
        Self { card, scorer }
    }

    /// The outcome of a fit of `method` in `run` with `settings`, as resolved by the fit.
    ///
    /// # Errors
    /// [`MethodError::Settings`] for settings that cannot be written as TOML.
    pub fn fitted(
        method: &'static str,
        settings: &impl Serialize,
        run: &RunContext<'_>,
        scorer: impl Scorer + 'static,
    ) -> Result<Self, MethodError> {
        let settings = settings_table(method, settings)?;
        let card = ModelCard::new(method, run.backbone.name(), run.seed, run.image_size(), settings);
        let mut card = card.with_preparation(&run.preparation);
        card.precision = scorer.backbone().map(Backbone::precision).unwrap_or_default();
        Ok(Self::new(card, Box::new(scorer)))
    }

    /// The facts about the detector.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The scores on good images that the detector did not learn from; `None` for a detector that
    /// was not calibrated.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.card.calibration.as_ref()
    }

    /// The detector with another calibration.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.card.calibration = Some(calibration);
        self
    }

    /// The size that images must have.
    pub fn image_size(&self) -> ImageSize {
        self.card.image_size
    }

    /// Scores images in the order given. On a CPU one image gives the same bits in every batch.
    ///
    /// # Errors
    /// [`MethodError::ImageSize`] for an image of another size than [`Detector::image_size`],
    /// [`MethodError::UndefinedScore`] for a verdict that is not finite.
    pub fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        self.check_size(images)?;
        let predictions = if images.is_empty() {
            Vec::new()
        } else if self.scorer.takes_batches() {
            self.scorer.score(images)?
        } else {
            let single: Result<Vec<_>, _> =
                images.par_chunks(1).map(|image| self.scorer.score(image)).collect();
            single?.into_iter().flatten().collect()
        };
        let is_finite = |p: &Prediction| {
            p.image_score.is_finite() && p.anomaly_map.data().iter().all(|score| score.is_finite())
        };
        match predictions.iter().position(|prediction| !is_finite(prediction)) {
            Some(index) => Err(MethodError::UndefinedScore { index }),
            None => Ok(predictions),
        }
    }

    /// The features of images that the detector compares with what it has learnt; `None` for a
    /// detector that compares none, and for no image.
    ///
    /// # Errors
    /// [`MethodError::ImageSize`] as [`Detector::score`], [`MethodError::UndefinedFeatures`] for
    /// features that are not finite.
    pub fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        self.check_size(images)?;
        if images.is_empty() {
            return Ok(None);
        }
        let features = self.scorer.features(images)?;
        for scale in features.iter().flat_map(AdaptedFeatures::scales) {
            if !fmam_models::is_finite(scale)? {
                return Err(MethodError::UndefinedFeatures);
            }
        }
        Ok(features)
    }

    /// Writes the detector to the folder `dir`, which must not exist yet, all or nothing.
    /// [`crate::load_detector`] reads it back and the copy scores bit-identically.
    ///
    /// # Errors
    /// [`MethodError::Write`] naming the path; [`fmam_models::ModelError::NotFinite`] for a tensor
    /// with infinite or undefined values.
    pub fn save(&self, dir: &Path) -> Result<(), MethodError> {
        self.card.write(dir, self.scorer.backbone(), &self.scorer.networks()?)
    }

    /// Puts the calibration of this detector in the place of the one in the folder `dir`, where the
    /// detector was saved. The networks and their digests stay as they are, and a reader sees the
    /// old calibration or the new one.
    ///
    /// # Errors
    /// [`MethodError::Read`] for a folder without a card, [`MethodError::Write`]; both name the
    /// path.
    pub fn save_calibration(&self, dir: &Path) -> Result<(), MethodError> {
        self.card.replace(dir)
    }

    fn check_size(&self, images: &[RgbImage]) -> Result<(), MethodError> {
        let expected = self.card.image_size;
        match images.iter().find(|image| image.size() != expected) {
            Some(image) => Err(MethodError::ImageSize { expected, actual: image.size() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;

    use super::*;

    /// Scores an image by its first byte over `divisor`.
    struct Brightness {
        divisor: f32,
        takes_batches: bool,
    }

    impl Scorer for Brightness {
        fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
            assert!(self.takes_batches || images.len() == 1);
            let predict = |image: &RgbImage| {
                let score = f32::from(image.data()[0]) / self.divisor;
                let anomaly_map = AnomalyMap::new(image.size(), vec![score; image.size().pixels()])?;
                Ok(Prediction { image_score: 0.0, anomaly_map })
            };
            images.iter().map(predict).collect()
        }

        fn takes_batches(&self) -> bool {
            self.takes_batches
        }

        fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
            Ok(vec![("network", Tensors::new())])
        }
    }

    fn detector(divisor: f32, takes_batches: bool) -> Detector {
        let card = ModelCard::new("m", "tiny", Seed::new(3), ImageSize::square(2), toml::Table::new());
        Detector::new(card, Box::new(Brightness { divisor, takes_batches }))
    }

    fn image(value: u8) -> RgbImage {
        RgbImage::filled(ImageSize::square(2), [value; 3])
    }

    #[test]
    fn images_come_back_in_their_order_however_they_are_batched() {
        for takes_batches in [false, true] {
            let found = detector(1.0, takes_batches).score(&[image(9), image(2), image(7)]).unwrap();
            let scores: Vec<f32> = found.iter().map(|prediction| prediction.anomaly_map.max()).collect();
            assert_eq!(scores, [9.0, 2.0, 7.0]);
            assert!(detector(1.0, takes_batches).score(&[]).unwrap().is_empty());
        }
    }

    #[test]
    fn another_size_and_a_score_that_is_no_number_are_errors() {
        let other = RgbImage::filled(ImageSize::new(2, 3), [1; 3]);
        assert!(matches!(
            detector(1.0, false).score(&[image(1), other.clone()]),
            Err(MethodError::ImageSize { actual: ImageSize { height: 2, width: 3 }, .. })
        ));
        assert!(matches!(detector(1.0, false).features(&[other]), Err(MethodError::ImageSize { .. })));
        let found = detector(0.0, false).score(&[image(1)]);
        assert!(matches!(found, Err(MethodError::UndefinedScore { index: 0 })), "{found:?}");
    }

    #[test]
    fn a_detector_is_never_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("deep/model");
        detector(1.0, false).save(&dir).unwrap();
        assert!(matches!(detector(1.0, false).save(&dir), Err(MethodError::Write { .. })));
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["model.toml", "network.safetensors"]);
        // A name as long as the file system takes has no room for a suffix.
        detector(1.0, false).save(&folder.path().join("n".repeat(255))).unwrap();
    }
}
