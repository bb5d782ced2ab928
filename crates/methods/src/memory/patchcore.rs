//! PatchCore: a memory of normal patch features, thinned to a coreset; the anomaly map is the
//! distance to the nearest of them (Roth et al., CVPR 2022, arXiv:2106.08265). Not among the
//! paper's methods, but what is compared with today.

use candle_core::Tensor;
use fmam_core::{ImageSize, Needs, Plan, SampleSource};
use fmam_models::FeaturePyramid;
use fmam_ops::traced;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::checkpoint::Tensors;
use crate::feature_scorer::{FeatureScorer, NORMAL, NormalFeatures};
use crate::mapping::MappingConfig;
use crate::mapping::host::{self, HostSettings, fitted_extractor, saved_extractor};
use crate::memory::distance::{
    Nearest, TracedNearest, nearest_rows, squared_distance, trace_squared_distances,
};
use crate::memory::embedding::PatchEmbedding;
use crate::memory::memory_bank::{
    CoresetSampling, MemoryBank, PATCHES, embed_patches, patch_width, trace_patches,
};
use crate::memory::training_images::MemoryLimit;
use crate::scorer::TracedPrediction;
use crate::scoring::{grid_map, interpolated_map};
use crate::settings::{Check, Settings, checked};
use crate::{Detector, Fitted, Method, MethodError, Place, Prediction, RunContext, SavedModel, Scorer};

const NAME: &str = "patchcore";
const NAME_WITH_FMAM: &str = "patchcore+fmam";

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "distance to a coreset of normal patch features",
    paper: "Roth et al., CVPR 2022, arXiv:2106.08265",
    in_table1: false,
    is_yardstick: false,
    min_images: 1,
    is_seeded: true,
    trial: "",
    build: |table| patchcore(PatchCoreConfig::configure(false, table)?),
    load,
};

/// PatchCore of mapped features.
pub(crate) static WITH_FMAM: MethodEntry = MethodEntry {
    name: NAME_WITH_FMAM,
    summary: "patchcore on whitened features, mapped as the angular margin loss trains",
    paper: "the mapping of the FMAM poster in front of a method that it compares with",
    in_table1: false,
    is_seeded: true,
    trial: "mapping.epochs = 12",
    build: |table| PatchCoreConfig::configure(true, table).and_then(patchcore),
    ..ENTRY
};

/// The distance of a patch to its nearest kept one, as maps and image scores have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchDistance {
    /// The squared Euclidean distance, as the authors' code.
    Squared,
    /// The Euclidean distance, as the paper and anomalib.
    Euclidean,
}

impl PatchDistance {
    /// The distance whose square is `squared`.
    fn of(self, squared: f32) -> f32 {
        match self {
            Self::Squared => squared,
            Self::Euclidean => squared.sqrt(),
        }
    }

    fn trace(self, squared: &Tensor) -> Result<Tensor, MethodError> {
        Ok(match self {
            Self::Squared => squared.clone(),
            Self::Euclidean => traced::sqrt(squared)?,
        })
    }
}

/// Configuration of PatchCore, by default as the authors' code has it. Deviations from that code:
/// the channels of both scales as they are instead of their adaptive averages, 1 % of the patches
/// instead of 10 % (the original reports both), a blur that grows with the image. anomalib scores
/// with `distance = "euclidean"` and `neighbours = 9`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchCoreConfig {
    /// Share of the training patches that is kept.
    pub coreset_ratio: f64,
    /// Memory for the patches, and for the same in the space of the choice, until the coreset is
    /// chosen. Where they do not fit, those of as many images as do are taken, evenly spread.
    pub gallery_bytes: u64,
    /// Dimensions of the random projection in which the coreset is chosen; 0 for none, as where
    /// patches have no more.
    pub projection: usize,
    /// The distance to the nearest kept patch.
    pub distance: PatchDistance,
    /// Kept patches around the nearest one that weigh the image score (equation 7 of the paper,
    /// with Euclidean distances); 0 for no weight, as the authors' code.
    pub neighbours: usize,
    /// The finest of the backbone's scales that is looked at, 0 for all; the original leaves out
    /// the finest of three.
    pub first_scale: usize,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
    /// The feature mapping of `patchcore+fmam`; absent in the plain method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingConfig>,
}

impl Default for PatchCoreConfig {
    fn default() -> Self {
        Self {
            coreset_ratio: 0.01,
            gallery_bytes: 4 << 30,
            projection: 128,
            distance: PatchDistance::Squared,
            neighbours: 0,
            first_scale: 1,
            blur_sigma: 4.0,
            mapping: None,
        }
    }
}

