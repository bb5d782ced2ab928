//! The patch features of normal images, thinned to a coreset, and the distance to the nearest kept
//! one: the memory of PatchCore.

use candle_core::{Device, Tensor};
use faer::MatRef;
use fmam_core::{ImageSize, SampleSource, Seed, StageId};
use fmam_models::{Backbone, FeaturePyramid, Init, ModelError};
use fmam_ops::{k_centres, nearest_rows};
use rand::Rng;
use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::feature_scorer::FeatureExtractor;
use crate::memory::coreset::greedy_k_centres;
use crate::memory::distance::{Nearest, TracedNearest};
use crate::memory::embedding::{
    Alignment, PatchEmbedding, neighbourhood_mean, neighbourhood_mean_on_device, rows_on_grid,
};
use crate::memory::nearest::{Basis, Rotated, mapped};
use crate::memory::training_images::{MemoryLimit, each_training_image};
use crate::sample_features::spread;
use crate::settings::out_of_range;
use crate::{MethodError, Place, RunContext};

/// Name of the tensor of kept patches. Those of the time when positions beyond the border did not
/// count are called otherwise: such a detector must be fitted anew.
pub(crate) const PATCHES: &str = "padded-patches";

/// Patches that the axes are computed from in which the coreset is chosen.
const AXES_PATCHES: usize = 16384;

/// Patches that are turned to these axes in one product.
const TURNED_TOGETHER: usize = 1024;

/// Features of the patches of one image: the scales from `first_scale` on, each averaged over
/// neighbours, on the grid of the first of them.
///
/// # Errors
/// The errors of the device, [`MethodError::UndefinedFeatures`].
pub(crate) fn embed_patches(
    features: &FeaturePyramid,
    first_scale: usize,
) -> Result<PatchEmbedding, MethodError> {
    let scales = features.scales[first_scale..].iter().map(neighbourhood_mean);
    let scales = FeaturePyramid { scales: scales.collect::<Result<_, _>>()? };
    PatchEmbedding::new(&scales, Alignment::Bilinear, None)
}

/// The patches of traced `features`, `[positions, width]`, and their grid.
pub(crate) fn trace_patches(
    features: &FeaturePyramid,
    first_scale: usize,
) -> Result<(Tensor, ImageSize), MethodError> {
    let scales = features.scales[first_scale..].iter().map(neighbourhood_mean_on_device);
    let scales = scales.collect::<Result<Vec<_>, _>>()?;
    let (_, _, height, width) = scales.first().ok_or(ModelError::EmptyBatch)?.dims4()?;
    let grid = ImageSize::new(height, width);
    Ok((rows_on_grid(&scales, grid, Alignment::Bilinear, None)?, grid))
}

/// Values of such a patch of `backbone`.
///
/// # Errors
/// [`MethodError::ConfigValue`] in the name of `method` where the backbone has no such scale.
pub(crate) fn patch_width(
    backbone: &dyn Backbone,
    first_scale: usize,
    method: &'static str,
) -> Result<usize, MethodError> {
    match backbone.channels().get(first_scale..) {
        Some(channels @ [_, ..]) => Ok(channels.iter().sum()),
        _ => {
            let expected = "one of the backbone's scales, counted from 0";
            Err(out_of_range(method, "first_scale", expected, first_scale))
        }
    }
}

/// The choice of the patches that a memory bank keeps.
pub(crate) struct CoresetSampling {
    pub(crate) first_scale: usize,
    /// Share of the training patches that is kept.
    pub(crate) ratio: f64,
    /// Patches that are kept, at least, of as many as there are.
    pub(crate) at_least: usize,
    /// Dimensions of the random projection in which the coreset is chosen; 0 for none.
    pub(crate) projection: usize,
    /// Memory for all patches, and for the same in the space of the choice.
    pub(crate) limit: MemoryLimit,
}

impl CoresetSampling {
    /// The indices of the training images whose patches are gathered, of `n`, for the features of
    /// `run`: all of them where they fit into the memory.
    ///
    /// # Errors
    /// [`MethodError::ConfigValue`] for settings out of range. Callers train only afterwards, so
    /// that no training is lost.
    pub(crate) fn images(&self, n: usize, run: &RunContext<'_>) -> Result<Vec<usize>, MethodError> {
        let width = patch_width(run.backbone.as_ref(), self.first_scale, self.limit.method)?;
        let space_width = if Projection::shrinks(width, self.projection) { self.projection } else { width };
        let positions = run.image_size().pixels() / run.backbone.strides()[self.first_scale].pow(2);
        let image_bytes = positions * (width + space_width) * size_of::<f32>();
        self.limit.images(image_bytes, n)
    }

