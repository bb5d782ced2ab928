//! The scorer of methods that judge one image at a time by its frozen features: a
//! [`FeatureExtractor`] and the [`NormalFeatures`] that the method has learnt.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_core::{AnomalyMap, ImageSize, Mask, RgbImage};
use fmam_models::{Backbone, FeaturePyramid, to_batch};
use fmam_ops::traced;
use rayon::prelude::*;

use crate::checkpoint::Tensors;
use crate::mapping::{FrozenMapping, MAPPING};
use crate::scorer::{AdaptedFeatures, Prediction, Scorer, TracedPrediction};
use crate::{MethodError, Place, RunContext, SavedModel};

/// The knowledge of such a method.
pub trait NormalFeatures: Send + Sync {
    /// The verdict on one image of `size` by its features, as [`Scorer::score`] describes. The same
    /// bits at every call.
    ///
    /// # Errors
    /// The errors of the device.
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError>;

    /// The verdict on the image of traced `features`, see [`Scorer::trace`].
    ///
    /// # Errors
    /// The errors of the device.
    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let _ = (features, size);
        Ok(None)
    }

    /// See [`Scorer::score_is_peak`].
    fn score_is_peak(&self) -> bool {
        false
    }

    /// The tensors to save.
    ///
    /// # Errors
    /// The errors of the device.
    fn tensors(&self) -> Result<Tensors, MethodError>;
}

/// The file of [`NormalFeatures::tensors`], without its ending.
pub const NORMAL: &str = "normal";

/// The features of one image, or of its centre, by a frozen backbone.
#[derive(Clone)]
pub struct FeatureExtractor {
    /// The frozen network.
    pub backbone: Arc<dyn Backbone>,
    /// The device of its tensors.
    pub device: Device,
    /// The size of the centre that is looked at; `None` for the whole image.
    pub crop: Option<ImageSize>,
    /// The feature mapping behind the network; `None` for its own features.
    pub(crate) mapping: Option<Arc<FrozenMapping>>,
}

impl FeatureExtractor {
    /// The extractor of whole images in `run`.
    pub fn of_run(run: &RunContext<'_>) -> Self {
        Self { backbone: run.backbone.clone(), device: run.device.clone(), crop: None, mapping: None }
    }

    /// The extractor of whole images by the backbone of a saved detector.
    ///
    /// # Errors
    /// As [`SavedModel::backbone`].
    pub fn of_saved(saved: &SavedModel) -> Result<Self, MethodError> {
        Ok(Self { backbone: saved.backbone()?, device: saved.device().clone(), crop: None, mapping: None })
    }

    /// The features of `image`.
    ///
    /// # Errors
    /// As [`Backbone::features`].
    pub fn features(&self, image: &RgbImage) -> Result<FeaturePyramid, MethodError> {
        self.batch_features(std::slice::from_ref(image))
    }

    /// The features of `images` of one size.
    ///
    /// # Errors
    /// As [`Backbone::features`].
    pub fn batch_features(&self, images: &[RgbImage]) -> Result<FeaturePyramid, MethodError> {
        let centres: Vec<RgbImage>;
        let images = match self.crop {
            None => images,
            Some(size) => {
                let centre = |image: &RgbImage| {
                    let (top, left) = margins(image.size(), size);
                    RgbImage::from_fn(size, |y, x| image.pixel(y + top, x + left))
                };
                centres = images.iter().map(centre).collect();
                &centres
            }
        };
        self.mapped(self.of_batch(images)?)
    }

    /// The part of `inside` that belongs to the features; `None` where all of them count.
    pub fn looked_at(&self, inside: &Mask) -> Option<Mask> {
        let inside = match self.crop {
            None => inside.clone(),
            Some(size) => {
                let (top, left) = margins(inside.size(), size);
                Mask::from_fn(size, |y, x| inside.at(y + top, x + left))
            }
        };
        (inside.area() < inside.size().pixels()).then_some(inside)
    }

