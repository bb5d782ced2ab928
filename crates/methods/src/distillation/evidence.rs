//! The evidence that FMAM weighs beside the mapped discrepancy: the plain method's own, and the
//! teacher's features themselves. Part of the training images is held out for the weighing.

use std::ops::Range;

use candle_core::Tensor;
use fmam_core::{RgbImage, SampleSource, StageId, Subset};
use fmam_synthesis::Synthesizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::gate::{Gate, PieceScores};
use crate::batch_inside::extended_maps;
use crate::sample_features::{spread, spread_images};
use crate::scoring::{MapCombination, predictions};
use crate::settings::{Check, Settings};
use crate::training_image::TrainingImage;
use crate::{MethodError, Place, Prediction, RunContext};

/// Good images that the gate is fitted to, at most.
const MAX_HELD_OUT: usize = 64;

/// Synthetic defects that the gate is fitted to, at least, as far as [`MAX_IN_ONE`] allows.
const DEFECTS: usize = 128;

/// Synthetic defects made of one image, at most.
const MAX_IN_ONE: usize = 16;

/// Configuration of the evidence: the table `evidence` of a method with FMAM. The mapped
/// discrepancy always counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// True to train the plain method's student as well and to weigh its discrepancy, of features
    /// as they are.
    pub base: bool,
    /// True to weigh the Mahalanobis distance of the teacher's features to a Gaussian at each
    /// position. Of no effect where images are cut into tiles.
    pub gaussians: bool,
    /// Share of the teacher's patch features that a memory keeps, as PatchCore's does, from 0 to 1,
    /// but at least 1024 patches; the squared distance to the nearest is weighed. With 0 there is
    /// no memory.
    pub patches: f64,
    /// Bytes of memory for all patches and their projections while those are chosen that are kept.
    /// The memory takes patches of evenly spread images where it cannot hold those of all.
    pub gallery_bytes: u64,
    /// Weight of the covariance of all positions together in that of one, in images.
    pub shared_images: f64,
    /// Share of the training images that nothing is trained on, above 0 and below 1: at most 64
    /// images or tiles, from which, and from synthetic defects in them, the weights follow.
    pub held_out: f64,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self {
            base: true,
            gaussians: true,
            patches: 0.01,
            gallery_bytes: 4 << 30,
            shared_images: 10.0,
            held_out: 0.2,
        }
    }
}

impl Settings for EvidenceConfig {
    fn check(&self, check: &mut Check) {
        let is_share = (0.0..=1.0).contains(&self.patches);
        check.require("evidence.patches", is_share, "from 0 to 1", self.patches);
        check.above_zero("evidence.shared_images", self.shared_images);
        let is_share = self.held_out > 0.0 && self.held_out < 1.0;
        check.require("evidence.held_out", is_share, "above 0 and below 1", self.held_out);
    }
}

/// Training images by their use.
pub(super) struct Split {
    pub(super) learnt: Vec<usize>,
    pub(super) held_out: Vec<usize>,
}

impl EvidenceConfig {
    /// True if there is more to weigh than the mapped discrepancy.
    pub(super) fn is_weighed(&self) -> bool {
        self.base || self.gaussians || self.patches > 0.0
    }

    /// These settings as `n_images` training images allow them: a single image cannot be held out,
    /// so nothing is weighed.
    pub(super) fn resolved(self, n_images: usize) -> Self {
        if n_images < 2 { Self { base: false, gaussians: false, patches: 0.0, ..self } } else { self }
    }

    /// The number of `n` training images that are learnt from.
    pub(super) fn n_learnt(&self, n: usize) -> usize {
        n - self.n_held_out(n, MAX_HELD_OUT)
    }

    fn n_held_out(&self, n: usize, most: usize) -> usize {
        ((n as f64 * self.held_out).round() as usize).clamp(1, most.clamp(1, n - 1))
    }

    /// The use of each sample of `train`, of which there are two at least. The held-out images are
    /// evenly spread; the tiles of one image, which overlap, have one use.
    pub(super) fn split(&self, train: &dyn SampleSource) -> Split {
        let mut images = whole_images(train);
        if images.len() < 2 {
            images = (0..train.len()).map(|index| index..index + 1).collect();
        }
        let n = images.len();
        let chosen = spread(n, self.n_held_out(n, MAX_HELD_OUT * n / train.len()));
        let mut split = Split { learnt: Vec::new(), held_out: Vec::new() };
        for (at, samples) in images.into_iter().enumerate() {
            let is_held_out = chosen.binary_search(&at).is_ok();
            if is_held_out { &mut split.held_out } else { &mut split.learnt }.extend(samples);
        }
        split
    }
}

