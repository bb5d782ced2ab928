use std::time::Instant;

use fmam_core::{
    AnomalyMap, Label, Mask, Progress, RgbImage, SampleSource, SourceError, StageId, ordered_map,
};
use fmam_inspection::Calibration;
use fmam_methods::Detector;
use fmam_metrics::{Evaluated, MetricEntry, MetricError, N_BINS, PixelRanking};
use fmam_record::{ClassDistribution, Decision, Metrics, PixelCurves, ScoreDistribution};

use crate::ExperimentError;

/// Images that are scored together.
const BATCH_SIZE: usize = 8;

/// A detector's verdicts on a test split, and the figures of merit. Vectors are in the source's
/// order.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// The threshold of the detector's calibration and the intervals of the metrics at it; `None`
    /// for a detector that was not calibrated.
    pub decision: Option<Decision>,
    /// The map scores that the colours of pictures cover; `None` for a detector without a
    /// calibration, whose pictures share the range of this split.
    pub colour_range: Option<(f32, f32)>,
    /// The image scores, higher is more anomalous.
    pub image_scores: Vec<f32>,
    /// Curves over all test pixels, where there are pixel figures.
    pub pixels: Option<PixelCurves>,
    /// The anomaly maps.
    pub maps: Vec<AnomalyMap>,
    /// The ground truth; `None` for an anomalous image without a mask.
    pub masks: Vec<Option<Mask>>,
    /// Test images scored in a second. Decoding counts only as far as the source has not cached it.
    pub images_per_second: f64,
}

/// Scores every image of `test` with `detector` and compares with the ground truth by `metrics`.
/// `loader_threads` threads decode; the result does not depend on their number.
///
/// Metrics at a fixed threshold take that of the detector's calibration, and are missing without
/// one. Figures that need both classes are `None` for a test split of one class. Pixel figures are
/// `None` where an anomalous image has no mask, and where no pixel, or every pixel, is anomalous.
///
/// # Errors
/// [`ExperimentError::Sample`] naming an unreadable file, [`ExperimentError::NotFinite`] naming an
/// image whose score is infinite or undefined, [`ExperimentError::Method`] from the detector,
/// [`ExperimentError::Metric`] for a test split without images, [`ExperimentError::Cancelled`].
pub fn evaluate(
    detector: &Detector,
    test: &dyn SampleSource,
    metrics: &[&'static MetricEntry],
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Evaluation, ExperimentError> {
    let n = test.len();
    progress.start(&StageId::SCORING, n as u64);
    let start = Instant::now();
    let (mut image_scores, mut maps, mut masks) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::new());
    let mut batch = Vec::with_capacity(BATCH_SIZE);
    ordered_map(
        n,
        loader_threads,
        loader_threads + BATCH_SIZE,
        |index| load(test, index),
        |index, loaded| {
            let (image, mask) = loaded
                .map_err(|source| ExperimentError::Sample { id: test.sample(index).id.clone(), source })?;
            batch.push(image);
            masks.push(mask);
            if batch.len() < BATCH_SIZE && index + 1 < n {
                return Ok(());
            }
            if progress.cancelled() {
                return Err(ExperimentError::Cancelled);
            }
            let first = index + 1 - batch.len();
            let id = |position| test.sample(first + position).id.clone();
            let scored = detector.score(&batch).map_err(|error| ExperimentError::of_images(error, id));
            let predictions = scored?;
            batch.clear();
            for prediction in predictions {
                image_scores.push(prediction.image_score);
                maps.push(prediction.anomaly_map);
            }
            progress.update(index as u64 + 1, "");
            Ok(())
        },
    )?;
    // A clock may stand still for a moment, and a record has finite numbers only.
    let images_per_second = n as f64 / start.elapsed().as_secs_f64().max(1e-9);
    progress.finish();

    let labels: Vec<u8> = (0..n).map(|i| u8::from(test.sample(i).label == Label::Anomalous)).collect();
    let evaluated = Evaluated::new(&image_scores, &labels);
    let evaluated = match (pairs(&maps, &masks), maps.first().map(AnomalyMap::size)) {
        (Some(pairs), Some(size)) => evaluated.with_maps(pairs, size.height, size.width),
        _ => evaluated,
    };
    let calibration = detector.calibration();
    let evaluated = match calibration {
        Some(calibration) => evaluated.with_threshold(calibration.threshold().score),
        None => evaluated,
    };
    let decide =
        |known: &Calibration| Decision::new(known.threshold(), known.procedure(), &evaluated, metrics);
    let decision = calibration.map(decide).transpose()?;
    let colour_range = calibration.map(Calibration::colour_range);
    let metrics = Metrics::of(&evaluated, metrics)?;
    let ranking = evaluated.pixels_if_defined()?;
    let pixels = ranking.map(|ranking| curves(ranking, &maps, &masks)).transpose()?;
    drop(evaluated);
    Ok(Evaluation { metrics, decision, colour_range, image_scores, pixels, maps, masks, images_per_second })
}

fn load(test: &dyn SampleSource, index: usize) -> Result<(RgbImage, Option<Mask>), SourceError> {
    Ok((test.image(index)?, test.mask(index)?))
}

/// Each map with its mask; `None` where an image lacks its mask.
fn pairs<'a>(maps: &'a [AnomalyMap], masks: &'a [Option<Mask>]) -> Option<Vec<(&'a [f32], &'a [u8])>> {
    let masks = masks.iter().map(Option::as_ref).collect::<Option<Vec<&Mask>>>()?;
    Some(maps.iter().map(AnomalyMap::data).zip(masks.iter().map(|mask| mask.data())).collect())
}

