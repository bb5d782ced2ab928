//! A memory of the teacher's patch features, as PatchCore keeps it: what any normal patch looks
//! like, wherever it lies.

use candle_core::{Device, Tensor};
use fmam_core::SampleSource;
use fmam_models::{Backbone, FeaturePyramid};
use fmam_ops::traced;

use super::evidence::EvidenceConfig;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::feature_scorer::FeatureExtractor;
use crate::memory::PatchCoreConfig;
use crate::memory::memory_bank::{
    CoresetSampling, MemoryBank, PATCHES, embed_patches, patch_width, trace_patches,
};
use crate::memory::training_images::MemoryLimit;
use crate::{MethodError, RunContext};

/// Patches that are kept, at least: a hundredth of a few small images is too little.
const MIN_PATCHES: usize = 1024;

pub(super) struct PatchMemory {
    first_scale: usize,
    bank: MemoryBank,
}

impl PatchMemory {
    /// The memory of some `images` of `train`, which `sampling` chose.
    pub(super) fn fit(
        sampling: &CoresetSampling,
        (train, images): (&dyn SampleSource, &[usize]),
        run: &RunContext<'_>,
    ) -> Result<Self, MethodError> {
        let bank = sampling.fit((train, images), &FeatureExtractor::of_run(run), run)?;
        Ok(Self { first_scale: sampling.first_scale, bank })
    }

    /// The choice of the patches that the settings `config` of `method` ask for.
    pub(super) fn sampling(
        config: &EvidenceConfig,
        method: &'static str,
        backbone: &dyn Backbone,
    ) -> CoresetSampling {
        CoresetSampling {
            first_scale: first_scale(backbone),
            ratio: config.patches,
            at_least: MIN_PATCHES,
            projection: PatchCoreConfig::default().projection,
            limit: MemoryLimit { method, key: "evidence.gallery_bytes", bytes: config.gallery_bytes },
        }
    }

    /// The squared distance to the nearest kept patch at each position, `[N, H, W]`, of the
    /// teacher's features of a batch.
    pub(super) fn map(&self, features: &FeaturePyramid) -> Result<Tensor, MethodError> {
        if features.scales.iter().any(traced::is_known) {
            return self.trace(features);
        }
        let scale = &features.scales[self.first_scale];
        let (n, _, height, width) = scale.dims4()?;
        let mut squares = Vec::with_capacity(n * height * width);
        for image in 0..n {
            let of_image = features.scales.iter().map(|scale| scale.narrow(0, image, 1));
            let of_image = FeaturePyramid { scales: of_image.collect::<Result<_, _>>()? };
            let patches = embed_patches(&of_image, self.first_scale)?;
            squares.extend(self.bank.nearest(&patches)?.iter().map(|nearest| nearest.squared));
        }
        Ok(Tensor::from_vec(squares, (n, height, width), scale.device())?)
    }

    /// [`PatchMemory::map`] of the traced `features` of one image.
    fn trace(&self, features: &FeaturePyramid) -> Result<Tensor, MethodError> {
        let (patches, grid) = trace_patches(features, self.first_scale)?;
        let squared = self.bank.trace(&patches)?.squared;
        Ok(traced::reshape(&squared, &[1, grid.height, grid.width])?)
    }

    /// The tensors that [`PatchMemory::read`] takes.
    pub(super) fn tensors(&self) -> Result<Tensors, MethodError> {
        Ok([(PATCHES.to_owned(), self.bank.tensor()?)].into())
    }

    /// The saved memory of features of `backbone`.
    pub(super) fn read(
        saved: &Checkpoint,
        backbone: &dyn Backbone,
        (method, device): (&'static str, &Device),
    ) -> Result<Self, MethodError> {
        let first_scale = first_scale(backbone);
        let bank = MemoryBank::read(saved, patch_width(backbone, first_scale, method)?, device)?;
        Ok(Self { first_scale, bank })
    }
}

/// The finest scale that patches are taken from: PatchCore's, or the only one.
fn first_scale(backbone: &dyn Backbone) -> usize {
    PatchCoreConfig::default().first_scale.min(backbone.channels().len().saturating_sub(1))
}