impl Settings for PatchCoreConfig {
    fn check(&self, check: &mut Check) {
        let ratio = self.coreset_ratio;
        check.require("coreset_ratio", ratio > 0.0 && ratio <= 1.0, "above 0 and at most 1", ratio);
        check.blur("blur_sigma", self.blur_sigma);
        host::check(self.mapping.as_ref(), check);
    }
}

impl HostSettings for PatchCoreConfig {
    const NAMES: [&'static str; 2] = [NAME, NAME_WITH_FMAM];

    fn mapping(&self) -> Option<&MappingConfig> {
        self.mapping.as_ref()
    }

    fn set_mapping(&mut self, mapping: Option<MappingConfig>) {
        self.mapping = mapping;
    }
}

/// PatchCore with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn patchcore(config: PatchCoreConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(config.name(), &config)?;
    Ok(Box::new(PatchCore { config }))
}

struct PatchCore {
    config: PatchCoreConfig,
}

impl Method for PatchCore {
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError> {
        self.config.plan(n_images, Needs::FEATURES)
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let config = self.config.resolved(train.len());
        let limit = MemoryLimit { method: config.name(), key: "gallery_bytes", bytes: config.gallery_bytes };
        let sampling = CoresetSampling {
            first_scale: config.first_scale,
            ratio: config.coreset_ratio,
            at_least: 1,
            projection: config.projection,
            limit,
        };
        // Before the mapping is trained.
        let images = sampling.images(train.len(), run)?;
        let (extractor, curve) = fitted_extractor(config.mapping(), train, run)?;
        let normal = PatchCoreNormal {
            bank: sampling.fit((train, &images), &extractor, run)?,
            config: config.clone(),
        };
        let scorer = FeatureScorer { extractor, normal };
        Ok(Fitted { detector: Detector::fitted(config.name(), &config, run, scorer)?, curve })
    }
}

/// The kept patches, with the settings of scores.
struct PatchCoreNormal {
    config: PatchCoreConfig,
    bank: MemoryBank,
}

impl PatchCoreNormal {
    /// The largest distance of a patch that counts, weighted (equation 7): the less, the nearer the
    /// patch is to the neighbours of its nearest kept patch as well, as in a region that is rare
    /// but normal.
    fn image_score(&self, image: &PatchEmbedding, nearest: &[Nearest], place: Place<'_>) -> f32 {
        let cells = place.cells(image.grid);
        let counts = |at: usize| cells.as_ref().is_none_or(|cells| cells[at]);
        let patches = nearest.iter().zip(image.rows()).enumerate();
        let farthest = patches
            .filter_map(|(at, patch)| counts(at).then_some(patch))
            .max_by(|(a, _), (b, _)| a.squared.total_cmp(&b.squared));
        let Some((found, patch)) = farthest else { return 0.0 };
        let (score, distance) = (self.config.distance.of(found.squared), found.squared.sqrt());
        if self.config.neighbours == 0 {
            return score;
        }
        let around = nearest_rows(self.bank.patches(), self.bank.patch(found.row), self.config.neighbours);
        if around.len() < 2 {
            // The nearest kept patch has no other around it: nothing to weigh by.
            return score;
        }
        let distances = around.iter().map(|n| squared_distance(patch, self.bank.patch(n.row)).sqrt());
        // Relative to the distance itself: an infinite sum then stands for what it should, a weight
        // of 1.
        let sum: f32 = distances.map(|other| (other - distance).exp()).sum();
        (1.0 - 1.0 / sum.max(1.0)) * score
    }
}

impl PatchCoreNormal {
    /// [`PatchCoreNormal::image_score`] as a trace knows it.
    fn trace_image_score(
        &self,
        patches: &Tensor,
        nearest: &TracedNearest,
        distances: &Tensor,
    ) -> Result<Tensor, MethodError> {
        let score = traced::max_all(distances)?;
        let bank = self.bank.tensor()?.to_device(patches.device())?;
        let count = self.config.neighbours.min(bank.dim(0)?);
        if self.config.neighbours == 0 || count < 2 {
            return Ok(score);
        }
        let one_row = traced::reshape(&nearest.squared, &[1, nearest.squared.elem_count()])?;
        let place = traced::argmax(&one_row)?;
        let patch = traced::rows_at(patches, &place)?;
        let found = traced::rows_at(&bank, &traced::rows_at(&nearest.rows, &place)?)?;
        let around = traced::smallest(&trace_squared_distances(&bank, &found)?, count)?;
        let others = trace_squared_distances(&traced::rows_at(&bank, &around)?, &patch)?;
        let distance = traced::sqrt(&traced::rows_at(&nearest.squared, &place)?)?;
        let sum = traced::sum(&traced::exp(&traced::sub(&traced::sqrt(&others)?, &distance)?)?, &[0])?;
        let rest = traced::div(&Tensor::new(1.0_f32, sum.device())?, &traced::at_least(&sum, 1.0)?)?;
        Ok(traced::mul(&traced::affine(&rest, -1.0, 1.0)?, &score)?)
    }
}