    /// The kept patches of the images of `train` that [`CoresetSampling::images`] chose, by
    /// `extractor`.
    ///
    /// # Errors
    /// [`MethodError::ConfigValue`] for a scale that the backbone lacks, and the errors of
    /// [`each_training_image`].
    pub(crate) fn fit(
        &self,
        (train, images): (&dyn SampleSource, &[usize]),
        extractor: &FeatureExtractor,
        run: &RunContext<'_>,
    ) -> Result<MemoryBank, MethodError> {
        let width = patch_width(run.backbone.as_ref(), self.first_scale, self.limit.method)?;
        let projection = Projection::new(width, self.projection, run.seed);
        let space_width = projection.as_ref().map_or(width, |projection| projection.width);
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let rows = embed_patches(features, self.first_scale)?.values_at(place);
            let projected = projection.as_ref().map_or_else(|| rows.clone(), |p| p.apply(&rows));
            Ok((rows, projected))
        };
        // Patches, and the same in the space where the coreset is chosen.
        let (mut patches, mut space) = (Vec::new(), Vec::new());
        each_training_image(train, run, images, extractor, embed, |embedded| {
            for (rows, projected) in embedded {
                if patches.is_empty() {
                    // Without this, vectors that grow would take twice the memory for a moment.
                    patches.reserve_exact(rows.len() * images.len());
                    space.reserve_exact(projected.len() * images.len());
                }
                patches.extend(rows);
                space.extend(projected);
            }
            Ok(())
        })?;
        let n = patches.len() / width;
        let count = ((n as f64 * self.ratio).ceil() as usize).max(self.at_least).clamp(1, n);
        let start = run.seed.derive("coreset").rng().random_range(0..n);
        run.progress.start(&StageId::new("coreset"), count as u64);
        let tick = |picked: usize| {
            run.progress.update(picked as u64, "");
            if run.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
        };
        let chosen = if extractor.device.is_cpu() {
            turn_to_principal_axes(&mut space, space_width)?;
            greedy_k_centres(&space, space_width, count, start, tick)?
        } else {
            let space = Tensor::from_slice(&space, (n, space_width), &extractor.device)?;
            k_centres(&space, start, count, tick)?.into_iter().map(|row| row as usize).collect()
        };
        run.progress.finish();
        drop(space);
        let kept = chosen.iter().flat_map(|&row| &patches[row * width..(row + 1) * width]).copied().collect();
        drop(patches);
        MemoryBank::new(kept, width, &extractor.device)
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
        Self::shrinks(input, output).then(|| Self { matrix: matrix(), width: output })
    }

    /// True if `output` values are fewer than `input`, and some.
    fn shrinks(input: usize, output: usize) -> bool {
        (1..input).contains(&output)
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

/// The kept patches of normal images.
pub(crate) struct MemoryBank {
    /// One a row.
    patches: Vec<f32>,
    basis: Basis,
    rotated: Rotated,
    /// The patches on the GPU that finds the nearest of them, `[patches, width]`.
    on_device: Option<Tensor>,
}

impl MemoryBank {
    /// Of the patches in rows of `width` values, to be compared with those that `device` computes.
    pub(crate) fn new(patches: Vec<f32>, width: usize, device: &Device) -> Result<Self, MethodError> {
        let basis = Basis::of_rows(&patches, width)?;
        let rotated = basis.rotate(&patches);
        let upload = || Tensor::from_slice(&patches, (patches.len() / width, width), device);
        let on_device = (!device.is_cpu()).then(upload).transpose()?;
        Ok(Self { patches, basis, rotated, on_device })
    }

    /// The saved patches of `width` values.
    pub(crate) fn read(saved: &Checkpoint, width: usize, device: &Device) -> Result<Self, MethodError> {
        Self::new(saved.tensor(PATCHES, &[None, Some(width)])?.flatten_all()?.to_vec1()?, width, device)
    }

    /// The tensor [`PATCHES`] that [`MemoryBank::read`] takes.
    pub(crate) fn tensor(&self) -> Result<Tensor, MethodError> {
        let width = self.basis.width();
        let shape = (self.patches.len() / width, width);
        Ok(Tensor::from_slice(&self.patches, shape, &Device::Cpu)?)
    }

    /// All kept patches, one a row.
    pub(crate) fn patches(&self) -> &[f32] {
        &self.patches
    }

    /// One of them.
    pub(crate) fn patch(&self, row: usize) -> &[f32] {
        let width = self.basis.width();
        &self.patches[row * width..(row + 1) * width]
    }

    /// The nearest kept patch of each patch of an image.
    ///
    /// # Errors
    /// As [`Nearest::check`].
    pub(crate) fn nearest(&self, image: &PatchEmbedding) -> Result<Vec<Nearest>, MethodError> {
        let best = match (&image.on_device, &self.on_device) {
            (Some(queries), Some(patches)) => {
                let (squared, rows) = nearest_rows(queries, patches)?;
                Nearest::of_device(&squared, &rows)?
            }
            _ => {
                let mut best = vec![Nearest::NONE; image.grid.pixels()];
                self.basis.improve(&self.basis.rotate(&image.values), &self.rotated, 0, &mut best);
                best
            }
        };
        Nearest::check(&best)?;
        Ok(best)
    }

    /// [`MemoryBank::nearest`] of traced `rows`, `[positions, width]`.
    pub(crate) fn trace(&self, rows: &Tensor) -> Result<TracedNearest, MethodError> {
        TracedNearest::of(rows, &self.tensor()?.to_device(rows.device())?)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::memory::distance::squared_distance;
    use crate::memory::fixture::Fixture;

    #[test]
    fn coreset_and_distances_are_numpys() {
        let fixture = Fixture::read();
        let expected = &fixture.patchcore;
        let rows = |features: &FeaturePyramid| embed_patches(features, 1).unwrap().values;
        let patches: Vec<f32> = fixture.features.train().iter().flat_map(rows).collect();
        let projection = Projection { matrix: expected.projection.values(), width: 4 };
        let projected = projection.apply(&patches);
        let count = expected.selected.len();
        let selected =
            greedy_k_centres(&projected, 4, count, expected.start, |_| Ok::<_, Infallible>(())).unwrap();
        assert_eq!(selected, expected.selected);
        let space = Tensor::from_slice(&projected, (projected.len() / 4, 4), &Device::Cpu).unwrap();
        let picks = k_centres(&space, expected.start, count, |_| Ok::<_, MethodError>(())).unwrap();
        assert_eq!(picks.into_iter().map(|row| row as usize).collect::<Vec<_>>(), selected);

        let bank = selected.iter().flat_map(|&row| &patches[row * 9..(row + 1) * 9]).copied().collect();
        let bank = MemoryBank::new(bank, 9, &Device::Cpu).unwrap();
        for (n, features) in fixture.features.test().iter().enumerate() {
            let nearest = bank.nearest(&embed_patches(features, 1).unwrap()).unwrap();
            let distances: Vec<f32> = nearest.iter().map(|nearest| nearest.squared.sqrt()).collect();
            fmam_testkit::assert_close(&distances, &expected.distances.image(n), 1e-4, 1e-4);
            // As on a GPU.
            let image = embed_patches(features, 1).unwrap();
            let queries = Tensor::from_slice(&image.values, (image.grid.pixels(), 9), &Device::Cpu).unwrap();
            let patches = Tensor::from_slice(bank.patches(), (selected.len(), 9), &Device::Cpu).unwrap();
            let on_device = MemoryBank {
                on_device: Some(patches),
                ..MemoryBank::new(bank.patches.clone(), 9, &Device::Cpu).unwrap()
            };
            let found = on_device.nearest(&PatchEmbedding { on_device: Some(queries), ..image }).unwrap();
            let found: Vec<f32> = found.iter().map(|nearest| nearest.squared.sqrt()).collect();
            fmam_testkit::assert_close(&found, &distances, 1e-4, 1e-4);
        }
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
    fn values_too_large_for_squares_are_an_error() {
        let fixture = Fixture::read();
        let bank = MemoryBank::new(vec![1e30; 2 * 9], 9, &Device::Cpu);
        let embedded = embed_patches(&fixture.features.test()[0], 1).unwrap();
        assert!(bank.and_then(|bank| bank.nearest(&embedded)).is_err());
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