/// Curves of ranked maps, all of which have masks.
fn curves(
    ranking: &PixelRanking,
    maps: &[AnomalyMap],
    masks: &[Option<Mask>],
) -> Result<PixelCurves, MetricError> {
    let scores = |anomalous: bool| {
        maps.iter().zip(masks.iter().flatten()).flat_map(move |(map, mask)| {
            let pixels = map.data().iter().zip(mask.data());
            pixels.filter(move |(_, label)| (**label != 0) == anomalous).map(|(score, _)| *score)
        })
    };
    let low = maps.iter().map(AnomalyMap::min).fold(f32::INFINITY, f32::min);
    let high = maps.iter().map(AnomalyMap::max).fold(f32::NEG_INFINITY, f32::max);
    let range = [f64::from(low), f64::from(high)];
    let class = |anomalous| distribution(scores(anomalous), range, N_BINS);
    let scores = ScoreDistribution { range, normal: class(false), anomalous: class(true) };
    let rounded = |points: &[[f64; 2]]| points.iter().map(|point| point.map(round)).collect();
    let summary = ranking.summary()?;
    Ok(PixelCurves { roc: rounded(&summary.roc), pro: rounded(&summary.pro), scores })
}

/// Five decimals: a plot shows no more, and records stay small.
fn round(value: f64) -> f64 {
    (1e5 * value).round() / 1e5
}

fn distribution(
    scores: impl Iterator<Item = f32> + Clone,
    [low, high]: [f64; 2],
    n_bins: usize,
) -> ClassDistribution {
    let (mut counts, mut n, mut sum) = (vec![0_usize; n_bins], 0, 0.0);
    for score in scores.clone().map(f64::from) {
        // The highest score belongs to the last bin; where all are equal, so do they.
        let position = (score - low) / (high - low) * n_bins as f64;
        counts[if position < n_bins as f64 { position as usize } else { n_bins - 1 }] += 1;
        n += 1;
        sum += score;
    }
    let count = n.max(1) as f64;
    let mean = sum / count;
    let variance = scores.map(|score| (f64::from(score) - mean).powi(2)).sum::<f64>() / count;
    let shares = counts.into_iter().map(|in_bin| round(in_bin as f64 / count)).collect();
    ClassDistribution { n, mean, deviation: variance.sqrt(), shares }
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, Seed, Silent, Split};
    use fmam_inspection::{HeldOut, Procedure};
    use fmam_methods::{MethodError, ModelCard, Prediction, Scorer, Tensors};
    use fmam_metrics::{IMAGE_AUROC, Level, METRICS, PIXEL_AUROC};
    use fmam_testkit::{MemorySource, striped_test};

    use super::*;

    /// Redness is anomalous: exactly what the square of the striped scenes is.
    struct Redness;

    impl Scorer for Redness {
        fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
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
            assert_eq!((evaluation.image_scores.len(), evaluation.maps.len()), (11, 11));
            assert_eq!(evaluation.maps[10].max(), evaluation.image_scores[10]);
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