impl NormalFeatures for PatchCoreNormal {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let image = embed_patches(features, self.config.first_scale)?;
        let nearest = self.bank.nearest(&image)?;
        let distances = nearest.iter().map(|nearest| self.config.distance.of(nearest.squared)).collect();
        let distances = place.extended(distances, image.grid);
        let anomaly_map = grid_map(distances, image.grid, size, self.config.blur_sigma)?;
        Ok(Prediction { image_score: self.image_score(&image, &nearest, place), anomaly_map })
    }

    fn trace(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
    ) -> Result<Option<TracedPrediction>, MethodError> {
        let (patches, grid) = trace_patches(features, self.config.first_scale)?;
        let nearest = self.bank.trace(&patches)?;
        let distances = self.config.distance.trace(&nearest.squared)?;
        let anomaly_map = interpolated_map(&distances, grid, size, self.config.blur_sigma)?;
        let image_score = self.trace_image_score(&patches, &nearest, &distances)?;
        Ok(Some(TracedPrediction { image_score, anomaly_map }))
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        Ok([(PATCHES.to_owned(), self.bank.tensor()?)].into())
    }
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = PatchCoreConfig::of_saved(saved)?;
    let extractor = saved_extractor(config.mapping(), saved)?;
    let width = patch_width(extractor.backbone.as_ref(), config.first_scale, config.name())?;
    let normal =
        PatchCoreNormal { bank: MemoryBank::read(&saved.network(NORMAL)?, width, saved.device())?, config };
    Ok(Box::new(FeatureScorer { extractor, normal }))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::memory::fixture::Fixture;
    use crate::peers::Peers;

    /// A bank of all patches of the training images.
    fn of_all(config: PatchCoreConfig, train: &[FeaturePyramid]) -> PatchCoreNormal {
        let rows = |features: &FeaturePyramid| embed_patches(features, config.first_scale).unwrap().values;
        let bank = MemoryBank::new(train.iter().flat_map(rows).collect(), 9, &Device::Cpu).unwrap();
        PatchCoreNormal { config, bank }
    }

    #[test]
    fn maps_and_scores_are_numpys() {
        let fixture = Fixture::read();
        let expected = &fixture.patchcore;
        let distance = PatchDistance::Euclidean;
        let config = PatchCoreConfig { distance, neighbours: expected.b, ..PatchCoreConfig::default() };
        let all = of_all(config.clone(), &fixture.features.train());
        let selected = expected.selected.iter().flat_map(|&row| all.bank.patch(row)).copied().collect();
        let normal = PatchCoreNormal { config, bank: MemoryBank::new(selected, 9, &Device::Cpu).unwrap() };
        fixture.check(&normal, &expected.maps, &expected.scores);
    }

    #[test]
    fn distances_and_scores_are_anomalibs() {
        let peers = Peers::read();
        let (distance, neighbours) = (PatchDistance::Euclidean, peers.patchcore.neighbours);
        let config = PatchCoreConfig { distance, neighbours, ..PatchCoreConfig::default() };
        let normal = of_all(config, &peers.features.train());
        for (n, features) in peers.features.test().iter().enumerate() {
            let nearest = normal.bank.nearest(&embed_patches(features, 1).unwrap()).unwrap();
            let distances: Vec<f32> = nearest.iter().map(|nearest| nearest.squared.sqrt()).collect();
            fmam_testkit::assert_close(&distances, &peers.patchcore.distances.image(n), 1e-3, 1e-3);
            let found = normal.predict(features, peers.features.size(), Place::default()).unwrap();
            let expected = peers.patchcore.scores.image(n);
            fmam_testkit::assert_close(&[found.image_score], &expected, 1e-3, 1e-3);
        }
        // By default the authors' score: the largest squared distance, not weighed.
        let normal = PatchCoreNormal { config: PatchCoreConfig::default(), ..normal };
        let features = &peers.features.test()[0];
        let found = normal.predict(features, peers.features.size(), Place::default()).unwrap();
        let largest = peers.patchcore.distances.image(0).into_iter().fold(0.0, f32::max);
        fmam_testkit::assert_close(&[found.image_score], &[largest * largest], 2e-3, 1e-3);
    }
}
