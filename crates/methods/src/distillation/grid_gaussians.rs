//! Gaussians of the teacher's own features at each position of each scale's grid: what a position
//! looks like in normal images, which no student can unlearn.

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, SampleSource};
use fmam_models::FeaturePyramid;
use fmam_ops::traced;
use rand::seq::index::sample;

use crate::checkpoint::{Checkpoint, Tensors};
use crate::feature_scorer::FeatureExtractor;
use crate::memory::each_training_image;
use crate::memory::embedding::{Alignment, PatchEmbedding, rows_on_grid};
use crate::memory::gaussians::{PositionGaussians, PositionMoments, triangle};
use crate::{MethodError, Place, RunContext};

/// Entries of all covariance factors of a grid, at most.
const MAX_ENTRIES: usize = 1 << 24;

/// Share of the mean variance that is added to each variance.
const RIDGE_SHARE: f64 = 0.01;

/// A Gaussian for each position and view.
#[derive(Debug)]
pub(super) struct GridGaussians {
    views: Vec<(View, PositionGaussians)>,
}

/// The channels that Gaussians look at on the grid of one scale.
#[derive(Debug)]
struct View {
    /// The scale whose grid it is.
    grid: usize,
    /// The scales that are looked at there, from the finest on.
    n_scales: usize,
    /// Places among the channels of these scales, in rising order.
    chosen: Vec<u32>,
}

/// The grid and the number of scales of each view of `n` scales: on each grid its own scale and the
/// finer ones, and all of them. On the finest grid coarser scales say nothing new.
fn views(n: usize) -> Vec<(usize, usize)> {
    let of_grid = |grid: usize| {
        let whole = (grid > 0 && grid + 1 < n).then_some((grid, n));
        std::iter::once((grid, grid + 1)).chain(whole)
    };
    (0..n).flat_map(of_grid).collect()
}

impl View {
    /// As many channels, drawn at random, as [`MAX_ENTRIES`] allows.
    fn draw(
        (index, (grid, n_scales)): (usize, (usize, usize)),
        features: &FeaturePyramid,
        run: &RunContext<'_>,
    ) -> Result<Self, MethodError> {
        let looked_at = features.scales[..n_scales].iter().map(|scale| scale.dim(1));
        let total = looked_at.sum::<Result<usize, _>>()?;
        let (_, _, height, width) = features.scales[grid].dims4()?;
        let positions = height * width;
        let count = (1..=total).rev().find(|&d| positions * triangle(d) <= MAX_ENTRIES).unwrap_or(1);
        let mut rng = run.seed.derive("gaussians").derive_index(index as u64).rng();
        let mut chosen: Vec<u32> =
            sample(&mut rng, total, count).into_iter().map(|channel| channel as u32).collect();
        chosen.sort_unstable();
        Ok(Self { grid, n_scales, chosen })
    }

    /// The vectors of image `n` on the grid, to which all scales are resampled bilinearly, corners
    /// not aligned.
    fn embed(&self, features: &FeaturePyramid, n: usize) -> Result<PatchEmbedding, MethodError> {
        let (_, _, height, width) = features.scales[self.grid].dims4()?;
        let scales = features.scales[..self.n_scales].iter().map(|scale| scale.narrow(0, n, 1));
        let (scales, grid) = (scales.collect::<Result<Vec<_>, _>>()?, ImageSize::new(height, width));
        PatchEmbedding::on_grid(&scales, grid, Alignment::Bilinear, Some(&self.chosen))
    }
}

