//! The training of FMAM: the feature mapping learns, from normal images and synthetic defects, to set defects apart and to
//! leave normal features where they are.

use candle_core::Tensor;
use fmam_core::{CurvePoint, Mask, RgbImage, SampleSource};
use fmam_losses::{AngularMargin, PairMasks, keep};
use fmam_models::{Backbone, FeatureMapping, FeatureMoments, FeaturePyramid, Params, to_batch};
use fmam_synthesis::Synthesizer;

use crate::feature_mapping::MappingConfig;
use crate::model_dir::Tensors;
use crate::sample_features::spread_features;
use crate::training::{OptimizerKind, TrainingPlan};
use crate::{MethodError, RunContext};

/// Training images from which the mean and covariance of features are taken, at most.
const MOMENT_IMAGES: usize = 256;

/// A training of features, with what it is given.
pub(crate) struct MappingTraining<'a> {
    /// With its number of epochs.
    pub(crate) config: &'a MappingConfig,
    pub(crate) train: &'a dyn SampleSource,
    pub(crate) run: &'a RunContext<'a>,
}

/// What a training leaves: tensors, and the loss of each epoch.
pub(crate) type Trained = (Tensors, Vec<CurvePoint>);

impl MappingTraining<'_> {
    /// A mapping that whitens and does nothing else.
    pub(crate) fn whitening(&self) -> Result<Tensors, MethodError> {
        let params = self.params();
        self.measured(&params)?;
        Ok(params.tensors()?)
    }

    /// A mapping of the teacher's features, by both views of an image.
    pub(crate) fn fit_target(&self) -> Result<Trained, MethodError> {
        let (backbone, params) = (self.run.backbone.as_ref(), self.params());
        let mapping = self.measured(&params)?;
        let curve = self.train(&params, |images| {
            let start = mapping.whiten(&backbone.features(images)?)?;
            let mapped = mapping.adapt(&start)?;
            Contrast::of_views(&start, &mapped)
        })?;
        Ok((params.tensors()?, curve))
    }

    /// A mapping behind the teacher and a student, which has learnt what `whitening` gives: `student` makes it from images
    /// and, where it needs them, their whitened features.
    pub(crate) fn fit_behind_student(
        &self,
        whitening: &FeatureMapping,
        student: impl Fn(&Tensor, &FeaturePyramid) -> Result<FeaturePyramid, MethodError> + Send + Sync,
    ) -> Result<Trained, MethodError> {
        let (backbone, params) = (self.run.backbone.as_ref(), self.params());
        let mut mapping = FeatureMapping::new(backbone.channels(), &self.config.network, &params)?;
        mapping.copy_whitening(whitening)?;
        let curve = self.train(&params, |images| {
            let start = mapping.whiten(&backbone.features(images)?)?;
            let imitated = student(images, &start)?;
            // In one pass, so that both are normalised by the same batch statistics.
            let both = FeaturePyramid::concat(&[&start.detach(), &imitated.detach()])?;
            let mapped = mapping.adapt(&both)?;
            Contrast::of_networks(&start, &mapped)
        })?;
        Ok((params.tensors()?, curve))
    }

    /// The last block of the backbone, by both views of an image; gives the tensors of the whole backbone.
    pub(crate) fn fit_last_block(&self) -> Result<Trained, MethodError> {
        let (network, params) = self.run.backbone.with_trainable_last_block(&self.run.device)?;
        let curve = self.train(&params, |images| {
            Contrast::of_views(&self.run.backbone.features(images)?, &network.forward(images)?)
        })?;
        Ok((params.tensors()?, curve))
    }

    fn params(&self) -> Params {
        Params::trainable(self.run.seed.derive("feature-mapping"), &self.run.device)
    }

    /// A mapping under `params`, whitening by the statistics of training images.
    fn measured(&self, params: &Params) -> Result<FeatureMapping, MethodError> {
        let (backbone, network) = (self.run.backbone.as_ref(), &self.config.network);
        let mut mapping = FeatureMapping::new(backbone.channels(), network, params)?;
        if network.whiten {
            let mut moments = FeatureMoments::default();
            spread_features(backbone, self.train, MOMENT_IMAGES, self.run, |features| {
                Ok(moments.add(&features)?)
            })?;
            mapping.measure(&moments, network)?;
        }
        Ok(mapping)
    }

    /// Trains `params` by what `contrast` makes of the images of a batch: all normal views, then all defective ones.
    fn train(
        &self,
        params: &Params,
        contrast: impl Fn(&Tensor) -> Result<Contrast, MethodError> + Send + Sync,
    ) -> Result<Vec<CurvePoint>, MethodError> {
        let (config, run) = (self.config, self.run);
        let plan = TrainingPlan {
            stage: "feature-mapping",
            epochs: config.epochs.unwrap_or(0),
            batch_size: config.batch_size,
            optimizer: OptimizerKind::Adam,
            learning_rate: config.learning_rate,
            weight_decay: 0.0,
            schedule: config.schedule,
        };
        if plan.epochs == 0 {
            return Ok(Vec::new());
        }
        let synthesizer = Synthesizer::new(config.synthesis.clone(), run.textures.clone())?;
        plan.run(
            params.vars(),
            self.train,
            run,
            |samples| {
                let (mut normal, mut defective) = (Views::default(), Views::default());
                for sample in samples {
                    let defect = synthesizer.synthesize(&sample.image, sample.seed)?;
                    let nowhere = Mask::empty(sample.image.size());
                    normal.push(sample.image, nowhere.clone(), nowhere);
                    defective.push(defect.image, defect.mask, defect.visible);
                }
                normal.append(defective);
                let images = to_batch(&normal.images, run.backbone.preprocess(), &run.device)?;
                Ok((images, normal))
            },
            |(images, views)| self.loss(&contrast(&images)?, &views),
        )
    }

    fn loss(&self, contrast: &Contrast, views: &Views) -> Result<Tensor, MethodError> {
        let angular = AngularMargin { scale: self.config.scale, margin: self.config.margin };
        let mut total: Option<Tensor> = None;
        for (scale, &stride) in contrast.scales.iter().zip(self.run.backbone.strides()) {
            let masks = self.pair_masks(views, scale.compared.dim(0)?, stride)?;
            let apart = angular.loss(&scale.compared, &scale.reference, &masks)?;
            let loss = (apart + keep(&scale.normal, &scale.start, self.config.keep)?)?;
            total = Some(match total {
                None => loss,
                Some(total) => (total + loss)?,
            });
        }
        total.ok_or(MethodError::NoTrainingImages)
    }

    /// Which positions of the last `count` views are pairs, at one scale.
    fn pair_masks(&self, views: &Views, count: usize, stride: usize) -> Result<PairMasks, MethodError> {
        let members = |masks: &[Mask], member: &dyn Fn(f64) -> bool| -> Result<Tensor, MethodError> {
            let masks = &masks[masks.len() - count..];
            let (mut data, mut grid) = (Vec::new(), (0, 0));
            for mask in masks {
                let (share, size) = mask.shares(stride);
                data.extend(share.into_iter().map(|s| f32::from(u8::from(member(s)))));
                grid = size;
            }
            Ok(Tensor::from_vec(data, (count, grid.0, grid.1), &self.run.device)?)
        };
        Ok(PairMasks {
            positives: members(&views.masks, &|share| share < self.config.positive_share)?,
            negatives: members(&views.visible, &|share| share > self.config.negative_share)?,
        })
    }
}

