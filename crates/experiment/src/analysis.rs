use fmam_core::{Label, Progress, SampleSource, Seed};
use fmam_methods::Detector;
use fmam_metrics::{MetricError, Separability, separability};
use fmam_record::{Analysis, ScoreSeparability};
use fmam_synthesis::Synthesizer;

use crate::scatter::feature_scales;
use crate::{Evaluation, ExperimentError};

/// Analyses `detector` on a test split, of which `evaluation` is: the poster's statistical and
/// distribution analyses. `synthesizer` puts defects into the normal test images; `seed` decides
/// which, and which positions are taken. The result does not depend on the number of
/// `loader_threads`.
///
/// # Errors
/// As [`Evaluator::evaluate`](crate::Evaluator::evaluate).
pub fn analyze(
    detector: &Detector,
    test: &dyn SampleSource,
    evaluation: &Evaluation,
    synthesizer: &Synthesizer,
    seed: Seed,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Analysis, ExperimentError> {
    for (index, score) in evaluation.image_scores.iter().enumerate() {
        if !score.is_finite() {
            return Err(ExperimentError::NotFinite { id: test.sample(index).id.clone() });
        }
    }
    let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
    for (index, &score) in evaluation.image_scores.iter().enumerate() {
        if test.sample(index).label == Label::Normal { &mut normal } else { &mut anomalous }.push(score);
    }
    let image_scores = parting(&normal, &anomalous)?;

    let pixel_scores = parting(&evaluation.pixel_sample.normal, &evaluation.pixel_sample.anomalous)?;

    let scales = feature_scales(detector, test, synthesizer, seed, loader_threads, progress)?;
    Ok(Analysis { scales, image_scores, pixel_scores })
}

/// `None` where a class is empty or no score differs from another.
fn parting(normal: &[f32], anomalous: &[f32]) -> Result<Option<ScoreSeparability>, MetricError> {
    match separability(normal, anomalous, n_bins(normal.len() + anomalous.len())) {
        Ok(Separability { overlap, fisher_ratio, ks_distance }) => {
            Ok(Some(ScoreSeparability { overlap, fisher_ratio, ks_distance }))
        }
        Err(
            MetricError::Empty | MetricError::NoNormal | MetricError::NoAnomalous | MetricError::NoVariance,
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bins of the histograms whose overlap is taken, for `n` scores: with more of them than scores, no
/// two classes overlap.
fn n_bins(n: usize) -> usize {
    (n as f64).sqrt().ceil().clamp(10.0, 200.0) as usize
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use fmam_core::{AnomalyMap, ImageSize, RgbImage, Silent};
    use fmam_methods::{AdaptedFeatures, MethodError, ModelCard, Place, Prediction, Scorer, Tensors};
    use fmam_models::FeaturePyramid;
    use fmam_synthesis::{SynthesisConfig, Textures};
    use fmam_testkit::striped_test;

    use super::*;
    use crate::Evaluator;

    fn evaluate(
        detector: &Detector,
        test: &dyn SampleSource,
        loader_threads: usize,
    ) -> Result<Evaluation, ExperimentError> {
        let folder = std::env::temp_dir();
        let (metrics, config) = (fmam_metrics::METRICS, Default::default());
        Evaluator { metrics, config, folder: &folder, loader_threads, progress: &Silent }.evaluate(
            detector,
            test,
            |_, _, _| Ok(()),
        )
    }

    /// Its features are the colours of 4 by 4 pixels; adaptation turns every colour towards red. It
    /// expects grey.
    struct Colours;

    impl Scorer for Colours {
        fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
            let redness = |p: &[u8]| f32::from(p[0]) - f32::from(p[1]);
            let predict = |image: &RgbImage| {
                let data = image.data().chunks_exact(3).map(redness).collect();
                let anomaly_map = AnomalyMap::new(image.size(), data).unwrap();
                Prediction { image_score: anomaly_map.max(), anomaly_map }
            };
            Ok(images.iter().map(predict).collect())
        }

        fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
            let image = &images[0];
            let pixels = |gain: f32| -> Vec<f32> {
                (0..3 * 64)
                    .map(|i| {
                        let (c, y, x) = (i / 64, i % 64 / 8, i % 8);
                        let value = f32::from(image.pixel(4 * y + 1, 4 * x + 1)[c]) + 1.0;
                        if c == 0 { value * gain } else { value }
                    })
                    .collect()
            };
            let pyramid = |gain| -> Result<FeaturePyramid, MethodError> {
                Ok(FeaturePyramid {
                    scales: vec![Tensor::from_vec(pixels(gain), (1, 3, 8, 8), &Device::Cpu)?],
                })
            };
            let grey = FeaturePyramid { scales: vec![Tensor::ones((1, 3, 8, 8), DType::F32, &Device::Cpu)?] };
            Ok(Some(AdaptedFeatures {
                teacher: pyramid(1.0)?,
                adapted: Some(pyramid(1e6)?),
                expected: Some(grey),
            }))
        }

        fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
            Ok(Vec::new())
        }
    }

    fn colours() -> Detector {
        let card = ModelCard::new("colours", "tiny", Seed::new(0), ImageSize::square(32), toml::Table::new());
        Detector::new(card, Box::new(Colours))
    }

    fn run(threads: usize) -> Analysis {
        let test = striped_test(4, 4, ImageSize::square(32), Seed::new(1));
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        let evaluation = evaluate(&colours(), &test, threads).unwrap();
        analyze(&colours(), &test, &evaluation, &synthesizer, Seed::new(2), threads, &Silent).unwrap()
    }

    #[test]
    fn real_defects_differ_before_adaptation_and_nothing_does_where_all_became_one() {
        let found = run(1);
        let [scale] = &found.scales[..] else { panic!("{found:?}") };
        assert_eq!((scale.channels, scale.stride, scale.n_normal), (3, 4, 4 * 64));
        let real = scale.real.as_ref().unwrap();
        // The striped scenes are grey and their defect is red.
        assert!(real.before.bias > 0.3 && real.before.bias_per_deviation > 2.0, "{real:?}");
        let after = real.after.unwrap();
        assert!(after.bias < 1e-3 && after.variance < 1e-6, "{after:?}");
        // Red lies this far from grey, for every feature: the squared distance of (1, 0, 0) and (1,
        // 1, 1) / sqrt 3.
        let (about, squared) = (real.discrepancy.unwrap(), 2.0 - 2.0 / 3.0_f64.sqrt());
        assert!(
            (about.variance - squared).abs() < 1e-4 && (about.bias - squared.sqrt()).abs() < 1e-4,
            "{about:?}"
        );
        assert!((about.bias_per_deviation - 1.0).abs() < 1e-4, "{about:?}");
        assert!(scale.synthetic.as_ref().is_some_and(|defects| defects.n_anomalous > 0));
        assert_eq!(found.image_scores.unwrap().ks_distance, 1.0);
        assert!(found.pixel_scores.unwrap().overlap < 0.1);
    }

    /// Gives no number for the scores, or for the features, of an image with a red square.
    struct Damaged {
        in_scores: bool,
    }

    fn value(image: &RgbImage, is_damaged: bool) -> f32 {
        let is_red = image.data().chunks_exact(3).any(|pixel| pixel[0] / 2 > pixel[1]);
        if is_damaged && is_red { f32::NAN } else { 1.0 }
    }

    impl Scorer for Damaged {
        fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
            let predict = |image: &RgbImage| {
                let mut data = vec![0.0; image.size().pixels()];
                data[7] = value(image, self.in_scores);
                Prediction { image_score: 1.0, anomaly_map: AnomalyMap::new(image.size(), data).unwrap() }
            };
            Ok(images.iter().map(predict).collect())
        }

        fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
            let values = vec![value(&images[0], !self.in_scores); 3 * 64];
            let scales = vec![Tensor::from_vec(values, (1, 3, 8, 8), &Device::Cpu)?];
            let teacher = FeaturePyramid { scales };
            Ok(Some(AdaptedFeatures { teacher, adapted: None, expected: None }))
        }

        fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_score_or_a_feature_that_is_no_number_names_the_image() {
        let test = striped_test(11, 2, ImageSize::square(32), Seed::new(1));
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        let detector = |in_scores| {
            let size = ImageSize::square(32);
            let card = ModelCard::new("damaged", "tiny", Seed::new(0), size, toml::Table::new());
            Detector::new(card, Box::new(Damaged { in_scores }))
        };
        let names = |error: &ExperimentError, index: usize| matches!(error, ExperimentError::NotFinite { id } if *id == test.sample(index).id);
        // The twelfth image is the first with a square, in the second batch.
        let error = evaluate(&detector(true), &test, 2).unwrap_err();
        assert!(names(&error, 11), "{error}");

        let mut evaluation = evaluate(&detector(false), &test, 2).unwrap();
        let analysed = |evaluation: &crate::Evaluation, detector: &Detector| {
            analyze(detector, &test, evaluation, &synthesizer, Seed::new(2), 1, &Silent).unwrap_err()
        };
        // Synthetic defects may be red too: then it is the normal image that is named.
        let error = analysed(&evaluation, &detector(false));
        assert!(matches!(error, ExperimentError::NotFinite { .. }), "{error}");
        evaluation.image_scores[4] = f32::INFINITY;
        let error = analysed(&evaluation, &detector(true));
        assert!(names(&error, 4), "{error}");
    }

    #[test]
    fn threads_change_nothing() {
        assert_eq!(run(1), run(3));
    }
}
