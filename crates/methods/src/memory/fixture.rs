//! Features of a few images and what NumPy and SciPy made of them:
//! `tests/reference/memory/memory.json`.

use candle_core::{Device, Tensor};
use fmam_core::ImageSize;
use fmam_models::FeaturePyramid;
use serde::Deserialize;

use crate::feature_scorer::NormalFeatures;
use crate::{Place, Prediction};

#[derive(Deserialize)]
pub(crate) struct Array {
    shape: Vec<usize>,
    data: Vec<f64>,
}

/// Features of training and test images, which the fixtures of peers have alike.
#[derive(Deserialize)]
pub(crate) struct ImageFeatures {
    image_size: usize,
    train: Vec<Array>,
    test: Vec<Array>,
}

#[derive(Deserialize)]
pub(crate) struct Fixture {
    #[serde(flatten)]
    pub(crate) features: ImageFeatures,
    pub(crate) padim: Padim,
    pub(crate) spade: Spade,
    pub(crate) patchcore: PatchCore,
}

#[derive(Deserialize)]
pub(crate) struct Padim {
    pub(crate) channels: Vec<usize>,
    pub(crate) distances: Array,
    pub(crate) maps: Array,
    pub(crate) scores: Array,
}

#[derive(Deserialize)]
pub(crate) struct Spade {
    pub(crate) k: usize,
    pub(crate) neighbours: Array,
    pub(crate) distances: Array,
    pub(crate) maps: Array,
    pub(crate) image_scores: Array,
}

#[derive(Deserialize)]
pub(crate) struct PatchCore {
    pub(crate) projection: Array,
    pub(crate) start: usize,
    pub(crate) b: usize,
    pub(crate) selected: Vec<usize>,
    pub(crate) distances: Array,
    pub(crate) maps: Array,
    pub(crate) scores: Array,
}

impl Array {
    pub(crate) fn values(&self) -> Vec<f32> {
        self.data.iter().map(|&value| value as f32).collect()
    }

    /// The part of image `n`.
    pub(crate) fn image(&self, n: usize) -> Vec<f32> {
        let size = self.data.len() / self.shape[0];
        self.data[n * size..(n + 1) * size].iter().map(|&value| value as f32).collect()
    }
}

impl ImageFeatures {
    pub(crate) fn size(&self) -> ImageSize {
        ImageSize::square(self.image_size)
    }

    /// Features of each training image.
    pub(crate) fn train(&self) -> Vec<FeaturePyramid> {
        pyramids(&self.train)
    }

    /// Features of each test image.
    pub(crate) fn test(&self) -> Vec<FeaturePyramid> {
        pyramids(&self.test)
    }
}

impl Fixture {
    pub(crate) fn read() -> Self {
        fmam_testkit::read_fixture("memory/memory.json")
    }

    /// Checks the verdicts of `normal` on the test images.
    pub(crate) fn check(&self, normal: &impl NormalFeatures, maps: &Array, scores: &Array) {
        for (n, features) in self.features.test().iter().enumerate() {
            let Prediction { image_score, anomaly_map } =
                normal.predict(features, self.features.size(), Place::default()).unwrap();
            fmam_testkit::assert_close(anomaly_map.data(), &maps.image(n), 1e-4, 1e-4);
            fmam_testkit::assert_close(&[image_score], &scores.image(n), 1e-4, 1e-4);
        }
    }
}

/// Features of each image, from those of all at each scale.
pub(crate) fn pyramids(scales: &[Array]) -> Vec<FeaturePyramid> {
    let image = |scale: &Array, n: usize| {
        let mut shape = scale.shape.clone();
        shape[0] = 1;
        Tensor::from_vec(scale.image(n), shape, &Device::Cpu).unwrap()
    };
    let of_image = |n| FeaturePyramid { scales: scales.iter().map(|scale| image(scale, n)).collect() };
    (0..scales[0].shape[0]).map(of_image).collect()
}
