//! PaDiM: a Gaussian of the features at each position of normal images; the anomaly map is the
//! Mahalanobis distance to it (Defard et al. 2020, arXiv:2011.08785).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, Needs, Plan, SampleSource, Seed};
use fmam_models::{Backbone, FeaturePyramid};
use fmam_ops::traced;
use rand::seq::index;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::checkpoint::Tensors;
use crate::feature_scorer::{FeatureExtractor, FeatureScorer, NORMAL, NormalFeatures};
use crate::mapping::MappingConfig;
use crate::mapping::host::{self, HostSettings, fitted_extractor, saved_extractor};
use crate::memory::embedding::{Alignment, PatchEmbedding, rows_on_grid};
use crate::memory::gaussians::{PositionGaussians, PositionMoments};
use crate::memory::training_images::each_training_image;
use crate::per_tile::{PerTile, samples_by_tile};
use crate::scorer::TracedPrediction;
use crate::scoring::{grid_map, interpolated_map};
use crate::settings::{Check, Settings, checked, out_of_range};
use crate::training_image::fixed_size;
use crate::{Detector, Fitted, Method, MethodError, Place, Prediction, RunContext, SavedModel, Scorer};

const NAME: &str = "padim";
const NAME_WITH_FMAM: &str = "padim+fmam";

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a Gaussian of the backbone's features at each position",
    paper: "Defard et al. 2020, arXiv:2011.08785",
    in_table1: true,
    is_yardstick: false,
    min_images: 2,
    is_seeded: true,
    trial: "channels = 20",
    build: |table| padim(PadimConfig::configure(false, table)?),
    load,
};

/// PaDiM of mapped features.
pub(crate) static WITH_FMAM: MethodEntry = MethodEntry {
    name: NAME_WITH_FMAM,
    summary: "padim on whitened features, mapped as the angular margin loss trains",
    paper: "the mapping of the FMAM poster in front of a method that it compares with",
    in_table1: false,
    is_seeded: true,
    trial: "channels = 20\nmapping.epochs = 12",
    build: |table| PadimConfig::configure(true, table).and_then(padim),
    ..ENTRY
};

/// Configuration of PaDiM. Deviations from the original: the whole image instead of its centre
/// (`centre_crop`), one number of channels for every backbone, and a seed for their choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PadimConfig {
    /// Channels of all scales together that are drawn at random; all where the backbone has no
    /// more. The original takes 100 with ResNet-18 and 550 with WideResNet-50-2. Memory grows with
    /// the square.
    pub channels: usize,
    /// A number added to each variance.
    pub regularization: f64,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
    /// Side in pixels of the centre that is looked at, a multiple of the backbone's coarsest
    /// stride; the original cuts 224 from 256. Pixels around it get the lowest score of the centre,
    /// and count in pixel figures. 0 for the whole image.
    pub centre_crop: usize,
    /// The feature mapping of `padim+fmam`; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
}

impl Default for PadimConfig {
    fn default() -> Self {
        Self { channels: 100, regularization: 0.01, blur_sigma: 4.0, centre_crop: 0, mapping: None }
    }
}

impl Settings for PadimConfig {
    fn check(&self, check: &mut Check) {
        check.at_least_one("channels", self.channels);
        check.above_zero("regularization", self.regularization);
        check.blur("blur_sigma", self.blur_sigma);
        host::check(self.mapping.as_ref(), check);
    }
}

impl HostSettings for PadimConfig {
    const NAMES: [&'static str; 2] = [NAME, NAME_WITH_FMAM];

    fn mapping(&self) -> Option<&MappingConfig> {
        self.mapping.as_ref()
    }

    fn set_mapping(&mut self, mapping: Option<MappingConfig>) {
        self.mapping = mapping;
    }
}

impl PadimConfig {
    /// The centre to look at in images of `size`.
    fn crop(&self, size: ImageSize, backbone: &dyn Backbone) -> Result<Option<ImageSize>, MethodError> {
        let side = self.centre_crop;
        let stride = backbone.strides().iter().copied().max().unwrap_or(1);
        if side == 0 {
            return Ok(None);
        }
        if side > size.height.min(size.width) || !side.is_multiple_of(stride) {
            let expected = "0, or a multiple of the backbone's coarsest stride that fits into the image";
            return Err(out_of_range(self.name(), "centre_crop", expected, side));
        }
        Ok(Some(ImageSize::square(side)))
    }
}

/// The channels of the backbone that are looked at, in rising order.
fn draw_channels(backbone: &dyn Backbone, count: usize, seed: Seed) -> Vec<usize> {
    let total = backbone.channels().iter().sum();
    let mut channels = index::sample(&mut seed.derive("channels").rng(), total, count.min(total)).into_vec();
    channels.sort_unstable();
    channels
}
/// PaDiM with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn padim(config: PadimConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(config.name(), &config)?;
    Ok(Box::new(Padim { config }))
}

