//! SPADE: an image is compared with the training images most like it, each of its positions with
//! all of theirs (Cohen and Hoshen 2020, arXiv:2005.02357).

use candle_core::{DType, Device, Tensor};
use fmam_core::{ImageSize, Needs, Plan, SampleSource};
use fmam_models::{FeatureMoments, FeaturePyramid, ModelError};
use fmam_ops::traced;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::batch_inside::BatchInside;
use crate::checkpoint::Tensors;
use crate::feature_scorer::{FeatureScorer, NORMAL, NormalFeatures};
use crate::mapping::MappingConfig;
use crate::mapping::host::{self, HostSettings, fitted_extractor, saved_extractor};
use crate::memory::distance::{Nearest, TracedNearest, nearest_rows, trace_squared_distances};
use crate::memory::embedding::{Alignment, PatchEmbedding, rows_on_grid};
use crate::memory::nearest::{Basis, DeviceBasis, add_rows};
use crate::memory::training_images::{MemoryLimit, each_training_image};
use crate::sample_features::spread;
use crate::scorer::TracedPrediction;
use crate::scoring::{grid_map, interpolated_map};
use crate::settings::{Check, Settings, checked};
use crate::{
    Detector, Fitted, Method, MethodError, Place, Prediction, RunContext, SavedModel, Scorer, Untraceable,
};

const NAME: &str = "spade";
const NAME_WITH_FMAM: &str = "spade+fmam";

/// Training images from which the directions of the largest variance are taken, at most.
const BASIS_IMAGES: usize = 32;

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "distance to the pixels of the nearest training images",
    paper: "Cohen and Hoshen 2020, arXiv:2005.02357",
    in_table1: true,
    is_yardstick: false,
    min_images: 1,
    is_seeded: false,
    trial: "",
    build: |table| spade(SpadeConfig::configure(false, table)?),
    load,
};

/// SPADE of mapped features.
pub(crate) static WITH_FMAM: MethodEntry = MethodEntry {
    name: NAME_WITH_FMAM,
    summary: "spade on whitened features, mapped as the angular margin loss trains",
    paper: "the mapping of the FMAM poster in front of a method that it compares with",
    in_table1: false,
    is_seeded: true,
    trial: "mapping.epochs = 12",
    build: |table| SpadeConfig::configure(true, table).and_then(spade),
    ..ENTRY
};

/// Configuration of SPADE. Deviations from the original: images are compared by the pooled coarsest
/// scale of the backbone instead of the layer behind it, and each position with its one nearest
/// neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpadeConfig {
    /// Training images that an image is compared with; all where there are fewer.
    pub neighbours: usize,
    /// Memory for the features of training images. Where they do not fit, as many images as do are
    /// kept, evenly spread.
    pub gallery_bytes: u64,
    /// True to keep features in half precision: half the memory, distances to about three
    /// digits.
    pub half_precision: bool,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
    /// The feature mapping of `spade+fmam`; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
}

impl Default for SpadeConfig {
    fn default() -> Self {
        Self { neighbours: 50, gallery_bytes: 4 << 30, half_precision: false, blur_sigma: 4.0, mapping: None }
    }
}

impl Settings for SpadeConfig {
    fn check(&self, check: &mut Check) {
        check.at_least_one("neighbours", self.neighbours);
        check.blur("blur_sigma", self.blur_sigma);
        host::check(self.mapping.as_ref(), check);
    }
}

impl HostSettings for SpadeConfig {
    const NAMES: [&'static str; 2] = [NAME, NAME_WITH_FMAM];

    fn mapping(&self) -> Option<&MappingConfig> {
        self.mapping.as_ref()
    }

    fn set_mapping(&mut self, mapping: Option<MappingConfig>) {
        self.mapping = mapping;
    }
}
/// SPADE with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn spade(config: SpadeConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(config.name(), &config)?;
    Ok(Box::new(Spade { config }))
}

struct Spade {
    config: SpadeConfig,
}

