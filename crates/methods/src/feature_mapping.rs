//! Stage 1 of FMAM: the feature mapping learns, from normal images and synthetic defects, to move defective
//! features away from normal ones and to leave normal ones where they are.

use std::f64::consts::PI;

use candle_core::{Device, Tensor};
use fmam_core::{CurvePoint, Mask, SampleSource};
use fmam_losses::{AngularMargin, PairMasks, keep};
use fmam_models::{
    Backbone, FeatureMapping, FeatureMappingConfig, FeatureMoments, FeaturePyramid, Params, to_batch,
};
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};
use serde::{Deserialize, Serialize};

use crate::distillation::MAX_EPOCHS;
use crate::model_dir::Tensors;
use crate::sample_features::spread_features;
use crate::training::{OptimizerKind, Schedule, TrainingPlan};
use crate::{MethodError, RunContext};

/// What stage 1 trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adaptation {
    /// A feature mapping behind the frozen backbone.
    Mapping,
    /// The backbone's own last block, and no mapping: for ablations. Only the coarsest scale changes.
    LastBlock,
}

/// Configuration of the feature mapping: the table `mapping` of a method with FMAM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// What is trained.
    pub adaptation: Adaptation,
    /// Epochs of stage 1; those of the student where not given. With 0 nothing is trained: features are whitened only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Pairs of normal and defective view in a step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// How the step size changes.
    pub schedule: Schedule,
    /// Inverse temperature s of the angular margin loss.
    pub scale: f64,
    /// Angular margin m in radians.
    pub margin: f64,
    /// Weight λ of the term that keeps normal features in place.
    pub keep: f64,
    /// Share of a position's pixels above which it is a negative.
    pub negative_share: f64,
    /// Share of a position's pixels below which it is a positive.
    pub positive_share: f64,
    /// The mapping network.
    pub network: FeatureMappingConfig,
    /// The synthetic defects.
    pub synthesis: SynthesisConfig,
}

impl Default for MappingConfig {
    fn default() -> Self {
        Self {
            adaptation: Adaptation::Mapping,
            epochs: None,
            batch_size: 8,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            scale: 16.0,
            margin: 0.3,
            keep: 0.3,
            negative_share: 0.5,
            positive_share: 0.01,
            network: FeatureMappingConfig::default(),
            synthesis: SynthesisConfig::default(),
        }
    }
}

