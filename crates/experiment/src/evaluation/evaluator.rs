use std::path::Path;
use std::time::Instant;

use fmam_core::{
    AnomalyMap, ImageRows, Label, Mask, Original, Progress, RgbImage, SampleSource, SourceError, StageId,
    ordered_map,
};
use fmam_inspection::Calibration;
use fmam_methods::{Detector, Prediction, TileProgress};
use fmam_metrics::{Evaluated, MetricEntry, PixelBuilder, PixelSummary, ScoreHistogram};
use fmam_record::{
    ClassDistribution, Decision, EvaluationConfig, Metrics, PixelCurves, Resolution, ScoreDistribution,
    map_at_original,
};

use super::map_digest::MapDigest;
use super::pixel_sample::PixelSample;
use crate::calibration::RowsDigest;
use crate::{ExperimentError, image_digest};

/// Bytes of pixel scores that are ranked in memory; beyond it they go to a temporary file.
const PIXEL_BYTES: usize = 512 << 20;

/// As [`PIXEL_BYTES`], beside an image and a map that are large.
const TILED_PIXEL_BYTES: usize = 128 << 20;

/// A detector's verdicts on a test split, and the figures of merit. Vectors are in the source's
/// order.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// The threshold of the detector's calibration and the intervals of the metrics at it; `None`
    /// for a detector that was not calibrated.
    pub decision: Option<Decision>,
    /// The map scores that the colours of pictures cover: those of the detector's calibration, or
    /// the range of this split for a detector without one.
    pub colour_range: (f32, f32),
    /// The image scores, higher is more anomalous.
    pub image_scores: Vec<f32>,
    /// Curves over all test pixels, where there are pixel figures.
    pub pixels: Option<PixelCurves>,
    /// Small copies of the anomaly maps, see [`fmam_record::small_map`].
    pub small_maps: Vec<AnomalyMap>,
    /// Scores of pixels, evenly spread over all images with a mask.
    pub(crate) pixel_sample: PixelSample,
    /// Positions of anomalous images whose mask has no pixel left at the resolution of the pixel
    /// figures, although it has some in its file.
    pub vanished: Vec<usize>,
    /// The digest of the pixels of each image, see [`image_digest`](crate::image_digest).
    pub digests: Vec<String>,
    /// Test images scored in a second. Decoding counts only as far as the source has not cached it.
    pub images_per_second: f64,
}

/// The surroundings of an evaluation.
#[derive(Clone, Copy)]
pub struct Evaluator<'a> {
    /// The metrics.
    pub metrics: &'a [&'static MetricEntry],
    /// The pixel figures.
    pub config: EvaluationConfig,
    /// The folder of a temporary file for the scores of many pixels. The file has no name and ends
    /// with the process.
    pub folder: &'a Path,
    /// Threads that decode. The result does not depend on their number.
    pub loader_threads: usize,
    /// The receiver of progress, which also says when to stop.
    pub progress: &'a dyn Progress,
}