impl Method for Spade {
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError> {
        self.config.plan(n_images, Needs::FEATURES)
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let config = self.config.resolved(train.len());
        let width: usize = run.backbone.channels().iter().sum();
        let (extractor, curve) = fitted_extractor(config.mapping(), train, run)?;
        // The number of positions of an image, and the features of those that count.
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let image = PatchEmbedding::new(features, Alignment::Bilinear, None)?;
            Ok::<_, MethodError>((image.grid.pixels(), image.values_at(place)))
        };
        let (mut moments, mut n_positions) = (FeatureMoments::default(), 0);
        each_training_image(train, run, &spread(train.len(), BASIS_IMAGES), &extractor, embed, |images| {
            images.iter().try_for_each(|(positions, values)| {
                n_positions = *positions;
                add_rows(&mut moments, values, width)
            })
        })?;
        let basis = Basis::new(&moments, width)?;

        let dtype = if config.half_precision { DType::F16 } else { DType::F32 };
        let image_bytes = n_positions * width * dtype.size_in_bytes();
        let limit = MemoryLimit { method: config.name(), key: "gallery_bytes", bytes: config.gallery_bytes };
        let images = limit.images(image_bytes, train.len())?;
        let gallery_image = |features: &FeaturePyramid, place: Place<'_>| {
            let rows = basis.rotate(&embed(features, place)?.1).into_values();
            let shape = (rows.len() / width, width);
            let rows = Tensor::from_vec(rows, shape, &Device::Cpu)?.to_dtype(dtype)?;
            Ok(GalleryImage { pooled: pooled(features, place)?, rows })
        };
        let mut gallery = Vec::new();
        each_training_image(train, run, &images, &extractor, gallery_image, |kept| {
            gallery.extend(kept);
            Ok(())
        })?;
        let normal = Gallery::new(config.clone(), basis, gallery).prepared(&extractor.device)?;
        let scorer = FeatureScorer { extractor, normal };
        Ok(Fitted { detector: Detector::fitted(config.name(), &config, run, scorer)?, curve })
    }
}

/// The mean over the positions of the coarsest scale of one image that count.
fn pooled(features: &FeaturePyramid, place: Place<'_>) -> Result<Vec<f32>, MethodError> {
    let coarsest = features.scales.last().ok_or(ModelError::EmptyBatch)?;
    if let Some(inside) = place.inside {
        let inside = BatchInside::new(vec![Some(inside.clone())]).ok_or(ModelError::EmptyBatch)?;
        let weights = inside.weights(coarsest)?.unsqueeze(1)?;
        let sum = coarsest.detach().broadcast_mul(&weights)?.sum((0, 2, 3))?;
        return Ok(sum.broadcast_div(&weights.sum_all()?)?.to_vec1()?);
    }
    Ok(coarsest.detach().mean((0, 2, 3))?.to_vec1()?)
}

struct GalleryImage {
    pooled: Vec<f32>,
    /// Features of all positions in the basis, `[positions, channels]`.
    rows: Tensor,
}

/// The features of training images.
struct Gallery {
    config: SpadeConfig,
    basis: Basis,
    /// Pooled features of all images, row by row.
    pooled: Vec<f32>,
    images: Vec<Tensor>,
    /// The gallery of a GPU.
    on_device: Option<DeviceGallery>,
}

/// The basis and the images on a GPU.
struct DeviceGallery {
    basis: DeviceBasis,
    images: Vec<Tensor>,
}

impl Gallery {
    fn new(config: SpadeConfig, basis: Basis, images: Vec<GalleryImage>) -> Self {
        let (pooled, images): (Vec<_>, Vec<_>) =
            images.into_iter().map(|image| (image.pooled, image.rows)).unzip();
        Self { config, basis, pooled: pooled.concat(), images, on_device: None }
    }

    /// This gallery on `device`, if that is a GPU.
    fn prepared(self, device: &Device) -> Result<Self, MethodError> {
        if device.is_cpu() { Ok(self) } else { self.on_device(device) }
    }

    fn on_device(self, device: &Device) -> Result<Self, MethodError> {
        let images = self.images.iter().map(|image| image.to_device(device));
        let images = images.collect::<Result<_, candle_core::Error>>()?;
        let on_device = DeviceGallery { basis: self.basis.on_device(device)?, images };
        Ok(Self { on_device: Some(on_device), ..self })
    }

    /// The training images nearest to one with `features`, nearest first.
    fn neighbours(&self, features: &FeaturePyramid, place: Place<'_>) -> Result<Vec<Nearest>, MethodError> {
        Ok(nearest_rows(&self.pooled, &pooled(features, place)?, self.config.neighbours))
    }

