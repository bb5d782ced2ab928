//! The training of FMAM: the feature mapping learns, from normal images and synthetic defects, to
//! set defects apart and to leave normal features where they are.

use candle_core::{Device, Tensor};
use fmam_core::{CurvePoint, Mask, RgbImage, SampleSource};
use fmam_losses::{AngularMargin, PairMasks, keep, keep_within};
use fmam_models::{FeatureMapping, FeatureMoments, FeaturePyramid, Params, to_batch};
use fmam_synthesis::Synthesizer;

use super::FEATURE_MAPPING;
use super::config::MappingConfig;
use crate::batch_inside::BatchInside;
use crate::checkpoint::Tensors;
use crate::sample_features::spread_features;
use crate::training::{OptimizerKind, TrainingConfig, sum_of_scales};
use crate::{MethodError, RunContext};

/// Training images from which the mean and covariance of features are taken, at most.
const MOMENT_IMAGES: usize = 256;

/// A training of features, with what it is given.
pub(crate) struct MappingTraining<'a> {
    pub(crate) config: &'a MappingConfig,
    /// Passes over the images; with 0 nothing is trained.
    pub(crate) epochs: usize,
    pub(crate) train: &'a dyn SampleSource,
    pub(crate) run: &'a RunContext<'a>,
}

/// The outcome of a training.
pub(crate) struct Trained {
    pub(crate) tensors: Tensors,
    /// The loss of each epoch.
    pub(crate) curve: Vec<CurvePoint>,
}

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
        Ok(Trained { tensors: params.tensors()?, curve })
    }

    /// A mapping behind the teacher and a student, which has learnt what `whitening` gives:
    /// `student` makes it from images and, where it needs them, their whitened features.
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
        Ok(Trained { tensors: params.tensors()?, curve })
    }

    /// The last block of the backbone, by both views of an image; gives the tensors of the whole
    /// backbone.
    pub(crate) fn fit_last_block(&self) -> Result<Trained, MethodError> {
        let (network, params) = self.run.backbone.with_trainable_last_block(&self.run.device)?;
        let curve = self.train(&params, |images| {
            Contrast::of_views(&self.run.backbone.features(images)?, &network.forward(images)?)
        })?;
        Ok(Trained { tensors: params.tensors()?, curve })
    }

    fn params(&self) -> Params {
        Params::trainable(self.run.seed.derive(FEATURE_MAPPING.as_str()), &self.run.device)
    }

    /// A mapping under `params`, whitening by the statistics of training images.
    fn measured(&self, params: &Params) -> Result<FeatureMapping, MethodError> {
        let (backbone, network) = (self.run.backbone.as_ref(), &self.config.network);
        let mut mapping = FeatureMapping::new(backbone.channels(), network, params)?;
        if network.whiten {
            let mut moments = FeatureMoments::default();
            spread_features(&self.run.backbone, self.train, MOMENT_IMAGES, self.run, |features| {
                Ok(moments.add(&features)?)
            })?;
            mapping.measure(&moments, network)?;
        }
        Ok(mapping)
    }

    /// Trains `params` by what `contrast` makes of the images of a batch: all normal views, then
    /// all defective ones.
    fn train(
        &self,
        params: &Params,
        contrast: impl Fn(&Tensor) -> Result<Vec<Contrast>, MethodError> + Send + Sync,
    ) -> Result<Vec<CurvePoint>, MethodError> {
        let (config, run) = (self.config, self.run);
        let training = TrainingConfig {
            epochs: self.epochs,
            batch_size: config.batch_size,
            optimizer: OptimizerKind::Adam,
            learning_rate: config.learning_rate,
            weight_decay: 0.0,
            schedule: config.schedule,
        };
        if training.epochs == 0 {
            return Ok(Vec::new());
        }
        let synthesizer = Synthesizer::new(config.synthesis.clone(), run.textures.clone())?;
        training.stage(FEATURE_MAPPING).run(
            params,
            self.train,
            run,
            |samples| {
                let (mut normal, mut defective) = (Views::default(), Views::default());
                let mut insides = Vec::with_capacity(samples.len());
                for sample in samples {
                    let defect =
                        synthesizer.synthesize_within(&sample.image, sample.inside.as_ref(), sample.seed)?;
                    let nowhere = Mask::empty(sample.image.size());
                    normal.push(sample.image, nowhere.clone(), nowhere);
                    defective.push(defect.image, defect.mask, defect.visible);
                    insides.push(sample.inside);
                }
                let images: Vec<RgbImage> = normal.images.into_iter().chain(defective.images).collect();
                let images = to_batch(&images, run.backbone.preprocess(), &run.device)?;
                normal.masks.append(&mut defective.masks);
                let strides = run.backbone.strides().iter();
                let pairs = strides.map(|&stride| config.pair_masks(&normal.masks, stride, &run.device));
                Ok((images, pairs.collect::<Result<Vec<_>, _>>()?, BatchInside::new(insides)))
            },
            |(images, pairs, inside)| self.loss(&contrast(&images)?, &pairs, inside.as_ref()),
        )
    }

    /// `pairs`: those of all views of the batch, scale by scale; `inside`: the positions of its
    /// images that count.
    fn loss(
        &self,
        contrasts: &[Contrast],
        pairs: &[PairMasks],
        inside: Option<&BatchInside>,
    ) -> Result<Tensor, MethodError> {
        let angular = AngularMargin { scale: self.config.scale, margin: self.config.margin };
        sum_of_scales(contrasts.iter().zip(pairs).map(|(scale, pairs)| {
            let compared = scale.compared.dim(0)?;
            let last = |mask: &Tensor| mask.narrow(0, mask.dim(0)? - compared, compared);
            let mut pairs =
                PairMasks { positives: last(&pairs.positives)?, negatives: last(&pairs.negatives)? };
            let Some(inside) = inside else {
                let apart = angular.loss(&scale.compared, &scale.reference, &pairs)?;
                return Ok((apart + keep(&scale.normal, &scale.start, self.config.keep)?)?);
            };
            let weights = inside.weights(&scale.normal)?;
            // The views compared are the defective ones, or the normal ones before them as well.
            let views = vec![&weights; scale.compared.dim(0)? / weights.dim(0)?];
            let counted = Tensor::cat(&views, 0)?;
            pairs.positives = pairs.positives.mul(&counted)?;
            pairs.negatives = pairs.negatives.mul(&counted)?;
            let apart = angular.loss(&scale.compared, &scale.reference, &pairs)?;
            Ok((apart + keep_within(&scale.normal, &scale.start, self.config.keep, &weights)?)?)
        }))
    }
}