struct Padim {
    config: PadimConfig,
}

impl Method for Padim {
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError> {
        let mut needs = Needs::FEATURES;
        needs.fixed_positions = true;
        self.config.plan(n_images, needs)
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let crop = self.config.crop(run.image_size(), run.backbone.as_ref())?;
        if crop.is_some() && run.preparation.tile_overlap().is_some() {
            let (expected, side) = ("0 where images are cut into tiles", self.config.centre_crop);
            return Err(out_of_range(self.config.name(), "centre_crop", expected, side));
        }
        let (extractor, curve) = fitted_extractor(self.config.mapping(), train, run)?;
        let extractor = FeatureExtractor { crop, ..extractor };
        let channels = draw_channels(run.backbone.as_ref(), self.config.channels, run.seed);
        if train.is_empty() {
            return Err(MethodError::NoTrainingImages);
        }
        let fixed_size = fixed_size(train)?;
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let image = PatchEmbedding::new(features, Alignment::Nearest, Some(&channels))?;
            let cells = place.cells(image.grid);
            Ok((image, cells))
        };
        // Tile by tile, so that the sums of one are in memory at a time.
        let mut tiles = BTreeMap::new();
        for (tile, samples) in samples_by_tile(train) {
            let mut moments = PositionMoments::default();
            each_training_image(train, run, &samples, &extractor, embed, |images| moments.add(&images))?;
            tiles.insert(tile, moments.gaussians(self.config.regularization)?);
        }
        let gaussians = PerTile::new(tiles, fixed_size.is_some());
        let blur_sigma = self.config.blur_sigma;
        let normal = Gaussians { channels, gaussians, blur_sigma };
        let scorer = FeatureScorer { extractor, normal };
        let detector = Detector::fitted(self.config.name(), &self.config.resolved(train.len()), run, scorer)?
            .with_fixed_size(fixed_size);
        Ok(Fitted { detector, curve })
    }
}

struct Gaussians {
    channels: Vec<usize>,
    gaussians: PerTile<PositionGaussians>,
    blur_sigma: f64,
}