/// The samples of each image: one, or its tiles, whose positions rise.
fn whole_images(train: &dyn SampleSource) -> Vec<Range<usize>> {
    let starts = (0..train.len()).filter(|&index| index == 0 || train.tile(index) <= train.tile(index - 1));
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().skip(1).copied().chain([train.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The pieces of evidence for a batch of images: maps `[N, H, W]` of any size.
pub(super) type Pieces<'a> =
    dyn Fn(&[RgbImage], &[Place<'_>]) -> Result<Vec<Tensor>, MethodError> + Sync + 'a;

/// Fits the gate of `pieces` to the images `held_out` of `train`, their maps blurred by
/// `blur_sigma`.
pub(super) fn fit_gate(
    pieces: &Pieces<'_>,
    blur_sigma: f64,
    (train, held_out): (&dyn SampleSource, Vec<usize>),
    synthesizer: &Synthesizer,
    run: &RunContext<'_>,
) -> Result<Gate, MethodError> {
    let some = spread(held_out.len(), MAX_HELD_OUT).into_iter().map(|at| held_out[at]).collect();
    let (held_out, seed) = (Subset::new(train, some), run.seed.derive("evidence"));
    let rounds = DEFECTS.div_ceil(held_out.len()).min(MAX_IN_ONE);
    run.progress.start(&StageId::new("weighing evidence"), held_out.len() as u64);
    // The verdicts of all pieces on each of some images at one place.
    let score = |images: &[RgbImage], place: Place<'_>| -> Result<Vec<Vec<Prediction>>, MethodError> {
        let places = vec![place; images.len()];
        let of_piece = |map: Tensor| {
            let maps = extended_maps(vec![map], &places)?;
            predictions(&maps, MapCombination::Sum, blur_sigma, images[0].size())
        };
        let of_pieces: Vec<Vec<Prediction>> =
            pieces(images, &places)?.into_iter().map(of_piece).collect::<Result<_, MethodError>>()?;
        let of_image = |n: usize| of_pieces.iter().map(|verdicts| verdicts[n].clone()).collect();
        Ok((0..images.len()).map(of_image).collect())
    };
    let (mut scores, mut n_done) = (Vec::<PieceScores>::new(), 0);
    spread_images(&held_out, held_out.len(), run, |images| {
        // As in scoring: on cores one image at a time and several at once, on a GPU all of a batch.
        let of_image = |(k, image): (usize, &TrainingImage)| {
            let mut all = vec![image.image.clone()];
            for round in 0..rounds {
                let seed = seed.derive_index(((n_done + k) * rounds + round) as u64);
                let defect = synthesizer.synthesize_within(&image.image, image.inside.as_ref(), seed)?;
                all.push(defect.image);
            }
            let together = if run.device.is_cpu() { 1 } else { all.len() };
            let batches = all.chunks(together).map(|images| score(images, image.place()));
            Ok(batches.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let found: Vec<Vec<Vec<Prediction>>> = if run.device.is_cpu() {
            images.par_iter().enumerate().map(of_image).collect::<Result<_, MethodError>>()?
        } else {
            images.iter().enumerate().map(of_image).collect::<Result<_, MethodError>>()?
        };
        for verdicts in found {
            // The image itself comes before those with a defect.
            for (n, of_image) in verdicts.iter().enumerate() {
                scores.resize_with(of_image.len(), PieceScores::default);
                for (scores, verdict) in scores.iter_mut().zip(of_image) {
                    if n == 0 { scores.add_good(verdict) } else { scores.add_defective(verdict) }
                }
            }
        }
        n_done += images.len();
        run.progress.update(n_done as u64, "");
        Ok(())
    })?;
    run.progress.finish();
    Ok(Gate::fit(&scores))
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, TiledSource};
    use fmam_testkit::striped_train;

    use super::*;

    #[test]
    fn every_image_is_learnt_or_held_out() {
        let config = EvidenceConfig::default();
        for (n, n_held_out) in [(2, 1), (5, 1), (90, 18), (320, 64), (400, 64)] {
            let train = striped_train(n, ImageSize::square(8), fmam_core::Seed::new(1));
            let Split { learnt, held_out } = config.split(&train);
            assert_eq!((held_out.len(), learnt.len()), (n_held_out, config.n_learnt(n)), "{n}");
            let mut all = [learnt, held_out].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
        let EvidenceConfig { base, gaussians, patches, .. } = config.clone().resolved(1);
        assert_eq!((base, gaussians, patches), (false, false, 0.0));
        assert_eq!(config.clone().resolved(2), config);
    }

    #[test]
    fn tiles_of_one_image_have_one_use() {
        let of_images = |n| {
            let images = striped_train(n, ImageSize::new(16, 24), fmam_core::Seed::new(1));
            TiledSource::new(images, ImageSize::square(16), 8).unwrap()
        };
        let config = EvidenceConfig::default();
        // Two tiles an image.
        let Split { learnt, held_out } = config.split(&of_images(5));
        assert_eq!((held_out, learnt), (vec![0, 1], (2..10).collect()));
        // Of a single image its tiles.
        assert_eq!(config.split(&of_images(1)).held_out, [0]);
    }
}
