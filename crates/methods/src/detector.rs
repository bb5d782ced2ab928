//! The fitted method: one [`Detector`] for every method, around the [`Scorer`] that is the method's
//! own.

use std::path::Path;

use fmam_core::{
    AnomalyMap, ImageRows, ImageSize, Mask, MemoryRows, Preparation, Progress, RegionOfInterest, RgbImage,
    Silent, TileGrid,
};
use fmam_inspection::Calibration;
use fmam_models::Backbone;
use fmam_ops::on_workers;
use rayon::prelude::*;
use serde::Serialize;

use crate::card::ModelCard;
use crate::scan::{Scan, ScannedRows, TileScorer, scan};
use crate::scorer::{AdaptedFeatures, Prediction, Scorer};
use crate::settings::settings_table;
use crate::{MethodError, Place, RunContext};

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

    /// The detector of a method of fixed positions, which has learnt the tiles of images of `size`.
    pub(crate) fn with_fixed_size(mut self, size: Option<ImageSize>) -> Self {
        self.card.fixed_size = size;
        self
    }

    /// The part of the detector that is its method's own.
    pub(crate) fn scorer(&self) -> &dyn Scorer {
        self.scorer.as_ref()
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

    /// The detector with another region of interest of its images, and another limit of the bytes
    /// that a decoded image may take. A region that was learnt with is replaced.
    #[must_use]
    pub fn with_input(mut self, region: RegionOfInterest, max_bytes: u64) -> Self {
        self.card.region = region;
        self.card.reading.max_bytes = max_bytes;
        self
    }

    /// The size that images must have, or that of a tile for a detector of images of any size.
    pub fn image_size(&self) -> ImageSize {
        self.card.image_size
    }

    /// Scores images in the order given, all pixels of each. On a CPU one image gives the same bits
    /// in every batch.
    ///
    /// # Errors
    /// As [`Detector::score_within`].
    pub fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        self.score_within(images, &vec![None; images.len()])
    }

    /// Scores images in the order given, each within its region of interest, 1 inside: pixels
    /// outside influence nothing and get the smallest score inside. A detector with tiles takes
    /// images of any size, as [`Detector::scan`] describes.
    ///
    /// # Errors
    /// [`MethodError::ImageSize`] for an image of another size than [`Detector::image_size`], where
    /// there are no tiles; [`MethodError::RegionCount`], [`MethodError::RegionSize`] and
    /// [`MethodError::NothingInside`] for regions that do not fit; [`MethodError::UndefinedScore`]
    /// for a verdict that is not finite.
    pub fn score_within(
        &self,
        images: &[RgbImage],
        regions: &[Option<Mask>],
    ) -> Result<Vec<Prediction>, MethodError> {
        self.score_watched(images, regions, &Silent)
    }

    /// As [`Detector::score_within`], where `progress` hears of the tiles of each image of a
    /// detector with tiles, and says when to stop.
    ///
    /// # Errors
    /// As [`Detector::score_within`], and [`MethodError::Cancelled`].
    pub fn score_watched(
        &self,
        images: &[RgbImage],
        regions: &[Option<Mask>],
        progress: &dyn Progress,
    ) -> Result<Vec<Prediction>, MethodError> {
        if images.len() != regions.len() {
            return Err(MethodError::RegionCount { images: images.len(), regions: regions.len() });
        }
        for (index, (image, region)) in images.iter().zip(regions).enumerate() {
            let Some(region) = region else { continue };
            if region.size() != image.size() {
                let (image, region) = (image.size(), region.size());
                return Err(MethodError::RegionSize { index, image, region });
            }
            if region.is_empty() {
                return Err(MethodError::NothingInside { index });
            }
        }
        if self.card.preparation().tile_overlap().is_some() {
            let scored = images.iter().zip(regions).enumerate();
            return scored
                .map(|(index, (image, region))| self.score_tiles(index, image, region.as_ref(), progress))
                .collect();
        }
        self.check_size(images)?;
        let mut places = Vec::with_capacity(regions.len());
        for region in regions {
            let part = region.as_ref().filter(|region| region.area() < region.size().pixels());
            places.push(Place { tile: 0, inside: part });
        }
        self.score_placed(images, &places)
    }

    /// Scores an image of any size by tiles, from top to bottom. Rows of the image and its map go
    /// to `sink` as soon as they are finished, in their order and each once. Memory holds the rows
    /// of one row of tiles, whatever the height of the image.
    ///
    /// Neighbouring tiles are blended: the weight of a tile falls linearly over its overlaps. The
    /// image score is the largest of the blended map for methods whose score is the peak of the
    /// map, and the largest over the tiles for the others. `region` is the region of interest, 1
    /// inside, of any size: it is resized to that of the image.
    ///
    /// # Errors
    /// [`MethodError::NotTiled`] for a detector of whole images, [`MethodError::ImageSize`] for an
    /// image of another size than a method of fixed positions has learnt,
    /// [`MethodError::NothingInside`] for a region without a pixel, [`MethodError::Rows`] and
    /// [`MethodError::MissingRows`] for an image that cannot be read to its end,
    /// [`MethodError::Cancelled`], and as [`Detector::score`].
    pub fn scan(
        &self,
        rows: &mut dyn ImageRows,
        region: Option<&Mask>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(ScannedRows<'_>),
    ) -> Result<Scan, MethodError> {
        let scorer = TileScorer {
            score: &|tiles, places| self.score_placed(tiles, places),
            is_peak: self.scorer.score_is_peak(),
            batch_size: self.scorer.takes_batches().then(|| self.inputs_together()),
        };
        scan(&scorer, self.tiles(rows.size())?, (rows, region), progress, sink)
    }

    /// The tiles of an image of `size`.
    ///
    /// # Errors
    /// [`MethodError::NotTiled`] for a detector of whole images, [`MethodError::ImageSize`] for a
    /// size that a method of fixed positions has not learnt.
    pub fn tiles(&self, size: ImageSize) -> Result<TileGrid, MethodError> {
        let preparation = self.card.preparation();
        let Some(overlap) = preparation.tile_overlap() else {
            return Err(MethodError::NotTiled { expected: preparation.size });
        };
        if let Some(expected) = self.card.fixed_size.filter(|expected| *expected != size) {
            return Err(MethodError::ImageSize { expected, actual: size });
        }
        Ok(TileGrid::new(size, preparation.size, overlap)?)
    }

    /// Scores one image of any size by its tiles, as [`Detector::score_within`] does, while `rows`
    /// brings it from top to bottom: memory holds its map and some of its rows. Finished rows of
    /// the image go to `seen`, their bytes in order.
    ///
    /// # Errors
    /// As [`Detector::scan`].
    pub fn score_rows(
        &self,
        rows: &mut dyn ImageRows,
        region: Option<&Mask>,
        progress: &dyn Progress,
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<Prediction, MethodError> {
        let size = rows.size();
        let mut scores = Vec::with_capacity(size.pixels());
        let mut sink = |rows: ScannedRows<'_>| {
            scores.extend_from_slice(rows.scores);
            seen(rows.pixels);
        };
        let scan = self.scan(rows, region, progress, &mut sink)?;
        for score in &mut scores {
            *score = score.max(scan.smallest);
        }
        Ok(Prediction { image_score: scan.image_score, anomaly_map: AnomalyMap::new(size, scores)? })
    }

    /// Scores image `index`, of any size, by its tiles.
    fn score_tiles(
        &self,
        index: usize,
        image: &RgbImage,
        region: Option<&Mask>,
        progress: &dyn Progress,
    ) -> Result<Prediction, MethodError> {
        let scored = self.score_rows(&mut MemoryRows::of(image), region, progress, &mut |_| ());
        scored.map_err(|error| match error {
            MethodError::UndefinedScore { .. } => MethodError::UndefinedScore { index },
            MethodError::NothingInside { .. } => MethodError::NothingInside { index },
            other => other,
        })
    }

    /// Images to score together: more on a GPU, where one takes as long as several; a single one
    /// for a detector with tiles, whose images are large.
    pub fn batch_size(&self) -> usize {
        if self.card.preparation().tile_overlap().is_some() { 1 } else { self.inputs_together() }
    }

    /// Images or tiles of the detector's size that are scored together.
    fn inputs_together(&self) -> usize {
        if self.scorer.takes_batches() { 32 } else { 8 }
    }

    /// Scores a batch, in halves where the device has no memory for all.
    fn score_together(
        &self,
        images: &[RgbImage],
        places: &[Place<'_>],
    ) -> Result<Vec<Prediction>, MethodError> {
        match self.scorer.score(images, places) {
            Err(error) if images.len() > 1 && error.is_out_of_memory() => {
                let half = images.len() / 2;
                let mut predictions = self.score_together(&images[..half], &places[..half])?;
                predictions.extend(self.score_together(&images[half..], &places[half..])?);
                Ok(predictions)
            }
            scored => scored,
        }
    }

    /// Scores images of the detector's size.
    fn score_placed(
        &self,
        images: &[RgbImage],
        places: &[Place<'_>],
    ) -> Result<Vec<Prediction>, MethodError> {
        let score_one = |image: &RgbImage, place: &Place<'_>| {
            let filled = filled(image, place)?;
            let image = filled.as_ref().unwrap_or(image);
            self.scorer.score(std::slice::from_ref(image), std::slice::from_ref(place))
        };
        let predictions: Vec<Prediction> = if images.is_empty() {
            Vec::new()
        } else if !self.scorer.takes_batches() {
            let pairs = images.par_iter().zip(places.par_iter());
            let score_all = || pairs.map(|(image, place)| score_one(image, place)).collect();
            let single: Result<Vec<_>, MethodError> = on_workers(score_all);
            single?.into_iter().flatten().collect()
        } else if places.iter().all(|place| place.inside.is_none()) {
            self.score_together(images, places)?
        } else {
            let filled =
                |(image, place): (&RgbImage, _)| Ok(filled(image, place)?.unwrap_or_else(|| image.clone()));
            let images: Vec<_> = images.iter().zip(places).map(filled).collect::<Result<_, MethodError>>()?;
            self.score_together(&images, places)?
        };
        let is_peak = self.scorer.score_is_peak();
        let confined = |(prediction, place): (Prediction, &Place<'_>)| match place.inside {
            None => Ok(prediction),
            Some(inside) => confined(prediction, inside, is_peak),
        };
        let predictions: Vec<Prediction> =
            predictions.into_iter().zip(places).map(confined).collect::<Result<_, _>>()?;
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

/// `image` with one colour outside of the region of interest; `None` where all of it counts.
fn filled(image: &RgbImage, place: &Place<'_>) -> Result<Option<RgbImage>, MethodError> {
    let Some(inside) = place.inside else { return Ok(None) };
    let mut filled = image.clone();
    filled.fill_outside(inside, Preparation::FILL)?;
    Ok(Some(filled))
}

/// `prediction` with the smallest score inside for the pixels outside, and the largest inside as
/// its score where that is the peak of the map.
fn confined(prediction: Prediction, inside: &Mask, is_peak: bool) -> Result<Prediction, MethodError> {
    let Prediction { image_score, anomaly_map } = prediction;
    let scores = anomaly_map.data().iter().zip(inside.data());
    let counted = || scores.clone().filter_map(|(score, inside)| (*inside != 0).then_some(*score));
    let (smallest, largest) =
        (counted().fold(f32::INFINITY, f32::min), counted().fold(f32::NEG_INFINITY, f32::max));
    let data = scores.clone().map(|(score, inside)| if *inside != 0 { *score } else { smallest });
    let anomaly_map = AnomalyMap::new(anomaly_map.size(), data.collect())?;
    Ok(Prediction { image_score: if is_peak { largest } else { image_score }, anomaly_map })
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;

    use super::*;
    use crate::Tensors;

    /// Scores an image by its first byte over `divisor`.
    struct Brightness {
        divisor: f32,
        takes_batches: bool,
    }

    impl Scorer for Brightness {
        fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
            assert!(self.takes_batches || images.len() == 1);
            if images.len() > 2 {
                return Err(candle_core::Error::Msg("CUDA_ERROR_OUT_OF_MEMORY".into()).into());
            }
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
            // Of three, one or two at a time: there is no memory for more.
            let found = detector(1.0, takes_batches).score(&[image(9), image(2), image(7)]).unwrap();
            let scores: Vec<f32> = found.iter().map(|prediction| prediction.anomaly_map.max()).collect();
            assert_eq!(scores, [9.0, 2.0, 7.0]);
            assert!(detector(1.0, takes_batches).score(&[]).unwrap().is_empty());
        }
    }

    #[test]
    fn pixels_outside_of_a_region_count_in_no_score() {
        let size = ImageSize::square(2);
        let left = Mask::from_fn(size, |_, x| x == 0);
        let map = AnomalyMap::new(size, vec![1.0, 9.0, 3.0, 0.0]).unwrap();
        let prediction = Prediction { image_score: 9.0, anomaly_map: map };
        let found = confined(prediction.clone(), &left, true).unwrap();
        assert_eq!((found.anomaly_map.data(), found.image_score), (&[1.0, 1.0, 3.0, 1.0][..], 3.0));
        assert_eq!(confined(prediction, &left, false).unwrap().image_score, 9.0);

        // The scorer looks at the first pixel, which is filled where it lies outside.
        let right = Mask::from_fn(size, |_, x| x == 1);
        for takes_batches in [false, true] {
            let detector = detector(1.0, takes_batches);
            let regions = [Some(right.clone()), None, Some(left.clone())];
            let found = detector.score_within(&[image(9), image(2), image(7)], &regions).unwrap();
            let scores: Vec<f32> = found.iter().map(|prediction| prediction.anomaly_map.max()).collect();
            assert_eq!(scores, [f32::from(Preparation::FILL[0]), 2.0, 7.0]);
            let refused = |regions: &[Option<Mask>]| detector.score_within(&[image(1)], regions).unwrap_err();
            assert!(matches!(refused(&[]), MethodError::RegionCount { images: 1, regions: 0 }));
            let other = Mask::empty(ImageSize::new(1, 2));
            assert!(matches!(refused(&[Some(other)]), MethodError::RegionSize { index: 0, .. }));
            let nothing = Mask::empty(size);
            assert!(matches!(refused(&[Some(nothing)]), MethodError::NothingInside { index: 0 }));
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