/// What the loss sees of a batch of n normal and n defective views.
struct Contrast {
    scales: Vec<ContrastScale>,
}

/// All `[_, C, H, W]` at one scale.
struct ContrastScale {
    /// Features of the last views: of the n defective ones or of all 2n.
    compared: Tensor,
    /// What they should equal where the image is normal, and nowhere else.
    reference: Tensor,
    /// Adapted features of the n normal views.
    normal: Tensor,
    /// Where those started.
    start: Tensor,
}

impl Contrast {
    /// The defective views against the normal ones: `start` and `adapted` hold features of all 2n views.
    fn of_views(start: &FeaturePyramid, adapted: &FeaturePyramid) -> Result<Self, MethodError> {
        let scales = start.scales.iter().zip(&adapted.scales).map(|(start, adapted)| {
            let n = start.dim(0)? / 2;
            let normal = adapted.narrow(0, 0, n)?;
            Ok(ContrastScale {
                compared: adapted.narrow(0, n, n)?,
                reference: normal.clone(),
                normal,
                start: start.narrow(0, 0, n)?,
            })
        });
        Ok(Self { scales: scales.collect::<Result<_, MethodError>>()? })
    }

    /// The teacher against the student: `start` holds the teacher's features of all 2n views, `adapted` the teacher's and
    /// then the student's.
    fn of_networks(start: &FeaturePyramid, adapted: &FeaturePyramid) -> Result<Self, MethodError> {
        let scales = start.scales.iter().zip(&adapted.scales).map(|(start, adapted)| {
            let views = start.dim(0)?;
            Ok(ContrastScale {
                compared: adapted.narrow(0, 0, views)?,
                reference: adapted.narrow(0, views, views)?,
                normal: adapted.narrow(0, 0, views / 2)?,
                start: start.narrow(0, 0, views / 2)?,
            })
        });
        Ok(Self { scales: scales.collect::<Result<_, MethodError>>()? })
    }
}

/// Images, where each has a synthetic defect, and where that shows.
#[derive(Default)]
struct Views {
    images: Vec<RgbImage>,
    masks: Vec<Mask>,
    visible: Vec<Mask>,
}

impl Views {
    fn push(&mut self, image: RgbImage, mask: Mask, visible: Mask) {
        self.images.push(image);
        self.masks.push(mask);
        self.visible.push(visible);
    }

    fn append(&mut self, mut other: Self) {
        self.images.append(&mut other.images);
        self.masks.append(&mut other.masks);
        self.visible.append(&mut other.visible);
    }
}