    fn of_batch(&self, images: &[RgbImage]) -> Result<FeaturePyramid, MethodError> {
        let batch = to_batch(images, self.backbone.preprocess(), &self.device)?;
        Ok(self.backbone.features(&batch)?)
    }

    /// The features of the backbone as the method sees them.
    fn mapped(&self, features: FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        match &self.mapping {
            None => Ok(features),
            Some(mapping) => mapping.forward(&features),
        }
    }
}

/// Verdicts by features of normal images.
pub struct FeatureScorer<N> {
    /// The features of an image.
    pub extractor: FeatureExtractor,
    /// The knowledge that they are judged by.
    pub normal: N,
}

impl<N: NormalFeatures> Scorer for FeatureScorer<N> {
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.extractor.batch_features(images)?;
        let score = |(n, (image, place)): (usize, (&RgbImage, &Place<'_>))| {
            let size = self.extractor.crop.unwrap_or(image.size());
            let features = if images.len() == 1 { all.clone() } else { all.image(n)? };
            let inside = place.inside.and_then(|inside| self.extractor.looked_at(inside));
            let place = Place { inside: inside.as_ref(), ..*place };
            let Prediction { image_score, anomaly_map } = self.normal.predict(&features, size, place)?;
            Ok(Prediction { image_score, anomaly_map: surrounded(anomaly_map, image.size())? })
        };
        images.par_iter().zip(places).enumerate().map(score).collect()
    }

    fn trace(&self, pixels: &Tensor) -> Result<Option<TracedPrediction>, MethodError> {
        let (_, _, height, width) = pixels.dims4()?;
        let whole = ImageSize::new(height, width);
        let size = self.extractor.crop.unwrap_or(whole);
        let (top, left) = margins(whole, size);
        let centre = match self.extractor.crop {
            None => pixels.clone(),
            Some(_) => traced::narrow(&traced::narrow(pixels, 2, top, size.height)?, 3, left, size.width)?,
        };
        let backbone = &self.extractor.backbone;
        let features = backbone.features(&backbone.preprocess().normalized(&centre)?)?;
        let Some(found) = self.normal.trace(&self.extractor.mapped(features)?, size)? else {
            return Ok(None);
        };
        if size == whole {
            return Ok(Some(found));
        }
        // As `surrounded`: zeros around what is above the smallest score.
        let smallest = traced::min_all(&found.anomaly_map)?;
        let above = traced::sub(&found.anomaly_map, &smallest)?;
        let above = traced::reshape(&above, &[1, 1, size.height, size.width])?;
        let (bottom, right) = (height - top - size.height, width - left - size.width);
        let above = traced::pad_with_zeros(&above, [top, bottom], [left, right])?;
        let anomaly_map = traced::reshape(&traced::add(&above, &smallest)?, &[1, height, width])?;
        Ok(Some(TracedPrediction { anomaly_map, ..found }))
    }

    fn score_is_peak(&self) -> bool {
        self.normal.score_is_peak()
    }

    fn takes_batches(&self) -> bool {
        !self.extractor.device.is_cpu()
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        if self.extractor.crop.is_some() {
            return Ok(None);
        }
        let teacher = self.extractor.of_batch(images)?;
        let mapping = self.extractor.mapping.as_ref();
        let adapted = mapping.map(|mapping| mapping.forward(&teacher)).transpose()?;
        Ok(Some(AdaptedFeatures { teacher, adapted, expected: None }))
    }

    fn backbone(&self) -> Option<&dyn Backbone> {
        Some(self.extractor.backbone.as_ref())
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        let mapping = self.extractor.mapping.as_ref().map(|mapping| (MAPPING, mapping.tensors().clone()));
        Ok(std::iter::once((NORMAL, self.normal.tensors()?)).chain(mapping).collect())
    }
}

/// Rows above and columns left of the centre.
fn margins(whole: ImageSize, centre: ImageSize) -> (usize, usize) {
    ((whole.height - centre.height) / 2, (whole.width - centre.width) / 2)
}

/// The map of the centre of an image of `size`, extended to the whole image. The pixels around the
/// centre get the map's smallest score, since nothing was looked at there.
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