impl Evaluator<'_> {
    /// Scores every image of `test` with `detector` and compares with the ground truth. Memory does
    /// not grow with the number of images, but for 16 KiB of each. `visit` sees the score and
    /// the map of each image, in order.
    ///
    /// Metrics at a fixed threshold take that of the detector's calibration, and are missing
    /// without one. Pixel figures are `None` where an anomalous image has no mask, and where no
    /// pixel, or every pixel, is anomalous; figures of two classes where all images are of one.
    ///
    /// # Errors
    /// [`ExperimentError::Sample`] naming an unreadable file, [`ExperimentError::NotFinite`] naming
    /// an image whose score is infinite or undefined, [`ExperimentError::Method`] from the
    /// detector, [`ExperimentError::Metric`] for a test split without an image,
    /// [`ExperimentError::Cancelled`], and the errors of `visit`.
    pub fn evaluate(
        &self,
        detector: &Detector,
        test: &dyn SampleSource,
        mut visit: impl FnMut(usize, f32, &AnomalyMap) -> Result<(), ExperimentError>,
    ) -> Result<Evaluation, ExperimentError> {
        let n = test.len();
        let progress = self.progress;
        progress.start(&StageId::SCORING, n as u64);
        let start = Instant::now();
        let (mut image_scores, mut digests) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let is_tiled = detector.card().preparation().tile_overlap().is_some();
        let mut comparison = Comparison::new(self, n, is_tiled);
        if is_tiled {
            // Images in their own size are large: one is in memory at a time, and its mask later.
            for index in 0..n {
                let unread = |source| sample_error(test, index, source);
                let scored = match test.rows(index).map_err(unread)? {
                    Some(mut rows) => {
                        let (prediction, digest) = self.scan(detector, test, index, rows.as_mut())?;
                        digests.push(digest);
                        vec![(prediction, None)]
                    }
                    None => {
                        let Pictured { image, digest, inside } = picture(test, index).map_err(unread)?;
                        digests.push(digest);
                        self.score(detector, test, index, (vec![image], vec![inside]))?.collect()
                    }
                };
                for (prediction, inside) in scored {
                    image_scores.push(prediction.image_score);
                    let truth = truth(test, index, Resolution::Network).map_err(unread)?;
                    comparison.add(index, test, &prediction.anomaly_map, (truth, inside))?;
                    visit(index, prediction.image_score, &prediction.anomaly_map)?;
                }
                progress.update(index as u64 + 1, "");
            }
        } else {
            let batch_size = detector.batch_size();
            let mut batch = Vec::with_capacity(batch_size);
            ordered_map(
                n,
                self.loader_threads,
                self.loader_threads + batch_size,
                |index| -> Result<_, SourceError> {
                    Ok((picture(test, index)?, truth(test, index, self.config.at)?))
                },
                |index, loaded| -> Result<(), ExperimentError> {
                    batch.push(loaded.map_err(|source| sample_error(test, index, source))?);
                    if batch.len() < batch_size && index + 1 < n {
                        return Ok(());
                    }
                    let first = index + 1 - batch.len();
                    let (pictures, truths): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                    let (mut images, mut insides) = (Vec::new(), Vec::new());
                    for Pictured { image, digest, inside } in pictures {
                        images.push(image);
                        digests.push(digest);
                        insides.push(inside);
                    }
                    let scored = self.score(detector, test, first, (images, insides))?;
                    for (position, ((prediction, inside), truth)) in scored.zip(truths).enumerate() {
                        let Prediction { image_score, anomaly_map: map } = prediction;
                        image_scores.push(image_score);
                        comparison.add(first + position, test, &map, (truth, inside))?;
                        visit(first + position, image_score, &map)?;
                    }
                    progress.update(index as u64 + 1, "");
                    Ok(())
                },
            )?;
        }
        // A clock may stand still for a moment, and a record has finite numbers only.
        let images_per_second = n as f64 / start.elapsed().as_secs_f64().max(1e-9);
        progress.finish();

        let labels: Vec<u8> = (0..n).map(|i| u8::from(test.sample(i).label == Label::Anomalous)).collect();
        let evaluated = Evaluated::new(&image_scores, &labels);
        let Comparison { pixels, sample, digest, vanished } = comparison;
        if let Some(&first) = vanished.first() {
            tracing::warn!(
                images = vanished.len(),
                first = test.sample(first).id.as_str(),
                "masks have no pixel left at the resolution of the pixel figures: all pixels of these images \
                 count as normal"
            );
        }
        let evaluated = match pixels {
            Some(pixels) => evaluated.with_pixels(pixels.finish()),
            None => evaluated,
        };
        let calibration = detector.calibration();
        let evaluated = match calibration {
            Some(calibration) => evaluated.with_threshold(calibration.threshold().score),
            None => evaluated,
        };
        let decide = |known: &Calibration| {
            Decision::new(known.threshold(), known.procedure(), &evaluated, self.metrics)
        };
        let decision = calibration.map(decide).transpose()?;
        let metrics = Metrics::of(&evaluated, self.metrics)?;
        let ranking = evaluated.pixels_if_defined()?;
        let pixels =
            ranking.map(|ranking| Ok::<_, ExperimentError>(curves(ranking.summary()?))).transpose()?;
        drop(evaluated);
        let (small_maps, range) = digest.finish();
        Ok(Evaluation {
            metrics,
            decision,
            colour_range: calibration.map_or(range, Calibration::colour_range),
            image_scores,
            pixels,
            small_maps,
            pixel_sample: sample,
            vanished,
            digests,
            images_per_second,
        })
    }

    /// The prediction of the image at position `index`, which comes row by row, and its digest.
    fn scan(
        &self,
        detector: &Detector,
        test: &dyn SampleSource,
        index: usize,
        rows: &mut dyn ImageRows,
    ) -> Result<(Prediction, String), ExperimentError> {
        if self.progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let tiles = TileProgress::new(self.progress, index as u64);
        let mut digest = RowsDigest::default();
        let scored = detector.score_rows(rows, None, &tiles, &mut |pixels| digest.add(pixels));
        let prediction = scored.map_err(|error| ExperimentError::of_image(error, &test.sample(index).id))?;
        Ok((prediction, digest.finish()))
    }

    /// The predictions of images from position `first` on, each with the pixels that count.
    fn score(
        &self,
        detector: &Detector,
        test: &dyn SampleSource,
        first: usize,
        (images, insides): (Vec<RgbImage>, Vec<Option<Mask>>),
    ) -> Result<impl Iterator<Item = (Prediction, Option<Mask>)>, ExperimentError> {
        if self.progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let id = |position| test.sample(first + position).id.clone();
        let tiles = TileProgress::new(self.progress, first as u64);
        let scored = detector.score_watched(&images, &insides, &tiles);
        let scored = scored.map_err(|error| ExperimentError::of_images(error, id))?;
        Ok(scored.into_iter().zip(insides))
    }
}

