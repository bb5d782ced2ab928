//! Gaussians of the teacher's own features at each position of each scale's grid: what a position
//! looks like in normal images, which no student can unlearn.

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, SampleSource};
use fmam_models::FeaturePyramid;
use rand::seq::index;

use crate::checkpoint::{Checkpoint, Tensors};
use crate::feature_scorer::FeatureExtractor;
use crate::memory::each_training_image;
use crate::memory::embedding::PatchEmbedding;
use crate::memory::gaussians::{PositionGaussians, PositionMoments, triangle};
use crate::{MethodError, Place, RunContext};

/// Entries of all covariance factors of a grid, at most.
const MAX_ENTRIES: usize = 1 << 24;

/// Share of the mean variance that is added to each variance.
const RIDGE_SHARE: f64 = 0.01;

/// The Gaussians of one grid per scale.
#[derive(Debug)]
pub(super) struct GridGaussians {
    grids: Vec<(Channels, PositionGaussians)>,
}

/// The channels that the Gaussians of a grid look at.
#[derive(Debug)]
struct Channels {
    /// The scale whose grid it is.
    scale: usize,
    /// Places among the channels of the scales looked at, in rising order.
    chosen: Vec<u32>,
}

impl Channels {
    /// As many channels, drawn at random, as [`MAX_ENTRIES`] allows.
    fn draw(scale: usize, features: &FeaturePyramid, run: &RunContext<'_>) -> Result<Self, MethodError> {
        let looked_at = scales(scale, features).iter().map(|scale| scale.dim(1));
        let total = looked_at.sum::<Result<usize, _>>()?;
        let (_, _, height, width) = features.scales[scale].dims4()?;
        let positions = height * width;
        let count = (1..=total).rev().find(|&d| positions * triangle(d) <= MAX_ENTRIES).unwrap_or(1);
        let mut rng = run.seed.derive("gaussians").derive_index(scale as u64).rng();
        let mut chosen: Vec<u32> =
            index::sample(&mut rng, total, count).into_iter().map(|channel| channel as u32).collect();
        chosen.sort_unstable();
        Ok(Self { scale, chosen })
    }

    /// The vectors of image `n` on the grid: those of all scales, brought to the grid as areas. On
    /// the finest grid those of its own scale, since coarser ones say nothing new there.
    fn embed(&self, features: &FeaturePyramid, n: usize) -> Result<PatchEmbedding, MethodError> {
        let (_, _, height, width) = features.scales[self.scale].dims4()?;
        let mut parts = Vec::new();
        for scale in scales(self.scale, features) {
            let scale = scale.narrow(0, n, 1)?.detach();
            parts.push(fmam_ops::upsample_bilinear(&scale, height, width, false)?);
        }
        let all = Tensor::cat(&parts, 1)?;
        let chosen = Tensor::new(self.chosen.as_slice(), all.device())?;
        let rows = all.index_select(&chosen, 1)?.permute((0, 2, 3, 1))?;
        let values: Vec<f32> = rows.flatten_all()?.to_vec1()?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(MethodError::UndefinedFeatures);
        }
        Ok(PatchEmbedding { grid: ImageSize::new(height, width), n_channels: self.chosen.len(), values })
    }
}

/// The scales that the Gaussians on the grid of `scale` look at.
fn scales(scale: usize, features: &FeaturePyramid) -> &[Tensor] {
    if scale == 0 { &features.scales[..1] } else { &features.scales }
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
        let channels = (0..first.scales.len()).map(|scale| Channels::draw(scale, &first, run));
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        let mut moments: Vec<PositionMoments> = channels.iter().map(|_| PositionMoments::default()).collect();
        let all: Vec<usize> = (0..train.len()).collect();
        let embed = |features: &FeaturePyramid, place: Place<'_>| {
            let embed = |channels: &Channels| {
                let image = channels.embed(features, 0)?;
                let cells = place.cells(image.grid);
                Ok((image, cells))
            };
            channels.iter().map(embed).collect::<Result<Vec<_>, MethodError>>()
        };
        each_training_image(train, run, &all, &extractor, embed, |images| {
            let mut images: Vec<_> = images.into_iter().map(Vec::into_iter).collect();
            for moments in &mut moments {
                let of_grid: Vec<_> = images.iter_mut().filter_map(Iterator::next).collect();
                moments.add(&of_grid);
            }
            Ok(())
        })?;
        let fitted = channels.into_iter().zip(&moments);
        let fitted = fitted
            .map(|(channels, moments)| Ok((channels, moments.shrunk_gaussians(shared_images, RIDGE_SHARE)?)));
        Ok(Self { grids: fitted.collect::<Result<_, MethodError>>()? })
    }

    /// The Mahalanobis distance at each position, `[N, H, W]` for each grid, of the teacher's
    /// features of a batch.
    pub(super) fn maps(&self, features: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
        let map = |(channels, gaussians): &(Channels, PositionGaussians)| {
            let scale = &features.scales[channels.scale];
            let (n, _, height, width) = scale.dims4()?;
            let mut distances = Vec::with_capacity(n * height * width);
            for image in 0..n {
                distances.extend(gaussians.distances(&channels.embed(features, image)?)?);
            }
            Ok(Tensor::from_vec(distances, (n, height, width), scale.device())?)
        };
        self.grids.iter().map(map).collect()
    }

    /// The tensors that [`GridGaussians::read`] takes.
    pub(super) fn tensors(&self) -> Result<Tensors, MethodError> {
        let mut tensors = Tensors::new();
        for (channels, gaussians) in &self.grids {
            let name = |part: &str| format!("gaussians.{}.{part}", channels.scale);
            tensors.insert(name("channels"), Tensor::new(channels.chosen.as_slice(), &Device::Cpu)?);
            let of_grid = gaussians.tensors()?.into_iter();
            tensors.extend(of_grid.map(|(key, tensor)| (name(&key), tensor)));
        }
        Ok(tensors)
    }

    /// The saved Gaussians of a backbone whose scales have `n_channels`.
    pub(super) fn read(saved: &Checkpoint, n_channels: &[usize]) -> Result<Self, MethodError> {
        let grid = |scale: usize| {
            let prefix = format!("gaussians.{scale}.");
            let key = format!("{prefix}channels");
            let chosen = saved.tensor(&key, &[None])?.to_vec1::<u32>()?;
            let total: usize = if scale == 0 { n_channels[0] } else { n_channels.iter().sum() };
            if let Some(&channel) = chosen.iter().find(|&&channel| channel as usize >= total) {
                return Err(saved.misshapen(&key, vec![total], vec![channel as usize]));
            }
            let of_grid = saved
                .tensors
                .iter()
                .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor.clone())));
            let of_grid = Checkpoint::new(of_grid.collect::<Tensors>(), saved.origin());
            let gaussians = PositionGaussians::read(&of_grid, chosen.len())?;
            Ok((Channels { scale, chosen }, gaussians))
        };
        Ok(Self { grids: (0..n_channels.len()).map(grid).collect::<Result<_, _>>()? })
    }
}
