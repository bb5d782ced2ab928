use candle_core::Tensor;
use fmam_core::{Label, Mask, Progress, RgbImage, SampleSource, Seed, ordered_map};
use fmam_methods::{AdaptedFeatures, Detector, MethodError};
use fmam_metrics::{Separability, bias_variance, separability};
use fmam_synthesis::Synthesizer;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::{ExperimentError, evaluate};

/// Positions of one class that are taken from one image at one scale, at most. Neighbours see nearly the same pixels:
/// more would cost memory and tell little.
const POSITIONS: usize = 256;
/// Share of a position's pixels from which on it is defective.
const DEFECTIVE: f64 = 0.5;
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
}

/// The poster's two statistics, and their quotient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeatureScatter {
    /// Mean distance of anomalous features to the mean normal feature, in 0..=2.
    pub bias: f64,
    /// Mean squared distance of normal features to their mean, in 0..=1.
    pub variance: f64,
    /// Bias in units of the normal features' root mean square distance.
    pub bias_per_deviation: f64,
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

/// Normalised features of one class, before and after adaptation, row by row.
#[derive(Default)]
struct Features {
    before: Vec<f32>,
    after: Vec<f32>,
}

/// The features of one scale.
#[derive(Default)]
struct Scale {
    channels: usize,
    stride: usize,
    normal: Features,
    real: Features,
    synthetic: Features,
}

/// A test image with what belongs to it.
struct Case {
    image: RgbImage,
    mask: Option<Mask>,
    /// A normal image with a defect, and where that is visible.
    synthetic: Option<(RgbImage, Mask)>,
}

