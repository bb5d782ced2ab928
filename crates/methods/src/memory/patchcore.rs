//! PatchCore: a memory of normal patch features, thinned to a coreset; the anomaly map is the
//! distance to the nearest of them (Roth et al., CVPR 2022, arXiv:2106.08265). Not among the
//! paper's methods, but what is compared with today.

use candle_core::{Device, Tensor};
use faer::MatRef;
use fmam_core::{ImageSize, Needs, Plan, SampleSource, Seed, StageId};
use fmam_models::{Backbone, FeaturePyramid, Init};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::checkpoint::Tensors;
use crate::feature_scorer::{FeatureScorer, NORMAL, NormalFeatures};
use crate::mapping::MappingConfig;
use crate::mapping::host::{self, HostSettings, fitted_extractor, saved_extractor};
use crate::memory::coreset::greedy_k_centres;
use crate::memory::distance::{Nearest, nearest_rows, squared_distance};
use crate::memory::embedding::{Alignment, PatchEmbedding, neighbourhood_mean};
use crate::memory::nearest::{Basis, Rotated, mapped};
use crate::memory::training_images::{MemoryLimit, each_training_image};
use crate::sample_features::spread;
use crate::scoring::grid_map;
use crate::settings::{Check, Settings, checked, out_of_range};
use crate::{Detector, Fitted, Method, MethodError, Place, Prediction, RunContext, SavedModel, Scorer};

const NAME: &str = "patchcore";
const NAME_WITH_FMAM: &str = "patchcore+fmam";

/// Name of the tensor of kept patches. Those of the time when positions beyond the border did not
/// count are called otherwise: such a detector must be fitted anew.
const PATCHES: &str = "padded-patches";

/// Patches that the axes are computed from in which the coreset is chosen.
const AXES_PATCHES: usize = 16384;

/// Patches that are turned to these axes in one product.
const TURNED_TOGETHER: usize = 1024;

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

impl PatchCoreConfig {
    /// Features of the patches of one image.
    fn embed(&self, features: &FeaturePyramid) -> Result<PatchEmbedding, MethodError> {
        let scales = features.scales[self.first_scale..].iter().map(neighbourhood_mean);
        let scales = FeaturePyramid { scales: scales.collect::<Result<_, _>>()? };
        PatchEmbedding::new(&scales, Alignment::Bilinear, None)
    }

    /// Values of a patch of `backbone`.
    fn width(&self, backbone: &dyn Backbone) -> Result<usize, MethodError> {
        match backbone.channels().get(self.first_scale..) {
            Some(channels @ [_, ..]) => Ok(channels.iter().sum()),
            _ => {
                let expected = "one of the backbone's scales, counted from 0";
                Err(out_of_range(self.name(), "first_scale", expected, self.first_scale))
            }
        }
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
        let width = config.width(run.backbone.as_ref())?;
        let projection = Projection::new(width, config.projection, run.seed);
        let space_width = projection.as_ref().map_or(width, |projection| projection.width);
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let rows = config.embed(features)?.values_at(place);
            let projected = projection.as_ref().map_or_else(|| rows.clone(), |p| p.apply(&rows));
            Ok((rows, projected))
        };
        // Patches, and the same in the space where the coreset is chosen.
        let (mut patches, mut space) = (Vec::new(), Vec::new());
        let positions = run.image_size().pixels() / run.backbone.strides()[config.first_scale].pow(2);
        let image_bytes = positions * (width + space_width) * size_of::<f32>();
        let limit = MemoryLimit { method: config.name(), key: "gallery_bytes", bytes: config.gallery_bytes };
        let images = limit.images(image_bytes, train.len())?;
        let (extractor, curve) = fitted_extractor(config.mapping(), train, run)?;
        each_training_image(train, run, &images, &extractor, embed, |embedded| {
            for (rows, projected) in embedded {
                if patches.is_empty() {
                    // All images have as many: no doubling, which would take twice the memory for a
                    // moment.
                    patches.reserve_exact(rows.len() * images.len());
                    space.reserve_exact(projected.len() * images.len());
                }
                patches.extend(rows);
                space.extend(projected);
            }
            Ok(())
        })?;
        turn_to_principal_axes(&mut space, space_width)?;
        let n = patches.len() / width;
        let count = ((n as f64 * config.coreset_ratio).ceil() as usize).clamp(1, n);
        let start = run.seed.derive("coreset").rng().random_range(0..n);
        run.progress.start(&StageId::new("coreset"), count as u64);
        let chosen = greedy_k_centres(&space, space_width, count, start, |picked| {
            run.progress.update(picked as u64, "");
            if run.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
        })?;
        run.progress.finish();
        drop(space);
        let bank = chosen.iter().flat_map(|&row| &patches[row * width..(row + 1) * width]).copied().collect();
        drop(patches);
        let normal = MemoryBank::new(config.clone(), bank, width)?;
        let scorer = FeatureScorer { extractor, normal };
        Ok(Fitted { detector: Detector::fitted(config.name(), &config, run, scorer)?, curve })
    }
}

