//! Features of test images at normal and defective positions, for their bias and variance.

use candle_core::Tensor;
use fmam_core::{Label, Mask, Progress, RgbImage, SampleSource, Seed, StageId, TiledSource, ordered_map};
use fmam_methods::{AdaptedFeatures, Detector, MethodError};
use fmam_metrics::bias_variance;
use fmam_record::{DefectAnalysis, FeatureScatter, ScaleAnalysis};
use fmam_synthesis::Synthesizer;
use rand::seq::SliceRandom;

use crate::ExperimentError;

/// Positions of one class that are taken from one image at one scale, at most. Neighbours see
/// nearly the same pixels: more would cost memory and tell little.
const POSITIONS: usize = 256;
/// Positions of one class that are taken from all images at one scale, at most: where there are
/// many, fewer of each.
const ALL_POSITIONS: usize = 150_000;
/// Share of a position's pixels from which on it is defective.
const DEFECTIVE: f64 = 0.5;

/// Normalised features of one class, before and after adaptation, row by row, and their distances
/// to those expected.
#[derive(Default)]
struct Features {
    before: Vec<f32>,
    after: Vec<f32>,
    discrepancy: Vec<f64>,
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
    /// The pixels that count; `None` where all do.
    inside: Option<Mask>,
    /// A normal image with a defect, and where that is visible.
    synthetic: Option<(RgbImage, Mask)>,
}

/// Bias and variance at each scale; see [`crate::analyze`].
pub(crate) fn feature_scales(
    detector: &Detector,
    test: &dyn SampleSource,
    synthesizer: &Synthesizer,
    seed: Seed,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<ScaleAnalysis>, ExperimentError> {
    let preparation = detector.card().preparation();
    if let Some(overlap) = preparation.tile_overlap()
        && test.grid(0).is_none()
    {
        // The networks see tiles, and so does their analysis.
        let tiles = TiledSource::new(test, preparation.size, overlap)?;
        return feature_scales(detector, &tiles, synthesizer, seed, loader_threads, progress);
    }
    let mut scales: Vec<Scale> = Vec::new();
    if test.is_empty() {
        return Ok(Vec::new());
    }
    let sample_error = |source| ExperimentError::Sample { id: test.sample(0).id.clone(), source };
    // A detector that compares no features needs no defects either.
    let first = detector.features(&[test.image(0).map_err(sample_error)?]);
    if first.map_err(|error| ExperimentError::of_image(error, &test.sample(0).id))?.is_none() {
        return Ok(Vec::new());
    }
    let most = POSITIONS.min(ALL_POSITIONS.div_ceil(test.len()));
    let load = |index: usize| -> Result<Case, ExperimentError> {
        let id = || test.sample(index).id.clone();
        let sample_error = |source| ExperimentError::Sample { id: id(), source };
        let image = test.image(index).map_err(sample_error)?;
        let mask = test.mask(index).map_err(sample_error)?;
        let inside = test.inside(index).map_err(sample_error)?;
        let normal = test.sample(index).label == Label::Normal;
        let seed = seed.derive("defect").derive_index(index as u64);
        let defect = || synthesizer.synthesize_within(&image, inside.as_ref(), seed);
        let synthetic = if normal {
            let defect = defect().map_err(MethodError::from)?;
            Some((defect.image, defect.visible))
        } else {
            None
        };
        Ok(Case { image, mask, inside, synthetic })
    };
    progress.start(&StageId::new("analysing features"), test.len() as u64);
    ordered_map(test.len(), loader_threads, loader_threads + 1, load, |index, case| {
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let case = case?;
        let positions = seed.derive("positions").derive_index(index as u64);
        let mut add = |image: &RgbImage, mask: Option<&Mask>, class: fn(&mut Scale) -> &mut Features| {
            let features = detector.features(std::slice::from_ref(image));
            let features = features.map_err(|error| ExperimentError::of_image(error, &test.sample(index).id));
            let Some(features) = features? else { return Ok(()) };
            collect(&mut scales, &features, image, mask, (positions, most), class)
                .map_err(ExperimentError::from)
        };
        match (&case.synthetic, &case.mask) {
            (Some((image, visible)), _) => {
                add(&case.image, case.inside.as_ref(), |scale| &mut scale.normal)?;
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

/// Adds the features of one image at the positions that `mask` covers, or at any without a mask, so
/// many at most.
fn collect(
    scales: &mut Vec<Scale>,
    features: &AdaptedFeatures,
    image: &RgbImage,
    mask: Option<&Mask>,
    (seed, most): (Seed, usize),
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
        chosen.truncate(most);
        chosen.sort_unstable();
        let class = class(scale);
        append(&mut class.before, &features.teacher.scales[k], &chosen)?;
        if let Some(adapted) = &features.adapted {
            append(&mut class.after, &adapted.scales[k], &chosen)?;
        }
        if let Some(expected) = &features.expected {
            let compared = if features.adapted.is_some() { &class.after } else { &class.before };
            // The rows that were just appended.
            let given = &compared[compared.len() - chosen.len() * channels..];
            let mut wanted = Vec::new();
            append(&mut wanted, &expected.scales[k], &chosen)?;
            let pairs = given.chunks_exact(channels).zip(wanted.chunks_exact(channels));
            class.discrepancy.extend(pairs.map(|(given, wanted)| {
                let squares = given.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                squares.sum::<f64>().sqrt()
            }));
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
                Ok(FeatureScatter::new(found.bias, found.variance))
            };
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let squares: Vec<f64> = self.normal.discrepancy.iter().map(|distance| distance.powi(2)).collect();
            let has_expected = !squares.is_empty() && !anomalous.discrepancy.is_empty();
            let adapted = !anomalous.after.is_empty();
            Ok(Some(DefectAnalysis {
                n_anomalous: anomalous.before.len() / self.channels,
                before: scatter(&self.normal.before, &anomalous.before)?,
                after: adapted.then(|| scatter(&self.normal.after, &anomalous.after)).transpose()?,
                discrepancy: has_expected
                    .then(|| FeatureScatter::new(mean(&anomalous.discrepancy), mean(&squares))),
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
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn bias_is_of_the_defects_and_variance_of_the_normal_features() {
        let features = |discrepancy: &[f64]| Features {
            before: vec![1.0; discrepancy.len()],
            after: Vec::new(),
            discrepancy: discrepancy.to_vec(),
        };
        let scale = Scale {
            channels: 1,
            stride: 4,
            normal: features(&[1.0, 2.0]),
            real: features(&[3.0]),
            synthetic: features(&[4.0, 6.0]),
        };
        let found = scale.analysis().unwrap();
        let real = found.real.unwrap().discrepancy.unwrap();
        assert_eq!((real.bias, real.variance), (3.0, 2.5));
        assert!((real.bias_per_deviation - 3.0 / 2.5_f64.sqrt()).abs() < 1e-12);
        let synthetic = found.synthetic.unwrap();
        assert_eq!(synthetic.discrepancy.map(|s| (s.bias, s.variance)), Some((5.0, 2.5)));
        assert_eq!(synthetic.after, None);
    }

    #[test]
    fn a_position_counts_as_defective_from_half_of_its_pixels_on() {
        let mask = Mask::from_fn(ImageSize::new(4, 6), |y, x| y < 2 && x < 3);
        assert_eq!(covered(&mask, 2), [0, 1]);
        assert_eq!(covered(&mask, 6), [0; 0]);
    }
}
