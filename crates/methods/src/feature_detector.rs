//! Detectors that keep or model the features of normal images and train no network: what they share around that.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use fmam_core::{AnomalyMap, ImageSize, RgbImage, SampleSource, Seed, StageId};
use fmam_models::{Backbone, FeaturePyramid, LoadedBackbone, to_batch};
use rayon::prelude::*;
use serde::Serialize;

use crate::model_dir::{ModelDir, TEACHER, Tensors, read_network};
use crate::scoring::{check_size, score_each};
use crate::settings::settings_table;
use crate::training::load_sample;
use crate::{AdaptedFeatures, Detector, MethodError, Prediction, RunContext};

/// What such a method has learnt.
pub(crate) trait NormalFeatures: Send + Sync {
    /// The verdict on one image of `size` by its features. The same bits at every call.
    fn predict(&self, features: &FeaturePyramid, size: ImageSize) -> Result<Prediction, MethodError>;

    /// What is saved.
    fn tensors(&self) -> Result<Tensors, MethodError>;
}

/// A frozen backbone and what is known of its features.
pub(crate) struct FeatureDetector<N> {
    method: &'static str,
    /// The configuration as it is saved.
    config: toml::Table,
    backbone: Arc<LoadedBackbone>,
    normal: N,
    image_size: ImageSize,
    /// The centre of images that is looked at; the whole where there is none.
    crop: Option<ImageSize>,
    seed: Seed,
    device: Device,
}

impl<N: NormalFeatures + 'static> FeatureDetector<N> {
    /// What fitting in `run` gives; `config` is what is saved.
    pub(crate) fn fitted(
        method: &'static str,
        config: &impl Serialize,
        run: &RunContext<'_>,
        crop: Option<ImageSize>,
        normal: N,
    ) -> Box<dyn Detector> {
        Box::new(Self {
            method,
            config: settings_table(config),
            backbone: run.backbone.clone(),
            normal,
            image_size: run.image_size,
            crop,
            seed: run.seed,
            device: run.device.clone(),
        })
    }
}

impl<N: NormalFeatures> Detector for FeatureDetector<N> {
    fn image_size(&self) -> ImageSize {
        self.image_size
    }

    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        check_size(images, self.image_size)?;
        let size = self.crop.unwrap_or(self.image_size);
        let score = |image: &RgbImage| {
            let features = image_features(&self.backbone, image, self.crop, &self.device)?;
            let Prediction { image_score, anomaly_map } = self.normal.predict(&features, size)?;
            Ok(Prediction { image_score, anomaly_map: surrounded(anomaly_map, self.image_size)? })
        };
        score_each(images, |images| images.iter().map(score).collect())
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        check_size(images, self.image_size)?;
        if images.is_empty() || self.crop.is_some() {
            return Ok(None);
        }
        let batch = to_batch(images, self.backbone.preprocess(), &self.device)?;
        Ok(Some(AdaptedFeatures { teacher: self.backbone.features(&batch)?, adapted: None, expected: None }))
    }

    fn save(&self, dir: &Path) -> Result<(), MethodError> {
        let config = self.config.clone();
        let model = ModelDir::on_backbone(self.method, &self.backbone, self.seed, self.image_size, config);
        model.write(dir, &[(TEACHER, self.backbone.tensors()), ("normal", &self.normal.tensors()?)])
    }
}

/// A saved [`FeatureDetector`] before its method has made sense of it.
pub(crate) struct SavedDetector {
    pub(crate) model: ModelDir,
    pub(crate) backbone: Arc<LoadedBackbone>,
    pub(crate) normal: Tensors,
    /// The file of `normal`, for errors.
    pub(crate) origin: String,
}

impl SavedDetector {
    pub(crate) fn read(dir: &Path, device: &Device) -> Result<Self, MethodError> {
        let model = ModelDir::read(dir)?;
        let backbone = model.read_backbone(dir, device)?;
        let (normal, origin) = read_network(dir, "normal")?;
        Ok(Self { model, backbone, normal, origin })
    }
}

impl SavedDetector {
    /// The detector of `method` with what that made of the saved tensors.
    pub(crate) fn detector<N: NormalFeatures + 'static>(
        self,
        method: &'static str,
        crop: Option<ImageSize>,
        normal: N,
        device: &Device,
    ) -> Box<dyn Detector> {
        let ModelDir { seed, image_size, config, .. } = self.model;
        let (backbone, device) = (self.backbone, device.clone());
        Box::new(FeatureDetector { method, config, backbone, normal, image_size, crop, seed, device })
    }
}

/// Images whose features are taken together by each thread, so that none waits long for the others. Four: PaDiM sums so many
/// at a time, and the groups must not depend on the number of threads.
const IMAGES_PER_THREAD: usize = 4;

/// Images whose features are held at the same time, at most.
const MAX_CHUNK: usize = 32;

/// Hands what `embed` makes of the features of each training image to `take`, in order and some at a time.
pub(crate) fn each_training_image<T: Send>(
    train: &dyn SampleSource,
    run: &RunContext<'_>,
    indices: &[usize],
    crop: Option<ImageSize>,
    embed: impl Fn(&FeaturePyramid) -> Result<T, MethodError> + Sync,
    mut take: impl FnMut(Vec<T>) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    if indices.is_empty() {
        return Err(MethodError::NoTrainingImages);
    }
    run.progress.start(&StageId::new("features"), indices.len() as u64);
    let mut n_done = 0;
    for indices in indices.chunks(MAX_CHUNK.min(IMAGES_PER_THREAD * rayon::current_num_threads())) {
        if run.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let embed = |&index: &usize| {
            let image = load_sample(train, index)?;
            embed(&image_features(&run.backbone, &image, crop, &run.device)?)
        };
        take(indices.par_iter().map(embed).collect::<Result<_, _>>()?)?;
        n_done += indices.len() as u64;
        run.progress.update(n_done, "");
    }
    run.progress.finish();
    Ok(())
}

/// Features of one image, of its centre where `crop` says so.
fn image_features(
    backbone: &LoadedBackbone,
    image: &RgbImage,
    crop: Option<ImageSize>,
    device: &Device,
) -> Result<FeaturePyramid, MethodError> {
    let centre;
    let image = match crop {
        None => image,
        Some(size) => {
            let (top, left) = margins(image.size(), size);
            centre = RgbImage::from_fn(size, |y, x| image.pixel(y + top, x + left));
            &centre
        }
    };
    Ok(backbone.features(&to_batch(std::slice::from_ref(image), backbone.preprocess(), device)?)?)
}

/// Rows above and columns left of the centre.
fn margins(whole: ImageSize, centre: ImageSize) -> (usize, usize) {
    ((whole.height - centre.height) / 2, (whole.width - centre.width) / 2)
}

/// The map of the centre of an image of `size`. Around it, where nothing was looked at, stands the map's smallest score.
fn surrounded(map: AnomalyMap, size: ImageSize) -> Result<AnomalyMap, MethodError> {
    if map.size() == size {
        return Ok(map);
    }
    let (top, left) = margins(size, map.size());
    let mut data = vec![map.min(); size.pixels()];
    for (y, row) in map.data().chunks_exact(map.size().width).enumerate() {
        let start = (y + top) * size.width + left;
        data[start..start + row.len()].copy_from_slice(row);
    }
    Ok(AnomalyMap::new(size, data)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_centre_is_put_back_where_it_was_cut() {
        let map = AnomalyMap::new(ImageSize::new(1, 2), vec![3.0, 2.0]).unwrap();
        let whole = surrounded(map, ImageSize::new(3, 4)).unwrap();
        assert_eq!(whole.data(), [2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    }
}
