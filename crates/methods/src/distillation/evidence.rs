//! The evidence that FMAM weighs beside the mapped discrepancy: the plain method's own, and the
//! teacher's features themselves. Part of the training images is held out for the weighing.

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

/// Synthetic defects that the gate is fitted to, at least.
const DEFECTS: usize = 128;

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
    /// Bytes of the patches of all images until those are chosen that are kept.
    pub gallery_bytes: u64,
    /// Weight of the covariance of all positions together in that of one, in images.
    pub shared_images: f64,
    /// Share of the training images that nothing is trained on, above 0 and below 1: at most 64
    /// images, from which, and from synthetic defects in them, the weights follow.
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

    /// The use of `n` training images, the held-out ones evenly spread. Of a single image both.
    pub(super) fn split(&self, n: usize) -> Split {
        if n < 2 {
            return Split { learnt: (0..n).collect(), held_out: (0..n).collect() };
        }
        let count = ((n as f64 * self.held_out).round() as usize).clamp(1, MAX_HELD_OUT.min(n - 1));
        let held_out = spread(n, count);
        let learnt = (0..n).filter(|index| held_out.binary_search(index).is_err()).collect();
        Split { learnt, held_out }
    }
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
    let (held_out, seed) = (Subset::new(train, held_out), run.seed.derive("evidence"));
    let rounds = DEFECTS.div_ceil(held_out.len()).min(16);
    run.progress.start(&StageId::new("weighing evidence"), held_out.len() as u64);
    let score = |image: &RgbImage, place: Place<'_>| -> Result<Vec<Prediction>, MethodError> {
        let size = image.size();
        let pieces = pieces(std::slice::from_ref(image), &[place])?;
        let of_piece = |map: Tensor| {
            let maps = extended_maps(vec![map], &[place])?;
            let found = predictions(maps, MapCombination::Sum, blur_sigma, size)?;
            found.into_iter().next_back().ok_or(MethodError::UndefinedFeatures)
        };
        pieces.into_iter().map(of_piece).collect()
    };
    let (mut scores, mut n_done) = (Vec::<PieceScores>::new(), 0);
    spread_images(&held_out, held_out.len(), run, |images| {
        // One image at a time, several at once on the cores, as in scoring.
        let of_image = |(k, image): (usize, &TrainingImage)| {
            let good = score(&image.image, image.place())?;
            let defective = (0..rounds).map(|round| {
                let seed = seed.derive_index(((n_done + k) * rounds + round) as u64);
                let defect = synthesizer.synthesize_within(&image.image, image.inside.as_ref(), seed)?;
                score(&defect.image, image.place())
            });
            Ok((good, defective.collect::<Result<Vec<_>, MethodError>>()?))
        };
        let found: Vec<_> =
            images.par_iter().enumerate().map(of_image).collect::<Result<_, MethodError>>()?;
        for (good, defective) in found {
            scores.resize_with(good.len(), PieceScores::default);
            scores.iter_mut().zip(&good).for_each(|(scores, good)| scores.add_good(good));
            for defective in &defective {
                scores.iter_mut().zip(defective).for_each(|(scores, found)| scores.add_defective(found));
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
    use super::*;

    #[test]
    fn every_image_is_learnt_or_held_out() {
        let config = EvidenceConfig::default();
        for (n, n_held_out) in [(2, 1), (5, 1), (90, 18), (320, 64), (1000, 64)] {
            let Split { learnt, held_out } = config.split(n);
            assert_eq!(held_out.len(), n_held_out, "{n}");
            let mut all = [learnt, held_out].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
        let Split { learnt, held_out } = config.split(1);
        assert_eq!((learnt, held_out), (vec![0], vec![0]));
    }
}
