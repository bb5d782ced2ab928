use std::time::Instant;

use fmam_core::{
    AnomalyMap, Label, Mask, Metrics, Progress, RgbImage, SampleSource, SourceError, ordered_map,
};
use fmam_methods::Detector;
use fmam_metrics::{FPR_LIMIT, MetricError, PixelMetrics, Ranking, pixel_metrics};

use crate::ExperimentError;

/// Images that are scored together.
const BATCH_SIZE: usize = 8;

/// A detector's verdicts on a test split, and the figures of merit. Vectors are in the source's order.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// The image scores, higher is more anomalous.
    pub image_scores: Vec<f32>,
    /// The anomaly maps.
    pub maps: Vec<AnomalyMap>,
    /// The ground truth; `None` for an anomalous image without a mask.
    pub masks: Vec<Option<Mask>>,
    /// Test images scored in a second. Decoding counts only as far as the source has not cached it.
    pub images_per_second: f64,
}

/// Scores every image of `test` with `detector` and compares with the ground truth. `loader_threads` threads decode;
/// the result does not depend on their number.
///
/// Pixel figures are `None` where an anomalous image has no mask, and where no pixel, or every pixel, is anomalous.
///
/// # Errors
/// [`ExperimentError::Sample`] naming an unreadable file, [`ExperimentError::Method`] from the detector,
/// [`ExperimentError::Metric`] for scores that are NaN or a test split of one class, [`ExperimentError::Cancelled`].
pub fn evaluate(
    detector: &dyn Detector,
    test: &dyn SampleSource,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Evaluation, ExperimentError> {
    let n = test.len();
    progress.start("scoring", n as u64);
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
            let predictions = detector.score(&batch).map_err(ExperimentError::from)?;
            batch.clear();
            for prediction in predictions {
                image_scores.push(prediction.image_score);
                maps.push(prediction.anomaly_map);
            }
            let rate = (index + 1) as f64 / start.elapsed().as_secs_f64();
            progress.update(index as u64 + 1, &format!("{rate:.1} images/s"));
            Ok(())
        },
    )?;
    let images_per_second = n as f64 / start.elapsed().as_secs_f64();
    progress.finish();

    let labels: Vec<u8> = (0..n).map(|i| u8::from(test.sample(i).label == Label::Anomalous)).collect();
    let ranking = Ranking::new(&image_scores, &labels)?;
    let pixels = pixel_figures(&maps, &masks)?;
    let metrics = Metrics {
        image_auroc: ranking.auroc(),
        pixel_auroc: pixels.map(|figures| figures.auroc),
        aupro: pixels.map(|figures| figures.aupro),
        image_ap: ranking.average_precision(),
        pixel_ap: pixels.map(|figures| figures.average_precision),
        image_f1_max: ranking.f1_max().f1,
    };
    Ok(Evaluation { metrics, image_scores, maps, masks, images_per_second })
}

fn load(test: &dyn SampleSource, index: usize) -> Result<(RgbImage, Option<Mask>), SourceError> {
    Ok((test.image(index)?, test.mask(index)?))
}

fn pixel_figures(maps: &[AnomalyMap], masks: &[Option<Mask>]) -> Result<Option<PixelMetrics>, MetricError> {
    let Some(masks) = masks.iter().map(Option::as_ref).collect::<Option<Vec<&Mask>>>() else {
        return Ok(None);
    };
    let Some(size) = maps.first().map(AnomalyMap::size) else { return Ok(None) };
    let pairs = maps.iter().map(AnomalyMap::data).zip(masks.iter().map(|mask| mask.data()));
    match pixel_metrics(pairs, size.height, size.width, FPR_LIMIT) {
        Ok(figures) => Ok(Some(figures)),
        // Defects so small that none is left at this size: the image figures still stand.
        Err(MetricError::NoAnomalous | MetricError::NoNormal) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fmam_core::{ImageSize, Seed, Silent, Split};
    use fmam_methods::{MethodError, Prediction};
    use fmam_testkit::{MemorySource, striped_test};

    use super::*;

    /// Redness is anomalous: exactly what the square of the striped scenes is.
    struct Redness;

    impl Detector for Redness {
        fn image_size(&self) -> ImageSize {
            ImageSize::square(32)
        }

        fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
            let predict = |image: &RgbImage| {
                let redness = |p: &[u8]| f32::from(p[0]) - f32::from(p[1]);
                let data = image.data().chunks_exact(3).map(redness).collect();
                let anomaly_map = AnomalyMap::new(image.size(), data).unwrap();
                Prediction { image_score: anomaly_map.max(), anomaly_map }
            };
            Ok(images.iter().map(predict).collect())
        }

        fn save(&self, _dir: &Path) -> Result<(), MethodError> {
            Ok(())
        }
    }

    struct Stopped;

    impl Progress for Stopped {
        fn start(&self, _stage: &str, _total: u64) {}
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
            let evaluation = evaluate(&Redness, &source(), threads, &Silent).unwrap();
            let metrics = evaluation.metrics;
            assert_eq!((metrics.image_auroc, metrics.image_ap, metrics.image_f1_max), (1.0, 1.0, 1.0));
            assert_eq!(
                (metrics.pixel_auroc, metrics.aupro, metrics.pixel_ap),
                (Some(1.0), Some(1.0), Some(1.0))
            );
            assert_eq!((evaluation.image_scores.len(), evaluation.maps.len()), (11, 11));
            assert_eq!(evaluation.maps[10].max(), evaluation.image_scores[10]);
        }
    }

    #[test]
    fn without_every_mask_there_are_no_pixel_figures() {
        let mut source = source();
        source.push_anomalous("unmasked", RgbImage::filled(ImageSize::square(32), [255, 0, 0]), None);
        let metrics = evaluate(&Redness, &source, 2, &Silent).unwrap().metrics;
        assert_eq!((metrics.pixel_auroc, metrics.aupro, metrics.pixel_ap), (None, None, None));
        assert_eq!(metrics.image_auroc, 1.0);
    }

    #[test]
    fn defects_that_vanished_in_resizing_leave_the_image_figures() {
        let size = ImageSize::square(32);
        let mut source = MemorySource::new(Split::Test);
        source.push_normal(RgbImage::filled(size, [0; 3]));
        source.push_anomalous("speck", RgbImage::filled(size, [9, 0, 0]), Some(Mask::empty(size)));
        let metrics = evaluate(&Redness, &source, 1, &Silent).unwrap().metrics;
        assert_eq!((metrics.image_auroc, metrics.pixel_auroc), (1.0, None));
    }

    #[test]
    fn one_class_and_cancelling_are_errors() {
        let normal_only = striped_test(3, 0, ImageSize::square(32), Seed::new(0));
        let error = evaluate(&Redness, &normal_only, 1, &Silent).unwrap_err();
        assert!(matches!(error, ExperimentError::Metric(MetricError::NoAnomalous)));
        assert!(evaluate(&Redness, &source(), 1, &Stopped).unwrap_err().is_cancelled());
    }
}
