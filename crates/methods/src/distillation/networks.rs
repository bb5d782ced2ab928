//! Teacher and student of a distillation, as training and scoring see them.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_models::{AnyStudent, Backbone, FeatureMapping, FeaturePyramid, OutputAffine, Params};

use super::config::{DistillationConfig, Flavour};
use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::mapping::Adaptation;
use crate::sample_features::FeatureSource;

/// A student whose outputs are brought to the teacher's range.
pub(super) struct ScaledStudent {
    student: AnyStudent,
    /// For signed features only, as whitened ones are: those behind a ReLU have no constant to
    /// learn against noise.
    affine: Option<OutputAffine>,
}

impl ScaledStudent {
    pub(super) fn new(
        flavour: &Flavour,
        config: &DistillationConfig,
        backbone: &dyn Backbone,
        params: &Params,
    ) -> Result<Self, MethodError> {
        let student = (flavour.student)(backbone, params)?;
        let (channels, output) = (backbone.channels(), params.pp("output"));
        let affine = match (backbone.has_signed_features(), config.has_signed_targets()) {
            (true, _) => Some(OutputAffine::new(channels, &output)?),
            (false, true) => Some(OutputAffine::projected(channels, &output)?),
            (false, false) => None,
        };
        Ok(Self { student, affine })
    }

    /// The frozen student of the tensors `saved`, all of which it needs.
    pub(super) fn frozen(
        flavour: &Flavour,
        config: &DistillationConfig,
        backbone: &dyn Backbone,
        saved: &Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        saved.build(device, |params| Self::new(flavour, config, backbone, params))
    }

    /// The fixed range of the outputs, to be measured before training.
    pub(super) fn affine(&self) -> Option<&OutputAffine> {
        self.affine.as_ref()
    }

    pub(super) fn forward(
        &self,
        images: &Tensor,
        teacher: &FeaturePyramid,
    ) -> Result<FeaturePyramid, MethodError> {
        self.scaled(self.student.forward(images, teacher)?)
    }

    /// The features of `teacher` and the student's output, where the student learnt those features
    /// as they are.
    pub(super) fn beside(
        &self,
        teacher: &dyn Backbone,
        images: &Tensor,
    ) -> Result<(FeaturePyramid, FeaturePyramid), MethodError> {
        let (features, output) = self.student.beside(teacher, images)?;
        Ok((features, self.scaled(output)?))
    }

    fn scaled(&self, output: FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        Ok(match &self.affine {
            None => output,
            Some(affine) => affine.forward(&output)?,
        })
    }
}

/// The teacher as the student sees it: the frozen backbone, with the mapping of FMAM behind it.
pub(super) struct MappedTeacher {
    pub(super) backbone: Arc<dyn Backbone>,
    mapping: Option<(FeatureMapping, Tensors)>,
    /// True if the student learns whitened features, and the trained part of the mapping stands
    /// behind it too.
    is_shared: bool,
}

impl MappedTeacher {
    /// The teacher with the saved `mapping` that `config` describes.
    pub(super) fn new(
        backbone: Arc<dyn Backbone>,
        config: &DistillationConfig,
        mapping: Option<Checkpoint>,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let mapping = match (mapping, &config.mapping) {
            (Some(saved), Some(settings)) => {
                let network = saved.build(device, |params| {
                    Ok(FeatureMapping::new(backbone.channels(), &settings.network, params)?)
                })?;
                Some((network, saved.tensors))
            }
            _ => None,
        };
        let is_shared = config.adaptation() == Some(Adaptation::Mapping);
        Ok(Self { backbone, mapping, is_shared })
    }

    /// The tensors of the mapping.
    pub(super) fn mapping_tensors(&self) -> Option<&Tensors> {
        self.mapping.as_ref().map(|(_, tensors)| tensors)
    }

    /// The mapping that stands behind the student too.
    pub(super) fn shared_mapping(&self) -> Option<&FeatureMapping> {
        self.mapping.as_ref().filter(|_| self.is_shared).map(|(mapping, _)| mapping)
    }

    /// The target of the student, from the backbone's features.
    pub(super) fn target(&self, features: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        Ok(match (&self.mapping, self.shared_mapping()) {
            (None, _) => features.clone(),
            (_, Some(shared)) => shared.whiten(features)?,
            (Some((mapping, _)), None) => mapping.forward(features)?,
        })
    }

    /// Brings features, a target or an output of the student, to where the two are compared.
    pub(super) fn to_compare(&self, features: FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        match self.shared_mapping() {
            Some(mapping) => Ok(mapping.adapt(&features)?),
            None => Ok(features),
        }
    }
}

impl FeatureSource for MappedTeacher {
    fn pyramid(&self, images: &Tensor) -> Result<FeaturePyramid, MethodError> {
        self.target(&self.backbone.features(images)?)
    }
}