/// A random linear map to fewer dimensions, which keeps distances in expectation (Johnson and
/// Lindenstrauss).
struct Projection {
    /// Rows of values in, columns of values out.
    matrix: Vec<f32>,
    width: usize,
}

impl Projection {
    /// From `input` values to `output`; `None` where that would not be fewer.
    fn new(input: usize, output: usize, seed: Seed) -> Option<Self> {
        let init = Init::Normal { std: 1.0 / (output as f64).sqrt() };
        let matrix = || init.draw(seed.derive("projection"), input * output);
        (1..input).contains(&output).then(|| Self { matrix: matrix(), width: output })
    }

    fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let input = self.matrix.len() / self.width;
        mapped(rows, MatRef::from_row_major_slice(&self.matrix, input, self.width))
    }
}

/// Turns vectors so that their first coordinates differ most. Distances stay what they are, up to
/// rounding.
fn turn_to_principal_axes(rows: &mut [f32], width: usize) -> Result<(), MethodError> {
    let n = rows.len() / width;
    let some = spread(n, AXES_PATCHES).into_iter().flat_map(|row| &rows[row * width..(row + 1) * width]);
    let basis = Basis::of_rows(&some.copied().collect::<Vec<_>>(), width)?;
    rows.par_chunks_mut(TURNED_TOGETHER * width).for_each(|rows| {
        let turned = basis.rotate(rows).into_values();
        rows.copy_from_slice(&turned);
    });
    Ok(())
}

/// The kept patches.
struct MemoryBank {
    config: PatchCoreConfig,
    /// One a row.
    patches: Vec<f32>,
    basis: Basis,
    rotated: Rotated,
}

impl MemoryBank {
    fn new(config: PatchCoreConfig, patches: Vec<f32>, width: usize) -> Result<Self, MethodError> {
        let basis = Basis::of_rows(&patches, width)?;
        let rotated = basis.rotate(&patches);
        Ok(Self { config, patches, basis, rotated })
    }

    fn patch(&self, row: usize) -> &[f32] {
        let width = self.basis.width();
        &self.patches[row * width..(row + 1) * width]
    }

    /// The nearest kept patch of each patch of an image.
    fn nearest(&self, image: &PatchEmbedding) -> Result<Vec<Nearest>, MethodError> {
        let mut best = vec![Nearest::NONE; image.grid.pixels()];
        self.basis.improve(&self.basis.rotate(&image.values), &self.rotated, 0, &mut best);
        Nearest::check(&best)?;
        Ok(best)
    }

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
        let around = nearest_rows(&self.patches, self.patch(found.row), self.config.neighbours);
        if around.len() < 2 {
            // The nearest kept patch has no other around it: nothing to weigh by.
            return score;
        }
        let distances = around.iter().map(|n| squared_distance(patch, self.patch(n.row)).sqrt());
        // Relative to the distance itself: an infinite sum then stands for what it should, a weight
        // of 1.
        let sum: f32 = distances.map(|other| (other - distance).exp()).sum();
        (1.0 - 1.0 / sum.max(1.0)) * score
    }
}

impl NormalFeatures for MemoryBank {
    fn predict(
        &self,
        features: &FeaturePyramid,
        size: ImageSize,
        place: Place<'_>,
    ) -> Result<Prediction, MethodError> {
        let image = self.config.embed(features)?;
        let nearest = self.nearest(&image)?;
        let distances = nearest.iter().map(|nearest| self.config.distance.of(nearest.squared)).collect();
        let distances = place.extended(distances, image.grid);
        let anomaly_map = grid_map(distances, image.grid, size, self.config.blur_sigma)?;
        Ok(Prediction { image_score: self.image_score(&image, &nearest, place), anomaly_map })
    }

    fn tensors(&self) -> Result<Tensors, MethodError> {
        let width = self.basis.width();
        let shape = (self.patches.len() / width, width);
        Ok([(PATCHES.to_owned(), Tensor::from_slice(&self.patches, shape, &Device::Cpu)?)].into())
    }
}