impl MappingConfig {
    /// The pairs among the positions of the views that `masks` belong to, at one scale.
    fn pair_masks(
        &self,
        masks: &[DefectMasks],
        stride: usize,
        device: &Device,
    ) -> Result<PairMasks, MethodError> {
        let (mut positives, mut negatives, mut grid) = (Vec::new(), Vec::new(), (0, 0));
        let member = |yes: bool| f32::from(u8::from(yes));
        for masks in masks {
            let (share, size) = masks.whole.shares(stride);
            positives.extend(share.into_iter().map(|share| member(share < self.positive_share)));
            let (share, _) = masks.visible.shares(stride);
            negatives.extend(share.into_iter().map(|share| member(share > self.negative_share)));
            grid = size;
        }
        let tensor = |members| Tensor::from_vec(members, (masks.len(), grid.0, grid.1), device);
        Ok(PairMasks { positives: tensor(positives)?, negatives: tensor(negatives)? })
    }
}

/// The input of the loss at one scale of a batch of n normal and then n defective views; all `[_,
/// C, H, W]`.
struct Contrast {
    /// Features of the last views: of the n defective ones or of all 2n.
    compared: Tensor,
    /// The features that `compared` should equal where the image is normal, and nowhere else.
    reference: Tensor,
    /// Adapted features of the n normal views.
    normal: Tensor,
    /// The same features before adaptation.
    start: Tensor,
}

