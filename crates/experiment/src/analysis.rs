use fmam_core::{Label, Progress, SampleSource, Seed};
use fmam_methods::Detector;
use fmam_metrics::{Separability, separability};
use fmam_synthesis::Synthesizer;
use serde::Serialize;

use crate::scatter::feature_scales;
use crate::{ExperimentError, evaluate};

/// Scored pixels of which the pixel separability is computed, at most; they are spread evenly.
const PIXELS: usize = 4_000_000;

/// What the adaptation of a detector's features does to them, and how far the scores of the classes lie apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// The scales, finest first; empty for a detector that compares no features.
    pub scales: Vec<ScaleAnalysis>,
    /// Separability of the image scores.
    pub image_scores: ScoreSeparability,
    /// Separability of the map's values inside and outside of the masks; `None` where the data has no masks.
    pub pixel_scores: Option<ScoreSeparability>,
}

/// One scale of the feature pyramid. Features are L2-normalised, at positions of test images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaleAnalysis {
    /// Channels of a feature.
    pub channels: usize,
    /// Pixels of the image per position, along a side.
    pub stride: usize,
    /// Normal features analysed, from normal test images.
    pub n_normal: usize,
    /// The test images' own defects; `None` where they have no masks, or none covers a position.
    pub real: Option<DefectAnalysis>,
    /// Synthetic defects in normal test images, which no training saw; `None` where none covers a position.
    pub synthetic: Option<DefectAnalysis>,
}

/// The analysis of one kind of defect at one scale.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefectAnalysis {
    /// Anomalous features analysed.
    pub n_anomalous: usize,
    /// Of the teacher's features.
    pub before: FeatureScatter,
    /// Of the adapted ones; `None` for a detector that uses the teacher's as they are.
    pub after: Option<FeatureScatter>,
    /// Of the adapted ones, or the teacher's, about what the student expects at the same position instead of about the mean
    /// normal feature: the discrepancy that is scored. `None` for a detector without a student.
    pub discrepancy: Option<FeatureScatter>,
}

/// The poster's two statistics, and their quotient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeatureScatter {
    /// Mean distance of anomalous features to the mean normal feature, or to the one expected, in 0..=2.
    pub bias: f64,
    /// Mean squared distance of normal features to the same: in 0..=1 to their mean, in 0..=4 to those expected.
    pub variance: f64,
    /// Bias in units of the normal features' root mean square distance.
    pub bias_per_deviation: f64,
}

impl FeatureScatter {
    pub(crate) fn new(bias: f64, variance: f64) -> Self {
        Self { bias, variance, bias_per_deviation: bias / variance.sqrt().max(1e-12) }
    }
}

/// How far apart two score distributions lie; see [`fmam_metrics::Separability`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScoreSeparability {
    /// Area that the histograms share, in 0..=1.
    pub overlap: f64,
    /// Fisher's discriminant ratio, 0 or more.
    pub fisher_ratio: f64,
    /// Kolmogorov-Smirnov distance, in 0..=1.
    pub ks_distance: f64,
}

impl From<Separability> for ScoreSeparability {
    fn from(value: Separability) -> Self {
        let Separability { overlap, fisher_ratio, ks_distance } = value;
        Self { overlap, fisher_ratio, ks_distance }
    }
}

/// Analyses `detector` on a test split: the poster's statistical and distribution analyses. `synthesizer` puts defects
/// into the normal test images; `seed` decides which, and which positions are taken. The result does not depend on the
/// number of `loader_threads`.
///
/// # Errors
/// As [`evaluate`].
pub fn analyze(
    detector: &dyn Detector,
    test: &dyn SampleSource,
    synthesizer: &Synthesizer,
    seed: Seed,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Analysis, ExperimentError> {
    let evaluation = evaluate(detector, test, loader_threads, progress)?;
    let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
    for (index, &score) in evaluation.image_scores.iter().enumerate() {
        if test.sample(index).label == Label::Normal { &mut normal } else { &mut anomalous }.push(score);
    }
    let image_scores = separability(&normal, &anomalous, n_bins(normal.len() + anomalous.len()))?.into();

    let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
    let total: usize = evaluation.maps.iter().map(|map| map.data().len()).sum();
    let step = total.div_ceil(PIXELS).max(1);
    let pixels = evaluation
        .maps
        .iter()
        .zip(&evaluation.masks)
        .filter_map(|(map, mask)| Some(map.data().iter().zip(mask.as_ref()?.data())));
    for (&score, &defective) in pixels.flatten().step_by(step) {
        if defective == 0 { &mut normal } else { &mut anomalous }.push(score);
    }
    let has_both = !normal.is_empty() && !anomalous.is_empty();
    let pixel_scores = if has_both {
        Some(separability(&normal, &anomalous, n_bins(normal.len() + anomalous.len()))?.into())
    } else {
        None
    };

    let scales = feature_scales(detector, test, synthesizer, seed, loader_threads, progress)?;
    Ok(Analysis { scales, image_scores, pixel_scores })
}

/// Bins of the histograms whose overlap is taken, for `n` scores: with more of them than scores, no two classes overlap.
fn n_bins(n: usize) -> usize {
    (n as f64).sqrt().ceil().clamp(10.0, 200.0) as usize
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{DType, Device, Tensor};
    use fmam_core::{AnomalyMap, ImageSize, RgbImage, Silent};
    use fmam_methods::{AdaptedFeatures, MethodError, Prediction};
    use fmam_models::FeaturePyramid;
    use fmam_synthesis::{SynthesisConfig, Textures};
    use fmam_testkit::striped_test;

    use super::*;

    /// Its features are the colours of 4 by 4 pixels; adaptation turns every colour towards red. It expects grey.
    struct Colours;

    impl Detector for Colours {
        fn image_size(&self) -> ImageSize {
            ImageSize::square(32)
        }

        fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
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

        fn save(&self, _dir: &Path) -> Result<(), MethodError> {
            Ok(())
        }
    }

    fn run(threads: usize) -> Analysis {
        let test = striped_test(4, 4, ImageSize::square(32), Seed::new(1));
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated).unwrap();
        analyze(&Colours, &test, &synthesizer, Seed::new(2), threads, &Silent).unwrap()
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
        // Red lies this far from grey, for every feature: the squared distance of (1, 0, 0) and (1, 1, 1) / sqrt 3.
        let (about, squared) = (real.discrepancy.unwrap(), 2.0 - 2.0 / 3.0_f64.sqrt());
        assert!(
            (about.variance - squared).abs() < 1e-4 && (about.bias - squared.sqrt()).abs() < 1e-4,
            "{about:?}"
        );
        assert!((about.bias_per_deviation - 1.0).abs() < 1e-4, "{about:?}");
        assert!(scale.synthetic.as_ref().is_some_and(|defects| defects.n_anomalous > 0));
        assert_eq!(found.image_scores.ks_distance, 1.0);
        assert!(found.pixel_scores.unwrap().overlap < 0.1);
    }

    #[test]
    fn threads_change_nothing() {
        assert_eq!(run(1), run(3));
    }
}