fn load(saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let config = PatchCoreConfig::of_saved(saved)?;
    let extractor = saved_extractor(config.mapping(), saved)?;
    let width = config.width(extractor.backbone.as_ref())?;
    let normal = saved.network(NORMAL)?;
    let patches = normal.tensor(PATCHES, &[None, Some(width)])?.flatten_all()?.to_vec1()?;
    let normal = MemoryBank::new(config, patches, width)?;
    Ok(Box::new(FeatureScorer { extractor, normal }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::fixture::Fixture;
    use crate::peers::Peers;

    #[test]
    fn coreset_distances_and_scores_are_numpys() {
        let fixture = Fixture::read();
        let expected = &fixture.patchcore;
        let distance = PatchDistance::Euclidean;
        let config = PatchCoreConfig { distance, neighbours: expected.b, ..PatchCoreConfig::default() };
        let rows = |features: &FeaturePyramid| config.embed(features).unwrap().values;
        let patches: Vec<f32> = fixture.features.train().iter().flat_map(rows).collect();
        let projection = Projection { matrix: expected.projection.values(), width: 4 };
        let projected = projection.apply(&patches);
        let pick = |_| Ok::<(), MethodError>(());
        let selected =
            greedy_k_centres(&projected, 4, expected.selected.len(), expected.start, pick).unwrap();
        assert_eq!(selected, expected.selected);

        let bank = selected.iter().flat_map(|&row| &patches[row * 9..(row + 1) * 9]).copied().collect();
        let bank = MemoryBank::new(config.clone(), bank, 9).unwrap();
        for (n, features) in fixture.features.test().iter().enumerate() {
            let nearest = bank.nearest(&config.embed(features).unwrap()).unwrap();
            let distances: Vec<f32> = nearest.iter().map(|nearest| nearest.squared.sqrt()).collect();
            fmam_testkit::assert_close(&distances, &expected.distances.image(n), 1e-4, 1e-4);
        }
        fixture.check(&bank, &expected.maps, &expected.scores);
    }

    #[test]
    fn distances_and_scores_are_anomalibs() {
        let peers = Peers::read();
        let (distance, neighbours) = (PatchDistance::Euclidean, peers.patchcore.neighbours);
        let config = PatchCoreConfig { distance, neighbours, ..PatchCoreConfig::default() };
        let rows = |features: &FeaturePyramid| config.embed(features).unwrap().values;
        let bank = peers.features.train().iter().flat_map(rows).collect();
        let bank = MemoryBank::new(config.clone(), bank, 9).unwrap();
        for (n, features) in peers.features.test().iter().enumerate() {
            let nearest = bank.nearest(&config.embed(features).unwrap()).unwrap();
            let distances: Vec<f32> = nearest.iter().map(|nearest| nearest.squared.sqrt()).collect();
            fmam_testkit::assert_close(&distances, &peers.patchcore.distances.image(n), 1e-3, 1e-3);
            let found = bank.predict(features, peers.features.size(), Place::default()).unwrap();
            let expected = peers.patchcore.scores.image(n);
            fmam_testkit::assert_close(&[found.image_score], &expected, 1e-3, 1e-3);
        }
        // By default the authors' score: the largest squared distance, not weighed.
        let bank = MemoryBank::new(PatchCoreConfig::default(), bank.patches, 9).unwrap();
        let features = &peers.features.test()[0];
        let found = bank.predict(features, peers.features.size(), Place::default()).unwrap();
        let largest = peers.patchcore.distances.image(0).into_iter().fold(0.0, f32::max);
        fmam_testkit::assert_close(&[found.image_score], &[largest * largest], 2e-3, 1e-3);
    }

    #[test]
    fn turning_keeps_distances_and_orders_coordinates() {
        let mut rng = Seed::new(2).rng();
        let (n, width) = (2 * TURNED_TOGETHER + 3, 20);
        let rows: Vec<f32> = (0..n * width).map(|k| rng.random::<f32>() * (1 + k % width) as f32).collect();
        let mut turned = rows.clone();
        turn_to_principal_axes(&mut turned, width).unwrap();
        let row = |rows: &[f32], k: usize| rows[k * width..(k + 1) * width].to_vec();
        for k in [1, 500, TURNED_TOGETHER, n - 1] {
            let before = squared_distance(&row(&rows, 0), &row(&rows, k));
            let after = squared_distance(&row(&turned, 0), &row(&turned, k));
            assert!((after / before - 1.0).abs() < 1e-4, "{before} to {after}");
        }
        let extent = |k: usize| turned.iter().skip(k).step_by(width).map(|v| v * v).sum::<f32>();
        assert!(extent(0) > 2.0 * extent(width - 1));
    }

    #[test]
    fn a_bank_of_values_too_large_for_squares_is_an_error() {
        let fixture = Fixture::read();
        let bank = MemoryBank::new(PatchCoreConfig::default(), vec![1e30; 2 * 9], 9);
        let predicted = bank.and_then(|bank| {
            bank.predict(&fixture.features.test()[0], ImageSize::square(64), Place::default())
        });
        assert!(predicted.is_err());
    }

    #[test]
    fn a_projection_keeps_distances_about_as_they_are() {
        let rows: Vec<f32> = (0..2 * 400).map(|k| ((k * 37) % 101) as f32 / 50.0).collect();
        let projected = Projection::new(400, 200, Seed::new(1)).unwrap().apply(&rows);
        let before = squared_distance(&rows[..400], &rows[400..]);
        let after = squared_distance(&projected[..200], &projected[200..]);
        assert!((after / before - 1.0).abs() < 0.3, "{before} to {after}");
        assert!(Projection::new(8, 8, Seed::new(1)).is_none());
        assert!(Projection::new(8, 0, Seed::new(1)).is_none());
    }
}
