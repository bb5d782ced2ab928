//! A feature mapping that is no longer trained, behind the teacher of a host.

use candle_core::Device;
use fmam_models::{FeatureMapping, FeaturePyramid};

use super::MappingConfig;
use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};

/// A mapping that is trained or was saved.
pub(crate) struct FrozenMapping {
    network: FeatureMapping,
    tensors: Tensors,
}

impl FrozenMapping {
    /// The mapping of the tensors `saved`, for scales of `channels`.
    pub(super) fn new(
        channels: &[usize],
        config: &MappingConfig,
        saved: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let network =
            saved.build(device, |params| Ok(FeatureMapping::new(channels, &config.network, params)?))?;
        Ok(Self { network, tensors: saved.tensors })
    }

    /// The mapped features, of the shapes of `features`.
    pub(crate) fn forward(&self, features: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        Ok(self.network.forward(features)?.detach())
    }

    /// The tensors to save.
    pub(crate) fn tensors(&self) -> &Tensors {
        &self.tensors
    }
}