impl MappingConfig {
    pub(crate) fn check(&self, method: &'static str) -> Result<(), MethodError> {
        let bad = |key, expected, actual: String| MethodError::ConfigValue { method, key, expected, actual };
        if let Some(epochs) = self.epochs.filter(|&epochs| epochs > MAX_EPOCHS) {
            return Err(bad("mapping.epochs", "from 0 to 1000000", epochs.to_string()));
        }
        if self.batch_size == 0 {
            return Err(bad("mapping.batch_size", "at least 1", "0".into()));
        }
        self.network.check()?;
        // Its constructor checks the synthesis; the textures do not matter to that.
        Synthesizer::new(self.synthesis.clone(), Textures::Generated)?;
        if !(0.0..=PI).contains(&self.margin) {
            return Err(bad("mapping.margin", "in 0..=π", self.margin.to_string()));
        }
        for (key, value) in [("mapping.scale", self.scale), ("mapping.learning_rate", self.learning_rate)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(bad(key, "above 0", value.to_string()));
            }
        }
        if !(self.keep >= 0.0 && self.keep.is_finite()) {
            return Err(bad("mapping.keep", "0 or more", self.keep.to_string()));
        }
        if !(self.negative_share > 0.0 && self.negative_share < 1.0) {
            let actual = self.negative_share.to_string();
            return Err(bad("mapping.negative_share", "above 0 and below 1", actual));
        }
        if !(self.positive_share > 0.0 && self.positive_share <= self.negative_share) {
            let expected = "above 0 and at most mapping.negative_share";
            return Err(bad("mapping.positive_share", expected, self.positive_share.to_string()));
        }
        Ok(())
    }

    /// Trains a mapping and gives its tensors.
    pub(crate) fn fit(
        &self,
        epochs: usize,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<(Tensors, Vec<CurvePoint>), MethodError> {
        let backbone = run.backbone.as_ref();
        let params = Params::trainable(run.seed.derive("feature-mapping"), &run.device);
        let mut mapping = FeatureMapping::new(backbone.channels(), &self.network, &params)?;
        if self.network.whiten {
            let mut moments = FeatureMoments::default();
            spread_features(backbone, train, MOMENT_IMAGES, run, |features| Ok(moments.add(&features)?))?;
            mapping.measure(&moments, &self.network)?;
        }
        let curve = self.train(&params, epochs, train, run, |images| {
            Ok(mapping.forward_with_start(&backbone.features(images)?)?)
        })?;
        Ok((params.tensors()?, curve))
    }

    /// Trains the last block of the backbone further and gives the tensors of the whole backbone.
    pub(crate) fn fit_last_block(
        &self,
        epochs: usize,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
    ) -> Result<(Tensors, Vec<CurvePoint>), MethodError> {
        let (network, params) = run.backbone.with_trainable_last_block(&run.device)?;
        let curve = self.train(&params, epochs, train, run, |images| {
            Ok((run.backbone.features(images)?, network.forward(images)?))
        })?;
        Ok((params.tensors()?, curve))
    }

    /// Trains `params` by the features before and after adaptation, which `adapt` gives for a batch of images.
    fn train(
        &self,
        params: &Params,
        epochs: usize,
        train: &dyn SampleSource,
        run: &RunContext<'_>,
        adapt: impl Fn(&Tensor) -> Result<(FeaturePyramid, FeaturePyramid), MethodError> + Send + Sync,
    ) -> Result<Vec<CurvePoint>, MethodError> {
        if epochs == 0 {
            return Ok(Vec::new());
        }
        let synthesizer = Synthesizer::new(self.synthesis.clone(), run.textures.clone())?;
        let plan = TrainingPlan {
            stage: "feature-mapping",
            epochs,
            batch_size: self.batch_size,
            optimizer: OptimizerKind::Adam,
            learning_rate: self.learning_rate,
            weight_decay: 0.0,
            schedule: self.schedule,
        };
        plan.run(
            params.vars(),
            train,
            run,
            |samples| {
                let mut batch = PairBatch::default();
                for sample in samples {
                    let defect = synthesizer.synthesize(&sample.image, sample.seed)?;
                    batch.normal.push(sample.image);
                    batch.defective.push(defect.image);
                    batch.masks.push(defect.mask);
                    batch.visible.push(defect.visible);
                }
                Ok(batch)
            },
            |batch| self.loss(&adapt, &batch, run),
        )
    }

    fn loss(
        &self,
        adapt: impl Fn(&Tensor) -> Result<(FeaturePyramid, FeaturePyramid), MethodError>,
        batch: &PairBatch,
        run: &RunContext<'_>,
    ) -> Result<Tensor, MethodError> {
        // Both views in one pass, so that they share their batch statistics.
        let images: Vec<_> = batch.normal.iter().chain(&batch.defective).cloned().collect();
        let (start, mapped) = adapt(&to_batch(&images, run.backbone.preprocess(), &run.device)?)?;
        let n = batch.normal.len();
        let angular = AngularMargin { scale: self.scale, margin: self.margin };
        let mut total: Option<Tensor> = None;
        for (scale, &stride) in run.backbone.strides().iter().enumerate() {
            let half = |pyramid: &FeaturePyramid, start| pyramid.scales[scale].narrow(0, start, n);
            let (normal, defective) = (half(&mapped, 0)?, half(&mapped, n)?);
            let masks = self.pair_masks(batch, stride, &run.device)?;
            let contrast = angular.loss(&defective, &normal, &masks)?;
            let loss = (contrast + keep(&normal, &half(&start, 0)?, self.keep)?)?;
            total = Some(match total {
                None => loss,
                Some(total) => (total + loss)?,
            });
        }
        total.ok_or(MethodError::NoTrainingImages)
    }

    fn pair_masks(
        &self,
        batch: &PairBatch,
        stride: usize,
        device: &Device,
    ) -> Result<PairMasks, MethodError> {
        let members = |masks: &[Mask], member: &dyn Fn(f64) -> bool| -> Result<Tensor, MethodError> {
            let (mut data, mut grid) = (Vec::new(), (0, 0));
            for mask in masks {
                let (share, size) = mask.shares(stride);
                data.extend(share.into_iter().map(|s| f32::from(u8::from(member(s)))));
                grid = size;
            }
            Ok(Tensor::from_vec(data, (masks.len(), grid.0, grid.1), device)?)
        };
        Ok(PairMasks {
            positives: members(&batch.masks, &|share| share < self.positive_share)?,
            negatives: members(&batch.visible, &|share| share > self.negative_share)?,
        })
    }
}

/// Training images from which the mean and covariance of features are taken, at most.
const MOMENT_IMAGES: usize = 256;

/// A normal image, the same with a synthetic defect, and where; many of them.
#[derive(Default)]
struct PairBatch {
    normal: Vec<fmam_core::RgbImage>,
    defective: Vec<fmam_core::RgbImage>,
    masks: Vec<Mask>,
    visible: Vec<Mask>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        let refused = |change: fn(&mut MappingConfig)| {
            let mut config = MappingConfig::default();
            change(&mut config);
            config.check("m").is_err()
        };
        assert!(MappingConfig::default().check("m").is_ok());
        assert!(refused(|c| c.margin = 4.0));
        assert!(refused(|c| c.scale = 0.0));
        assert!(refused(|c| c.keep = -1.0));
        assert!(refused(|c| c.epochs = Some(2_000_000)));
        assert!(refused(|c| c.negative_share = 1.0));
        assert!(refused(|c| c.positive_share = 0.0));
        assert!(refused(|c| c.positive_share = 0.6));
        assert!(refused(|c| c.network.width = 0));
        assert!(refused(|c| c.network.kernel = 2));
        assert!(refused(|c| c.network.shrinkage = 0.0));
        assert!(refused(|c| c.network.offset = -1.0));
        assert!(refused(|c| c.synthesis.threshold = 2.0));
        assert!(refused(|c| c.learning_rate = f64::NAN));
    }
}