    /// Squared distance of each position of an image to the nearest position of `neighbours`.
    fn distances(&self, image: &PatchEmbedding, neighbours: &[Nearest]) -> Result<Vec<f32>, MethodError> {
        if let (Some(gallery), Some(rows)) = (&self.on_device, &image.on_device) {
            return gallery.distances(rows, neighbours);
        }
        let queries = self.basis.rotate(&image.values);
        let mut best = vec![Nearest::NONE; image.grid.pixels()];
        for neighbour in neighbours {
            let rows = self.images[neighbour.row].to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            self.basis.improve(&queries, &self.basis.rotated(rows), 0, &mut best);
        }
        Nearest::check(&best)?;
        Ok(best.into_iter().map(|nearest| nearest.squared).collect())
    }
}

impl DeviceGallery {
    /// As [`Gallery::distances`], of an image's vectors in rows.
    fn distances(&self, rows: &Tensor, neighbours: &[Nearest]) -> Result<Vec<f32>, MethodError> {
        let queries = self.basis.rotate(rows)?;
        let mut best: Option<Tensor> = None;
        for neighbour in neighbours {
            let rows = self.images[neighbour.row].to_dtype(DType::F32)?;
            let squared = fmam_ops::nearest_rows(&queries, &rows)?.0;
            best = Some(match best {
                None => squared,
                Some(best) => best.minimum(&squared)?,
            });
        }
        let best = best.ok_or(ModelError::EmptyBatch)?.to_vec1::<f32>()?;
        if best.iter().all(|squared| squared.is_finite()) {
            Ok(best)
        } else {
            Err(MethodError::UndefinedFeatures)
        }
    }
}

impl NormalFeatures for Gallery {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let neighbours = self.neighbours(features, place)?;
        Nearest::check(&neighbours)?;
        let image_score = neighbours.iter().map(|n| n.squared).sum::<f32>() / neighbours.len() as f32;
        let image = PatchEmbedding::new(features, Alignment::Bilinear, None)?;
        let distances = place.extended(self.distances(&image, &neighbours)?, image.grid);
        let anomaly_map = grid_map(distances, image.grid, size, self.config.blur_sigma)?;
        Ok(Prediction { image_score, anomaly_map })
    }

    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let coarsest = features.scales.last().ok_or(ModelError::EmptyBatch)?;
        let finest = features.scales.first().ok_or(ModelError::EmptyBatch)?;
        let (n, width, device) = (self.images.len(), self.basis.width(), finest.device());
        let (_, _, height, columns) = finest.dims4()?;
        let grid = ImageSize::new(height, columns);
        if self.images.iter().any(|rows| rows.dims() != [grid.pixels(), width]) {
            // Rows of a region of interest alone: they cannot be stacked.
            return Err(MethodError::Untraceable {
                method: self.config.name().to_owned(),
                reason: Untraceable::Region,
            });
        }
        let kept = Tensor::from_slice(&self.pooled, (n, self.pooled.len() / n), device)?;
        let squared = trace_squared_distances(&kept, &traced::mean(coarsest, &[0, 2, 3])?)?;
        let neighbours = traced::smallest(&squared, self.config.neighbours.min(n))?;
        let image_score = traced::mean(&traced::rows_at(&squared, &neighbours)?, &[0])?;

        let rows = rows_on_grid(&features.scales, grid, Alignment::Bilinear, None)?;
        let queries = self.basis.on_device(device)?.rotate(&rows)?;
        let images = self.images.iter().map(|rows| rows.to_device(device)?.to_dtype(DType::F32));
        let images = Tensor::stack(&images.collect::<Result<Vec<_>, _>>()?, 0)?;
        let mut best: Option<Tensor> = None;
        for k in 0..neighbours.dim(0)? {
            let image = traced::rows_at(&images, &traced::narrow(&neighbours, 0, k, 1)?)?;
            let image = traced::reshape(&image, &[grid.pixels(), width])?;
            let squared = TracedNearest::of(&queries, &image)?.squared;
            best = Some(match best {
                None => squared,
                Some(best) => traced::minimum(&best, &squared)?,
            });
        }
        let best = best.ok_or(ModelError::EmptyBatch)?;
        let anomaly_map = interpolated_map(&best, grid, size, self.config.blur_sigma)?;
        Ok(Some(TracedPrediction { image_score, anomaly_map }))
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        let n = self.images.len();
        let pooled = Tensor::from_slice(&self.pooled, (n, self.pooled.len() / n.max(1)), &Device::Cpu)?;
        let mut tensors = self.basis.tensors()?;
        tensors.insert("pooled".to_owned(), pooled);
        tensors.extend(self.images.iter().enumerate().map(|(k, rows)| (gallery_key(k), rows.clone())));
        Ok(tensors)
    }
}

