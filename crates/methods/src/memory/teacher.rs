//! The teacher alone: how far its features lie from the mean normal one. No student, nothing
//! trained: what distillation and feature mapping are to be measured against.

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, Needs, Plan, SampleSource};
use fmam_models::FeaturePyramid;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::batch_inside::extended_maps;
use crate::checkpoint::Tensors;
use crate::feature_scorer::{FeatureExtractor, FeatureScorer, NORMAL, NormalFeatures};
use crate::memory::training_images::each_training_image;
use crate::scorer::TracedPrediction;
use crate::scoring::{MapCombination, distances, predictions, traced_prediction};
use crate::settings::{Check, Settings, checked, settings_value};
use crate::{Detector, Fitted, Method, MethodError, Place, Prediction, RunContext, SavedModel, Scorer};

const NAME: &str = "teacher";

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "cosine distance of the backbone's features to their mean, no student",
    paper: "the distribution analysis of the poster has it beside the distillation methods",
    in_table1: false,
    is_yardstick: true,
    min_images: 1,
    is_seeded: false,
    trial: "",
    build: |table| teacher(TeacherConfig::read(NAME, table)?),
    load,
};

/// Configuration of the teacher alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherConfig {
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        Self { blur_sigma: 4.0 }
    }
}

impl Settings for TeacherConfig {
    fn check(&self, check: &mut Check) {
        check.blur("blur_sigma", self.blur_sigma);
    }
}
/// The teacher alone with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn teacher(config: TeacherConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(NAME, &config)?;
    Ok(Box::new(Teacher { config }))
}

struct Teacher {
    config: TeacherConfig,
}

impl Method for Teacher {
    fn plan(&self, _n_images: usize) -> Result<Plan, MethodError> {
        Ok(Plan::without_training(settings_value(NAME, &self.config)?, Needs::FEATURES))
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let all: Vec<usize> = (0..train.len()).collect();
        let mut sums: Vec<Vec<f64>> = run.backbone.channels().iter().map(|&n| vec![0.0; n]).collect();
        let extractor = FeatureExtractor::of_run(run);
        each_training_image(train, run, &all, &extractor, directions, |images| {
            for (k, scale) in images.iter().flat_map(|image| image.iter().enumerate()) {
                sums[k].iter_mut().zip(scale).for_each(|(sum, value)| *sum += value);
            }
            Ok(())
        })?;
        // The distance is one of directions: the sum has that of the mean. Its length would grow
        // with the data.
        let normal =
            MeanFeatures { means: sums.into_iter().map(unit).collect(), config: self.config.clone() };
        let scorer = FeatureScorer { extractor, normal };
        Ok(Fitted { detector: Detector::fitted(NAME, &self.config, run, scorer)?, curve: Vec::new() })
    }
}

/// The sum of the features of one image that count at each scale, each feature scaled to length 1.
fn directions(features: &FeaturePyramid, place: Place<'_>) -> Result<Vec<Vec<f64>>, MethodError> {
    let scale = |scale: &Tensor| {
        let (_, channels, height, width) = scale.dims4()?;
        let cells = place.cells(ImageSize::new(height, width));
        let counts = |at: usize| cells.as_ref().is_none_or(|cells| cells[at]);
        let values = scale.detach().permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(MethodError::UndefinedFeatures);
        }
        let mut sum = vec![0.0; channels];
        for (_, feature) in values.chunks_exact(channels).enumerate().filter(|(at, _)| counts(*at)) {
            let feature = unit(feature.iter().map(|&value| f64::from(value)).collect());
            sum.iter_mut().zip(feature).for_each(|(sum, value)| *sum += f64::from(value));
        }
        Ok(sum)
    };
    features.scales.iter().map(scale).collect()
}

/// A vector scaled to length 1.
fn unit(vector: Vec<f64>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    vector.into_iter().map(|value| (value / length) as f32).collect()
}

/// The direction of the mean normal feature at each scale.
struct MeanFeatures {
    means: Vec<Vec<f32>>,
    config: TeacherConfig,
}

impl MeanFeatures {
    /// The cosine distance of `features` to the mean at each scale.
    fn distances(&self, features: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
        let everywhere = |(mean, scale): (&Vec<f32>, &Tensor)| -> Result<Tensor, MethodError> {
            let mean = Tensor::from_slice(mean, (1, mean.len(), 1, 1), scale.device())?;
            Ok(mean.broadcast_as(scale.shape())?.contiguous()?)
        };
        let means = self.means.iter().zip(&features.scales).map(everywhere).collect::<Result<_, _>>()?;
        distances(features, &FeaturePyramid { scales: means })
    }
}

impl NormalFeatures for MeanFeatures {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let distances = extended_maps(self.distances(features)?, &[place])?;
        let found = predictions(&distances, MapCombination::Sum, self.config.blur_sigma, size)?;
        found.into_iter().next_back().ok_or(MethodError::UndefinedFeatures)
    }

    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let (distances, sigma) = (self.distances(features)?, self.config.blur_sigma);
        Ok(Some(traced_prediction(&distances, MapCombination::Sum, sigma, size)?))
    }

    fn score_is_peak(&self) -> bool {
        true
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        let tensor = |(k, mean): (usize, &Vec<f32>)| Ok((key(k), Tensor::new(&mean[..], &Device::Cpu)?));
        self.means.iter().enumerate().map(tensor).collect()
    }
}

fn key(scale: usize) -> String {
    format!("{scale}.mean")
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = saved.settings(NAME, &TeacherConfig::default())?;
    let (extractor, normal) = (FeatureExtractor::of_saved(saved)?, saved.network(NORMAL)?);
    let backbone = &extractor.backbone;
    let mean = |(k, channels): (usize, &usize)| -> Result<Vec<f32>, MethodError> {
        Ok(normal.tensor(&key(k), &[Some(*channels)])?.to_vec1()?)
    };
    let means = backbone.channels().iter().enumerate().map(mean).collect::<Result<_, _>>()?;
    let normal = MeanFeatures { means, config };
    Ok(Box::new(FeatureScorer { extractor, normal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One scale of 2 channels, 2x2: three features along the first axis of different lengths, one
    /// along the second.
    fn pyramid() -> FeaturePyramid {
        let values = vec![1.0_f32, 5.0, 9.0, 0.0, 0.0, 0.0, 0.0, 2.0];
        FeaturePyramid { scales: vec![Tensor::from_vec(values, (1, 2, 2, 2), &Device::Cpu).unwrap()] }
    }

    #[test]
    fn every_position_counts_alike_whatever_the_length_of_its_feature() {
        assert_eq!(directions(&pyramid(), Place::default()).unwrap(), [[3.0, 1.0]]);
    }

    #[test]
    fn the_score_is_the_cosine_distance_to_the_mean() {
        let config = TeacherConfig { blur_sigma: 0.0 };
        let normal = MeanFeatures { means: vec![unit(vec![3.0, 1.0])], config };
        let found = normal.predict(&pyramid(), ImageSize::square(2), Place::default()).unwrap();
        let (along, across) = (1.0 - 3.0 / 10.0_f32.sqrt(), 1.0 - 1.0 / 10.0_f32.sqrt());
        fmam_testkit::assert_close(found.anomaly_map.data(), &[along, along, along, across], 1e-6, 1e-6);
        assert_eq!(found.image_score, found.anomaly_map.max());
    }
}