/// A test image as the detector sees it.
struct Pictured {
    image: RgbImage,
    digest: String,
    inside: Option<Mask>,
}

fn picture(test: &dyn SampleSource, index: usize) -> Result<Pictured, SourceError> {
    let image = test.image(index)?;
    Ok(Pictured { digest: image_digest(&image), image, inside: test.inside(index)? })
}

/// The ground truth of a test image.
struct Truth {
    mask: Option<Mask>,
    /// Mask and region at the size of the file, where figures are at that size.
    original: Option<Original>,
}

fn truth(test: &dyn SampleSource, index: usize, at: Resolution) -> Result<Truth, SourceError> {
    let original = match at {
        Resolution::Network => None,
        Resolution::Original => test.original(index)?,
    };
    Ok(Truth { mask: test.mask(index)?, original })
}

/// The comparison of maps and masks, image by image.
struct Comparison {
    /// `None` after an anomalous image without a mask.
    pixels: Option<PixelBuilder>,
    sample: PixelSample,
    digest: MapDigest,
    vanished: Vec<usize>,
}

impl Comparison {
    fn new(evaluator: &Evaluator<'_>, n_images: usize, is_tiled: bool) -> Self {
        let folder = evaluator.folder.to_owned();
        let bytes = if is_tiled { TILED_PIXEL_BYTES } else { PIXEL_BYTES };
        let builder = || PixelBuilder::new().spilling(bytes, move || tempfile::tempfile_in(&folder));
        Self {
            pixels: evaluator.config.pixel_metrics.then(builder),
            sample: PixelSample::new(n_images),
            digest: MapDigest::new(n_images),
            vanished: Vec::new(),
        }
    }

    fn add(
        &mut self,
        index: usize,
        test: &dyn SampleSource,
        map: &AnomalyMap,
        (truth, inside): (Truth, Option<Mask>),
    ) -> Result<(), ExperimentError> {
        let Truth { mask, original } = truth;
        self.sample.add(map, mask.as_ref(), inside.as_ref());
        self.digest.add(map, inside.as_ref())?;
        let at_original;
        let (map, mask, inside) = match original {
            None => (map, mask, inside),
            Some(Original { frame, mask, inside }) => {
                at_original = map_at_original(map, &frame)?;
                (at_original.as_ref(), mask, inside)
            }
        };
        if let (Some(mask), Some(_)) = (&mask, &self.pixels)
            && test.sample(index).label == Label::Anomalous
            && mask.is_empty()
            && has_pixels(test, index)?
        {
            self.vanished.push(index);
        }
        match (&mut self.pixels, mask) {
            (Some(pixels), Some(mask)) => {
                let inside = inside.as_ref().map(Mask::data);
                pixels.add(map.data(), mask.data(), map.size().width, inside)?;
            }
            (pixels, _) => *pixels = None,
        }
        Ok(())
    }
}

/// True if the mask of an image has an anomalous pixel in its file.
fn has_pixels(test: &dyn SampleSource, index: usize) -> Result<bool, ExperimentError> {
    let original = test.original(index).map_err(|source| sample_error(test, index, source))?;
    Ok(original.and_then(|original| original.mask).is_some_and(|mask| !mask.is_empty()))
}