fn gallery_key(index: usize) -> String {
    format!("gallery.{index:06}")
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = SpadeConfig::of_saved(saved)?;
    let (extractor, normal) = (saved_extractor(config.mapping(), saved)?, saved.network(NORMAL)?);
    let backbone = &extractor.backbone;
    let width = backbone.channels().iter().sum();
    let basis = Basis::read(&normal, width)?;
    let pooled = normal.tensor("pooled", &[None, backbone.channels().last().copied()])?;
    let n_images = pooled.dim(0)?;
    if n_images == 0 {
        return Err(ModelError::EmptyBatch.into());
    }
    let image = |k| Ok(normal.tensor(&gallery_key(k), &[None, Some(width)])?.clone());
    let images = (0..n_images).map(image).collect::<Result<_, MethodError>>()?;
    let pooled = pooled.flatten_all()?.to_vec1()?;
    let normal = Gallery { config, basis, pooled, images, on_device: None }.prepared(saved.device())?;
    Ok(Box::new(FeatureScorer { extractor, normal }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::fixture::Fixture;

    #[test]
    fn neighbours_distances_and_maps_are_numpys() {
        let fixture = Fixture::read();
        for half_precision in [false, true] {
            let config =
                SpadeConfig { neighbours: fixture.spade.k, half_precision, ..SpadeConfig::default() };
            let embed =
                |features: &FeaturePyramid| PatchEmbedding::new(features, Alignment::Bilinear, None).unwrap();
            let mut moments = FeatureMoments::default();
            let train = fixture.features.train();
            for features in &train {
                add_rows(&mut moments, &embed(features).values, 12).unwrap();
            }
            let basis = Basis::new(&moments, 12).unwrap();
            let dtype = if half_precision { DType::F16 } else { DType::F32 };
            let image = |features: &FeaturePyramid| {
                let rows = basis.rotate(&embed(features).values).into_values();
                let rows = Tensor::from_vec(rows, (64, 12), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                GalleryImage { pooled: pooled(features, Place::default()).unwrap(), rows }
            };
            let images = train.iter().map(image).collect();
            let gallery = Gallery::new(config, basis, images);
            for (n, features) in fixture.features.test().iter().enumerate() {
                let neighbours = gallery.neighbours(features, Place::default()).unwrap();
                let rows: Vec<f32> = neighbours.iter().map(|neighbour| neighbour.row as f32).collect();
                assert_eq!(rows, fixture.spade.neighbours.image(n));
                let distances = gallery.distances(&embed(features), &neighbours).unwrap();
                let tolerance = if half_precision { 2e-2 } else { 1e-4 };
                let expected = fixture.spade.distances.image(n);
                fmam_testkit::assert_close(&distances, &expected, tolerance, tolerance);
            }
            // As on a GPU.
            let gallery = gallery.on_device(&Device::Cpu).unwrap();
            for (n, features) in fixture.features.test().iter().enumerate() {
                let neighbours = gallery.neighbours(features, Place::default()).unwrap();
                let rows = Tensor::from_vec(embed(features).values, (64, 12), &Device::Cpu).unwrap();
                let image = PatchEmbedding { on_device: Some(rows), ..embed(features) };
                let distances = gallery.distances(&image, &neighbours).unwrap();
                let tolerance = if half_precision { 2e-2 } else { 1e-4 };
                let expected = fixture.spade.distances.image(n);
                fmam_testkit::assert_close(&distances, &expected, tolerance, tolerance);
            }
            if !half_precision {
                fixture.check(&gallery, &fixture.spade.maps, &fixture.spade.image_scores);
            }
        }
    }

    #[test]
    fn images_are_spread_evenly() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 4), [0, 1, 2]);
    }
}