impl Contrast {
    /// The defective views against the normal ones: `start` and `adapted` hold features of all 2n
    /// views.
    fn of_views(start: &FeaturePyramid, adapted: &FeaturePyramid) -> Result<Vec<Self>, MethodError> {
        Self::new(start, adapted, |n| ((n, n), (0, n)))
    }

    /// The teacher against the student: `start` holds the teacher's features of all 2n views,
    /// `adapted` the teacher's and then the student's.
    fn of_networks(start: &FeaturePyramid, adapted: &FeaturePyramid) -> Result<Vec<Self>, MethodError> {
        Self::new(start, adapted, |n| ((0, 2 * n), (2 * n, 2 * n)))
    }

    /// `ranges` gives, from n, the start and length of what is compared and of its reference in
    /// `adapted`.
    fn new(
        start: &FeaturePyramid,
        adapted: &FeaturePyramid,
        ranges: impl Fn(usize) -> ((usize, usize), (usize, usize)),
    ) -> Result<Vec<Self>, MethodError> {
        let scale = |(start, adapted): (&Tensor, &Tensor)| {
            let n = start.dim(0)? / 2;
            let (compared, reference) = ranges(n);
            Ok(Self {
                compared: adapted.narrow(0, compared.0, compared.1)?,
                reference: adapted.narrow(0, reference.0, reference.1)?,
                normal: adapted.narrow(0, 0, n)?,
                start: start.narrow(0, 0, n)?,
            })
        };
        start.scales.iter().zip(&adapted.scales).map(scale).collect()
    }
}

/// The synthetic defect of a view, and its visible part.
struct DefectMasks {
    whole: Mask,
    visible: Mask,
}

/// Images with their masks.
#[derive(Default)]
struct Views {
    images: Vec<RgbImage>,
    masks: Vec<DefectMasks>,
}

impl Views {
    fn push(&mut self, image: RgbImage, whole: Mask, visible: Mask) {
        self.images.push(image);
        self.masks.push(DefectMasks { whole, visible });
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    fn pyramid(values: &[f32]) -> FeaturePyramid {
        let scale = Tensor::from_slice(values, (values.len(), 1, 1, 1), &Device::Cpu).unwrap();
        FeaturePyramid { scales: vec![scale] }
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn each_view_is_compared_with_what_it_should_equal() {
        // Two normal views, two defective ones.
        let start = pyramid(&[1.0, 2.0, 3.0, 4.0]);
        let views = Contrast::of_views(&start, &pyramid(&[10.0, 20.0, 30.0, 40.0])).unwrap().remove(0);
        assert_eq!(values(&views.compared), [30.0, 40.0]);
        assert_eq!(values(&views.reference), [10.0, 20.0]);
        assert_eq!((values(&views.normal), values(&views.start)), (vec![10.0, 20.0], vec![1.0, 2.0]));
        // The teacher's four, then the student's four.
        let both = pyramid(&[10.0, 20.0, 30.0, 40.0, 11.0, 21.0, 31.0, 41.0]);
        let networks = Contrast::of_networks(&start, &both).unwrap().remove(0);
        assert_eq!(values(&networks.compared), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(values(&networks.reference), [11.0, 21.0, 31.0, 41.0]);
        assert_eq!((values(&networks.normal), values(&networks.start)), (vec![10.0, 20.0], vec![1.0, 2.0]));
    }

    #[test]
    fn masked_positions_are_no_positives_and_visible_ones_are_negatives() {
        let size = ImageSize::new(4, 4);
        let columns = |n: usize| Mask::from_fn(size, |_, x| x < n);
        // Four cells of 2 by 2 pixels: the left two are masked, of the right two a corner; only the
        // upper left shows.
        let defect = DefectMasks {
            whole: Mask::from_fn(size, |y, x| x < 2 || (y == 0 && x == 2)),
            visible: Mask::from_fn(size, |y, x| x < 2 && y < 2),
        };
        let normal = DefectMasks { whole: columns(0), visible: columns(0) };
        let pairs = MappingConfig::default().pair_masks(&[normal, defect], 2, &Device::Cpu).unwrap();
        assert_eq!(pairs.positives.dims(), [2, 2, 2]);
        assert_eq!(values(&pairs.positives), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(values(&pairs.negatives), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