impl NormalFeatures for Gaussians {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let image = PatchEmbedding::new(features, Alignment::Nearest, Some(&self.channels))?;
        let gaussians = self.gaussians.get(place.tile)?;
        let distances = place.extended(gaussians.distances(&image)?, gaussians.grid());
        let anomaly_map = grid_map(distances, gaussians.grid(), size, self.blur_sigma)?;
        Ok(Prediction { image_score: anomaly_map.max(), anomaly_map })
    }

    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let gaussians = self.gaussians.get(0)?;
        let channels: Vec<u32> = self.channels.iter().map(|&channel| channel as u32).collect();
        let grid = gaussians.grid();
        let rows = rows_on_grid(&features.scales, grid, Alignment::Nearest, Some(&channels))?;
        let anomaly_map = interpolated_map(&gaussians.trace(&rows)?, grid, size, self.blur_sigma)?;
        Ok(Some(TracedPrediction { image_score: traced::max_all(&anomaly_map)?, anomaly_map }))
    }

    fn score_is_peak(&self) -> bool {
        true
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        let channels = self.channels.iter().map(|&channel| channel as u32).collect::<Vec<_>>();
        let mut tensors = self.gaussians.tensors(PositionGaussians::tensors)?;
        tensors.insert("channels".to_owned(), Tensor::new(channels, &Device::Cpu)?);
        Ok(tensors)
    }
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = PadimConfig::of_saved(saved)?;
    let mut extractor = saved_extractor(config.mapping(), saved)?;
    extractor.crop = config.crop(saved.card.image_size, extractor.backbone.as_ref())?;
    let normal = saved.network(NORMAL)?;
    let drawn = normal.tensor("channels", &[None])?.to_vec1::<u32>()?;
    let channels: Vec<usize> = drawn.into_iter().map(|channel| channel as usize).collect();
    let total = extractor.backbone.channels().iter().sum();
    if channels.is_empty() || channels.iter().any(|&channel| channel >= total) {
        let largest = channels.iter().copied().max().unwrap_or(0);
        return Err(normal.misshapen("channels", vec![total], vec![largest]));
    }
    let is_tiled = saved.card.fixed_size.is_some();
    let gaussians = PerTile::read(&normal, is_tiled, |tile| PositionGaussians::read(tile, channels.len()))?;
    let normal = Gaussians { channels, gaussians, blur_sigma: config.blur_sigma };
    Ok(Box::new(FeatureScorer { extractor, normal }))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::memory::fixture::Fixture;
    use crate::peers::{self, Peers};

    #[test]
    fn distances_and_maps_are_numpys() {
        let fixture = Fixture::read();
        let channels = fixture.padim.channels.clone();
        let embed = |features: &FeaturePyramid| {
            PatchEmbedding::new(features, Alignment::Nearest, Some(&channels)).unwrap()
        };
        let images: Vec<_> =
            fixture.features.train().iter().map(|features| (embed(features), None)).collect();
        let mut moments = PositionMoments::default();
        // In parts of several sizes, the first one odd.
        for part in [&images[..1], &images[1..8], &images[8..]] {
            moments.add(part).unwrap();
        }
        let gaussians = moments.gaussians(0.01).unwrap();
        for (n, features) in fixture.features.test().iter().enumerate() {
            let expected = fixture.padim.distances.image(n);
            fmam_testkit::assert_close(
                &gaussians.distances(&embed(features)).unwrap(),
                &expected,
                1e-4,
                1e-4,
            );
        }
        let gaussians = PerTile::whole(gaussians);
        let normal = Gaussians { channels: channels.clone(), gaussians, blur_sigma: 4.0 };
        fixture.check(&normal, &fixture.padim.maps, &fixture.padim.scores);
    }

    #[test]
    fn a_device_adds_up_the_same_gaussians() {
        let fixture = Fixture::read();
        let channels = fixture.padim.channels.clone();
        let embed = |features: &FeaturePyramid| {
            PatchEmbedding::new(features, Alignment::Nearest, Some(&channels)).unwrap()
        };
        let train = fixture.features.train();
        // The second image does not count everywhere.
        let images = |on_device: bool| {
            let image = |(n, features): (usize, &FeaturePyramid)| {
                let image = embed(features);
                let shape = (image.grid.pixels(), image.n_channels);
                let rows = Tensor::from_slice(&image.values, shape, &Device::Cpu).unwrap();
                let counts = (n == 1).then(|| (0..image.grid.pixels()).map(|at| at % 3 > 0).collect());
                (PatchEmbedding { on_device: on_device.then_some(rows), ..image }, counts)
            };
            train.iter().enumerate().map(image).collect::<Vec<_>>()
        };
        let distances = |on_device: bool| {
            let (images, mut moments) = (images(on_device), PositionMoments::default());
            for part in [&images[..3], &images[3..]] {
                moments.add(part).unwrap();
            }
            moments.gaussians(0.01).unwrap().distances(&embed(&fixture.features.test()[0])).unwrap()
        };
        fmam_testkit::assert_close(&distances(true), &distances(false), 1e-5, 1e-5);
    }

    #[test]
    fn maps_are_anomalibs() {
        let peers = Peers::read();
        let channels = peers.padim.channels.clone();
        let embed = |features: &FeaturePyramid| {
            PatchEmbedding::new(features, Alignment::Nearest, Some(&channels)).unwrap()
        };
        let images: Vec<_> = peers.features.train().iter().map(|features| (embed(features), None)).collect();
        let mut moments = PositionMoments::default();
        moments.add(&images).unwrap();
        // anomalib adds 1e-5 once more before it inverts.
        let gaussians = PerTile::whole(moments.gaussians(0.01 + 1e-5).unwrap());
        let normal = Gaussians { channels: channels.clone(), gaussians, blur_sigma: peers::BLUR_SIGMA };
        for (n, features) in peers.features.test().iter().enumerate() {
            let found = normal.predict(features, peers.features.size(), Place::default()).unwrap();
            let expected = peers.inner(&peers.padim.maps.image(n));
            fmam_testkit::assert_close(&peers.inner(found.anomaly_map.data()), &expected, 1e-3, 1e-3);
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        let refused = |text: &str| PadimConfig::configure(false, toml::from_str(text).unwrap()).is_err();
        for text in ["channels = 0", "regularization = 0.0", "blur_sigma = -1.0", "centre_crop = -1"] {
            assert!(refused(text), "{text}");
        }
        assert!(!refused("channels = 550\ncentre_crop = 224"));
    }
}