fn feature_scales(
    detector: &dyn Detector,
    test: &dyn SampleSource,
    synthesizer: &Synthesizer,
    seed: Seed,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<ScaleAnalysis>, ExperimentError> {
    let mut scales: Vec<Scale> = Vec::new();
    let load = |index: usize| -> Result<Case, ExperimentError> {
        let id = || test.sample(index).id.clone();
        let sample_error = |source| ExperimentError::Sample { id: id(), source };
        let image = test.image(index).map_err(sample_error)?;
        let mask = test.mask(index).map_err(sample_error)?;
        let normal = test.sample(index).label == Label::Normal;
        let defect = || synthesizer.synthesize(&image, seed.derive("defect").derive_index(index as u64));
        let synthetic = if normal {
            let defect = defect().map_err(MethodError::from)?;
            Some((defect.image, defect.visible))
        } else {
            None
        };
        Ok(Case { image, mask, synthetic })
    };
    progress.start("analysing features", test.len() as u64);
    ordered_map(test.len(), loader_threads, loader_threads + 1, load, |index, case| {
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let case = case?;
        let positions = seed.derive("positions").derive_index(index as u64);
        let mut add = |image: &RgbImage, mask: Option<&Mask>, class: fn(&mut Scale) -> &mut Features| {
            let Some(features) = detector.features(std::slice::from_ref(image))? else { return Ok(()) };
            collect(&mut scales, &features, image, mask, positions, class).map_err(ExperimentError::from)
        };
        match (&case.synthetic, &case.mask) {
            (Some((image, visible)), _) => {
                add(&case.image, None, |scale| &mut scale.normal)?;
                add(image, Some(visible), |scale| &mut scale.synthetic)?;
            }
            (None, Some(mask)) => add(&case.image, Some(mask), |scale| &mut scale.real)?,
            (None, None) => {}
        }
        progress.update(index as u64 + 1, "");
        Ok(())
    })?;
    progress.finish();
    scales.iter().map(Scale::analysis).collect()
}

/// Adds the features of one image at the positions that `mask` covers, or at any without a mask.
fn collect(
    scales: &mut Vec<Scale>,
    features: &AdaptedFeatures,
    image: &RgbImage,
    mask: Option<&Mask>,
    seed: Seed,
    class: fn(&mut Scale) -> &mut Features,
) -> Result<(), MethodError> {
    scales.resize_with(features.teacher.scales.len(), Scale::default);
    for (k, scale) in scales.iter_mut().enumerate() {
        let (_, channels, height, width) = features.teacher.scales[k].dims4()?;
        scale.channels = channels;
        scale.stride = image.size().height / height.max(1);
        let mut chosen: Vec<usize> = match mask {
            None => (0..height * width).collect(),
            Some(mask) => covered(mask, scale.stride),
        };
        // In the order of the image afterwards, so that memory is read forwards.
        chosen.shuffle(&mut seed.derive_index(k as u64).rng());
        chosen.truncate(POSITIONS);
        chosen.sort_unstable();
        let class = class(scale);
        append(&mut class.before, &features.teacher.scales[k], &chosen)?;
        if let Some(adapted) = &features.adapted {
            append(&mut class.after, &adapted.scales[k], &chosen)?;
        }
    }
    Ok(())
}

/// The positions, `stride` pixels apart, of whose pixels at least [`DEFECTIVE`] are marked.
fn covered(mask: &Mask, stride: usize) -> Vec<usize> {
    let (shares, _) = mask.shares(stride);
    (0..shares.len()).filter(|&cell| shares[cell] >= DEFECTIVE).collect()
}

/// Appends the features at `positions` of `[1, C, H, W]`, each scaled to length 1.
fn append(rows: &mut Vec<f32>, scale: &Tensor, positions: &[usize]) -> Result<(), MethodError> {
    let (_, channels, height, width) = scale.dims4()?;
    let values = scale.flatten_all()?.to_vec1::<f32>()?;
    for &position in positions {
        let feature = (0..channels).map(|c| values[c * height * width + position]);
        let norm = feature.clone().map(|v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
        rows.extend(feature.map(|v| (f64::from(v) / norm) as f32));
    }
    Ok(())
}

impl Scale {
    fn analysis(&self) -> Result<ScaleAnalysis, ExperimentError> {
        let defects = |anomalous: &Features| -> Result<Option<DefectAnalysis>, ExperimentError> {
            if anomalous.before.is_empty() {
                return Ok(None);
            }
            let scatter = |normal: &[f32], anomalous: &[f32]| -> Result<FeatureScatter, ExperimentError> {
                let found = bias_variance(normal, anomalous, self.channels)?;
                let (bias, variance) = (found.bias, found.variance);
                Ok(FeatureScatter { bias, variance, bias_per_deviation: bias / variance.sqrt().max(1e-12) })
            };
            let adapted = !anomalous.after.is_empty();
            Ok(Some(DefectAnalysis {
                n_anomalous: anomalous.before.len() / self.channels,
                before: scatter(&self.normal.before, &anomalous.before)?,
                after: adapted.then(|| scatter(&self.normal.after, &anomalous.after)).transpose()?,
            }))
        };
        Ok(ScaleAnalysis {
            channels: self.channels,
            stride: self.stride,
            n_normal: self.normal.before.len() / self.channels.max(1),
            real: defects(&self.real)?,
            synthetic: defects(&self.synthetic)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;
    use fmam_core::{AnomalyMap, ImageSize, Silent};
    use fmam_methods::Prediction;
    use fmam_models::FeaturePyramid;
    use fmam_synthesis::{SynthesisConfig, Textures};
    use fmam_testkit::striped_test;

    use super::*;

    /// Its features are the colours of 4 by 4 pixels; adaptation turns every colour towards red.
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
            Ok(Some(AdaptedFeatures { teacher: pyramid(1.0)?, adapted: Some(pyramid(1e6)?) }))
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
        assert!(scale.synthetic.as_ref().is_some_and(|defects| defects.n_anomalous > 0));
        assert_eq!(found.image_scores.ks_distance, 1.0);
        assert!(found.pixel_scores.unwrap().overlap < 0.1);
    }

    #[test]
    fn threads_change_nothing() {
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_position_counts_as_defective_from_half_of_its_pixels_on() {
        let mask = Mask::from_fn(ImageSize::new(4, 6), |y, x| y < 2 && x < 3);
        assert_eq!(covered(&mask, 2), [0, 1]);
        assert_eq!(covered(&mask, 6), [0; 0]);
    }
}