fn sample_error(test: &dyn SampleSource, index: usize, source: SourceError) -> ExperimentError {
    ExperimentError::Sample { id: test.sample(index).id.clone(), source }
}

/// The curves of a record.
fn curves(summary: &PixelSummary) -> PixelCurves {
    let class = |histogram: &ScoreHistogram| ClassDistribution {
        n: histogram.n,
        mean: histogram.mean,
        deviation: histogram.deviation,
        shares: histogram.counts.iter().map(|&count| round(count as f64 / histogram.n as f64)).collect(),
    };
    let (normal, anomalous) = (class(&summary.normal), class(&summary.anomalous));
    let rounded = |points: &[[f64; 2]]| points.iter().map(|point| point.map(round)).collect();
    PixelCurves {
        roc: rounded(&summary.roc),
        pro: rounded(&summary.pro),
        scores: ScoreDistribution { range: summary.range, normal, anomalous },
    }
}

/// Five decimals: a plot shows no more, and records stay small.
fn round(value: f64) -> f64 {
    (1e5 * value).round() / 1e5
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, Seed, Silent, Split};
    use fmam_inspection::{HeldOut, Procedure};
    use fmam_methods::{MethodError, ModelCard, Place, Scorer, Tensors};
    use fmam_metrics::{IMAGE_AUROC, Level, METRICS, MetricError, PIXEL_AUROC};
    use fmam_testkit::{MemorySource, striped_test};

    use super::*;

    fn evaluate(
        detector: &Detector,
        test: &dyn SampleSource,
        metrics: &[&'static MetricEntry],
        loader_threads: usize,
        progress: &dyn Progress,
    ) -> Result<Evaluation, ExperimentError> {
        let (config, folder) = (EvaluationConfig::default(), std::env::temp_dir());
        let evaluator = Evaluator { metrics, config, folder: &folder, loader_threads, progress };
        evaluator.evaluate(detector, test, |_, _, _| Ok(()))
    }

    /// Redness is anomalous: exactly what the square of the striped scenes is.
    struct Redness;

    impl Scorer for Redness {
        fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
            let predict = |image: &RgbImage| {
                let redness = |p: &[u8]| f32::from(p[0]) - f32::from(p[1]);
                let data = image.data().chunks_exact(3).map(redness).collect();
                let anomaly_map = AnomalyMap::new(image.size(), data).unwrap();
                Prediction { image_score: anomaly_map.max(), anomaly_map }
            };
            Ok(images.iter().map(predict).collect())
        }

        fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
            Ok(Vec::new())
        }
    }

    fn redness() -> Detector {
        let card = ModelCard::new("redness", "tiny", Seed::new(0), ImageSize::square(32), toml::Table::new());
        Detector::new(card, Box::new(Redness))
    }

    struct Stopped;

    impl Progress for Stopped {
        fn start(&self, _stage: &StageId, _total: u64) {}
        fn update(&self, _done: u64, _detail: &str) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            true
        }
    }

    fn source() -> MemorySource {
        striped_test(5, 6, ImageSize::square(32), Seed::new(0))
    }

    #[test]
    fn a_perfect_detector_has_perfect_figures_on_any_number_of_threads() {
        for threads in [1, 3] {
            let evaluation = evaluate(&redness(), &source(), METRICS, threads, &Silent).unwrap();
            for metric in METRICS {
                let best = if metric.higher_is_better { 1.0 } else { 0.0 };
                // Nobody has calibrated this detector.
                let expected = (!metric.needs_threshold).then_some(best);
                assert_eq!(evaluation.metrics.get(metric), expected, "{}", metric.key);
            }
            assert_eq!(evaluation.decision, None);
            assert_eq!((evaluation.image_scores.len(), evaluation.small_maps.len()), (11, 11));
            assert_eq!(evaluation.small_maps[10].max(), evaluation.image_scores[10]);
            let pixels = evaluation.pixels.unwrap();
            assert_eq!((pixels.roc[0], pixels.roc[pixels.roc.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
            // All the way up before it goes to the right.
            assert!(pixels.roc.iter().chain(&pixels.pro).all(|point| point[0] == 0.0 || point[1] == 1.0));
            let ScoreDistribution { normal, anomalous, .. } = pixels.scores;
            assert_eq!(normal.n + anomalous.n, 11 * 32 * 32);
            assert!(normal.mean < anomalous.mean);
            assert!((normal.shares.iter().sum::<f64>() - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_calibrated_detector_is_judged_at_its_threshold() {
        let scores = evaluate(&redness(), &source(), &[], 1, &Silent).unwrap().image_scores;
        // The highest score is at the threshold, so that no image is above it; then all are.
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
        for (limit, found) in [(highest, 0.0), (lowest - 1.0, 1.0)] {
            let held_out = HeldOut { score: limit, peak: limit, typical: 0.0 };
            let calibration = Calibration::new(Procedure::HoldOut, &[held_out], 0.5).unwrap();
            let detector = redness().with_calibration(calibration.clone());
            let evaluation = evaluate(&detector, &source(), METRICS, 1, &Silent).unwrap();
            let value = |key: &str| {
                let entry = METRICS.iter().find(|metric| metric.key == key).unwrap();
                assert!(evaluation.metrics.has(entry), "{key}");
                evaluation.metrics.get(entry)
            };
            assert_eq!((value("image_recall"), value("image_miss_rate")), (Some(found), Some(1.0 - found)));
            assert_eq!(value("image_false_alarm_rate"), Some(found));
            assert_eq!(value("image_precision"), (found == 1.0).then_some(6.0 / 11.0));
            let decision = evaluation.decision.as_ref().unwrap();
            assert_eq!(decision.threshold, calibration.threshold());
            assert_eq!(decision.intervals.contains_key("image_precision"), found == 1.0);
            assert!(decision.intervals.contains_key("image_f1"));
        }
    }

    #[test]
    fn without_every_mask_there_are_no_pixel_figures() {
        let mut source = source();
        source
            .push_anomalous("unmasked", RgbImage::filled(ImageSize::square(32), [255, 0, 0]), None)
            .unwrap();
        let metrics = evaluate(&redness(), &source, METRICS, 2, &Silent).unwrap().metrics;
        for metric in METRICS {
            let is_defined = metrics.get(metric).is_some();
            let is_expected = metric.level == Level::Image && !metric.needs_threshold;
            assert_eq!(is_defined, is_expected, "{}", metric.key);
        }
        assert_eq!(metrics.get(&IMAGE_AUROC), Some(1.0));
    }

    #[test]
    fn defects_that_vanished_in_resizing_leave_the_image_figures() {
        let size = ImageSize::square(32);
        let mut source = MemorySource::new(Split::Test);
        source.push_normal(RgbImage::filled(size, [0; 3]));
        source.push_anomalous("speck", RgbImage::filled(size, [9, 0, 0]), Some(Mask::empty(size))).unwrap();
        let metrics = evaluate(&redness(), &source, METRICS, 1, &Silent).unwrap().metrics;
        assert_eq!((metrics.get(&IMAGE_AUROC), metrics.get(&PIXEL_AUROC)), (Some(1.0), None));
    }

    #[test]
    fn one_class_leaves_the_rate_that_it_allows() {
        let held_out = HeldOut { score: 100.0, peak: 100.0, typical: 0.0 };
        let calibration = Calibration::new(Procedure::HoldOut, &[held_out], 0.5).unwrap();
        let detector = redness().with_calibration(calibration);
        let of = |n_normal, n_anomalous| {
            let source = striped_test(n_normal, n_anomalous, ImageSize::square(32), Seed::new(0));
            let metrics = evaluate(&detector, &source, METRICS, 1, &Silent).unwrap().metrics;
            assert_eq!(metrics.iter().count(), METRICS.len());
            metrics
                .iter()
                .filter(|(_, value)| value.is_some())
                .map(|(key, _)| key.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(3, 0), ["image_false_alarm_rate"]);
        // The anomalous images have normal pixels, and so the figures of pixels.
        let pixels = ["pixel_auroc", "aupro", "pixel_ap"];
        assert_eq!(of(0, 3), [&pixels[..], &["image_miss_rate", "image_recall"]].concat());
    }

    #[test]
    fn no_image_and_cancelling_are_errors() {
        let nothing = striped_test(0, 0, ImageSize::square(32), Seed::new(0));
        let error = evaluate(&redness(), &nothing, METRICS, 1, &Silent).unwrap_err();
        assert!(matches!(error, ExperimentError::Metric(MetricError::Empty)));
        assert!(evaluate(&redness(), &source(), METRICS, 1, &Stopped).unwrap_err().is_cancelled());
    }
}
