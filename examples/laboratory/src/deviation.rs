//! A method: how far a patch lies from the mean patch of good images, in standard deviations.

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, Needs, Plan, SampleSource};
use fmam_methods::{
    Alignment, Check, Detector, FeatureExtractor, FeatureScorer, Fitted, Method, MethodEntry, MethodError,
    NORMAL, NormalFeatures, PatchEmbedding, Place, Prediction, RunContext, SavedModel, Scorer, Settings,
    Tensors, each_training_image, grid_map, settings_value,
};
use fmam_models::FeaturePyramid;
use serde::{Deserialize, Serialize};

const NAME: &str = "deviation";

pub static DEVIATION: MethodEntry = MethodEntry {
    name: NAME,
    summary: "standard deviations from the mean patch of good images",
    paper: "none: an example",
    in_table1: false,
    is_yardstick: true,
    min_images: 1,
    is_seeded: false,
    trial: "",
    build: |table| Ok(Box::new(Deviation { config: DeviationConfig::read(NAME, table)? })),
    load,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DeviationConfig {
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    blur_sigma: f64,
}

impl Default for DeviationConfig {
    fn default() -> Self {
        Self { blur_sigma: 4.0 }
    }
}

impl Settings for DeviationConfig {
    fn check(&self, check: &mut Check) {
        check.blur("blur_sigma", self.blur_sigma);
    }
}

struct Deviation {
    config: DeviationConfig,
}

impl Method for Deviation {
    fn plan(&self, _n_images: usize) -> Result<Plan, MethodError> {
        Ok(Plan::without_training(settings_value(NAME, &self.config)?, Needs::FEATURES))
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let all: Vec<usize> = (0..train.len()).collect();
        let width: usize = run.backbone.channels().iter().sum();
        let (mut n, mut sums, mut squares) = (0.0, vec![0.0; width], vec![0.0; width]);
        let extractor = FeatureExtractor::of_run(run);
        // Patches outside of the region of interest are left out.
        let patches = |features: &FeaturePyramid, place: Place<'_>| Ok(embedded(features)?.values_at(place));
        each_training_image(train, run, &all, &extractor, patches, |images: Vec<Vec<f32>>| {
            for row in images.iter().flat_map(|patches| patches.chunks_exact(width)) {
                n += 1.0;
                for (channel, value) in row.iter().map(|&value| f64::from(value)).enumerate() {
                    sums[channel] += value;
                    squares[channel] += value * value;
                }
            }
            Ok(())
        })?;
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / n) as f32).collect();
        let variance = |(sum, square): (&f64, &f64)| (square / n - (sum / n).powi(2)).max(1e-12);
        let deviation = sums.iter().zip(&squares).map(|pair| variance(pair).sqrt() as f32).collect();
        let normal = Moments { mean, deviation, config: self.config.clone() };
        let scorer = FeatureScorer { extractor, normal };
        Ok(Fitted { detector: Detector::fitted(NAME, &self.config, run, scorer)?, curve: Vec::new() })
    }
}

fn embedded(features: &FeaturePyramid) -> Result<PatchEmbedding, MethodError> {
    PatchEmbedding::new(features, Alignment::Nearest, None)
}

struct Moments {
    mean: Vec<f32>,
    deviation: Vec<f32>,
    config: DeviationConfig,
}

impl NormalFeatures for Moments {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let patches = embedded(features)?;
        let score = |row: &[f32]| {
            let channels = row.iter().zip(&self.mean).zip(&self.deviation);
            let sum: f32 =
                channels.map(|((value, mean), deviation)| ((value - mean) / deviation).powi(2)).sum();
            (sum / row.len() as f32).sqrt()
        };
        let scores = place.extended(patches.rows().map(score).collect(), patches.grid);
        let anomaly_map = grid_map(scores, patches.grid, size, self.config.blur_sigma)?;
        Ok(Prediction { image_score: anomaly_map.max(), anomaly_map })
    }

    fn score_is_peak(&self) -> bool {
        true
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        let tensor = |values: &Vec<f32>| Tensor::new(values.as_slice(), &Device::Cpu);
        Ok([("mean".to_owned(), tensor(&self.mean)?), ("deviation".to_owned(), tensor(&self.deviation)?)]
            .into())
    }
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = saved.settings(NAME, &DeviationConfig::default())?;
    let (extractor, normal) = (FeatureExtractor::of_saved(saved)?, saved.network(NORMAL)?);
    let width = extractor.backbone.channels().iter().sum();
    let read =
        |key: &str| -> Result<Vec<f32>, MethodError> { Ok(normal.tensor(key, &[Some(width)])?.to_vec1()?) };
    let normal = Moments { mean: read("mean")?, deviation: read("deviation")?, config };
    Ok(Box::new(FeatureScorer { extractor, normal }))
}