impl GridGaussians {
    /// The Gaussians of the images of `train`; `shared_images`: see
    /// [`PositionMoments::shrunk_gaussians`].
    pub(super) fn fit(
        train: &dyn SampleSource,
        shared_images: f64,
        run: &RunContext<'_>,
    ) -> Result<Self, MethodError> {
        let extractor = FeatureExtractor::of_run(run);
        let first = train
            .image(0)
            .map_err(|error| MethodError::Sample { id: train.sample(0).id.clone(), source: error })?;
        let first = extractor.features(&first)?;
        let views = views(first.scales.len()).into_iter().enumerate();
        let views = views.map(|view| View::draw(view, &first, run)).collect::<Result<Vec<_>, _>>()?;
        let mut moments: Vec<PositionMoments> = views.iter().map(|_| PositionMoments::default()).collect();
        let all: Vec<usize> = (0..train.len()).collect();
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let embed = |view: &View| {
                let image = view.embed(features, 0)?;
                let cells = place.cells(image.grid);
                Ok((image, cells))
            };
            views.iter().map(embed).collect::<Result<Vec<_>, MethodError>>()
        };
        each_training_image(train, run, &all, &extractor, embed, |images| {
            let mut images: Vec<_> = images.into_iter().map(Vec::into_iter).collect();
            for moments in &mut moments {
                let of_view: Vec<_> = images.iter_mut().filter_map(Iterator::next).collect();
                moments.add(&of_view)?;
            }
            Ok(())
        })?;
        let fitted = views.into_iter().zip(moments);
        let fitted =
            fitted.map(|(view, moments)| Ok((view, moments.shrunk_gaussians(shared_images, RIDGE_SHARE)?)));
        Ok(Self { views: fitted.collect::<Result<_, MethodError>>()? })
    }

    /// The Mahalanobis distance at each position, `[N, H, W]` for each view, of the teacher's
    /// features of a batch, or of one image that a trace knows.
    pub(super) fn maps(&self, features: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
        if features.scales.iter().any(traced::is_known) {
            return self.trace(features);
        }
        let map = |(view, gaussians): &(View, PositionGaussians)| {
            let scale = &features.scales[view.grid];
            let (n, _, height, width) = scale.dims4()?;
            let mut distances = Vec::with_capacity(n * height * width);
            for image in 0..n {
                distances.extend(gaussians.distances(&view.embed(features, image)?)?);
            }
            Ok(Tensor::from_vec(distances, (n, height, width), scale.device())?)
        };
        self.views.iter().map(map).collect()
    }

    /// [`GridGaussians::maps`] of the traced `features` of one image.
    fn trace(&self, features: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
        let map = |(view, gaussians): &(View, PositionGaussians)| -> Result<Tensor, MethodError> {
            let (grid, scales) = (gaussians.grid(), &features.scales[..view.n_scales]);
            let rows = rows_on_grid(scales, grid, Alignment::Bilinear, Some(&view.chosen))?;
            Ok(traced::reshape(&gaussians.trace(&rows)?, &[1, grid.height, grid.width])?)
        };
        self.views.iter().map(map).collect()
    }

    /// A name of each view, for a backbone of `strides`.
    pub(super) fn names(&self, strides: &[usize]) -> Vec<String> {
        let name = |(view, _): &(View, PositionGaussians)| {
            format!("Gaussians of {} scales at stride {}", view.n_scales, strides[view.grid])
        };
        self.views.iter().map(name).collect()
    }

    /// The tensors that [`GridGaussians::read`] takes.
    pub(super) fn tensors(&self) -> Result<Tensors, MethodError> {
        let mut tensors = Tensors::new();
        for (index, (view, gaussians)) in self.views.iter().enumerate() {
            let name = |part: &str| format!("gaussians.{index}.{part}");
            tensors.insert(name("channels"), Tensor::new(view.chosen.as_slice(), &Device::Cpu)?);
            let of_view = gaussians.tensors()?.into_iter();
            tensors.extend(of_view.map(|(key, tensor)| (name(&key), tensor)));
        }
        Ok(tensors)
    }

    /// The saved Gaussians of a backbone whose scales have `n_channels`.
    pub(super) fn read(saved: &Checkpoint, n_channels: &[usize]) -> Result<Self, MethodError> {
        let view = |(index, (grid, n_scales)): (usize, (usize, usize))| {
            let prefix = format!("gaussians.{index}.");
            let key = format!("{prefix}channels");
            let chosen = saved.tensor(&key, &[None])?.to_vec1::<u32>()?;
            let total: usize = n_channels[..n_scales].iter().sum();
            if let Some(&channel) = chosen.iter().find(|&&channel| channel as usize >= total) {
                return Err(saved.misshapen(&key, vec![total], vec![channel as usize]));
            }
            let of_view = saved
                .tensors
                .iter()
                .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor.clone())));
            let of_view = Checkpoint::new(of_view.collect::<Tensors>(), saved.origin());
            let gaussians = PositionGaussians::read(&of_view, chosen.len())?;
            Ok((View { grid, n_scales, chosen }, gaussians))
        };
        let views = views(n_channels.len()).into_iter().enumerate();
        Ok(Self { views: views.map(view).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grid_is_seen_with_the_finer_scales_and_with_all() {
        assert_eq!(views(1), [(0, 1)]);
        assert_eq!(views(2), [(0, 1), (1, 2)]);
        assert_eq!(views(3), [(0, 1), (1, 2), (1, 3), (2, 3)]);
    }
}
