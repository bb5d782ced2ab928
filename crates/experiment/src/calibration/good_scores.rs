use fmam_core::{Mask, Progress, RgbImage, SampleSource, Seed, SourceError, ordered_map};
use fmam_inspection::HeldOut;
use fmam_methods::{Detector, MethodError, Prediction};
use fmam_synthesis::Textures;

use crate::ExperimentError;
use crate::defects::synthesizer_of;

/// Synthetic defects that are scored at least, on few images several each.
const SCORED_DEFECTS: usize = 50;

/// The synthetic defects that good images are scored with too.
pub struct DefectTrial {
    /// The textures of the defects.
    pub textures: Textures,
    /// The seed that decides the defects.
    pub seed: Seed,
    /// Images of the whole calibration: few of them get several defects each, one at a time.
    pub n_images: usize,
}

/// The scores of good images, and of the same images with synthetic defects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GoodScored {
    /// The scores of the images as they are.
    pub images: Vec<HeldOut>,
    /// The image scores of the images with a synthetic defect each.
    pub defects: Vec<f32>,
}

impl GoodScored {
    /// Adds the scores of other images.
    pub(super) fn extend(&mut self, other: Self) {
        self.images.extend(other.images);
        self.defects.extend(other.defects);
    }
}

/// Scores good images that `detector` did not learn from, as they are and with the defects of
/// `trial`. The result does not depend on the number of `threads`, which decode and synthesise.
/// `scored` hears the number of images done.
///
/// # Errors
/// [`ExperimentError::Sample`] naming an unreadable image, [`ExperimentError::Method`],
/// [`ExperimentError::Cancelled`].
pub fn score_good(
    detector: &Detector,
    good: &dyn SampleSource,
    trial: &DefectTrial,
    threads: usize,
    progress: &dyn Progress,
    mut scored: impl FnMut(usize),
) -> Result<GoodScored, ExperimentError> {
    let synthesizer = synthesizer_of(trial.textures.clone())?;
    let n_defects = SCORED_DEFECTS.div_ceil(trial.n_images.max(1));
    // Images in their own size are large: one of them is in memory at a time, in one copy.
    let is_tiled = detector.card().preparation().tile_overlap().is_some();
    let threads = if is_tiled { 1 } else { threads };
    let window = if is_tiled { 1 } else { threads + 2 };
    let defect = |image: &RgbImage, inside: Option<&Mask>, index: usize, number: usize| {
        let seed = trial.seed.derive_index(index as u64).derive_index(number as u64);
        synthesizer.synthesize_within(image, inside, seed).map(|defect| defect.image)
    };
    let load = |index: usize| -> Result<(Vec<RgbImage>, Option<Mask>), SourceError> {
        let (mut images, inside) = (vec![good.image(index)?], good.inside(index)?);
        for number in (0..n_defects).filter(|_| !is_tiled) {
            images.push(defect(&images[0], inside.as_ref(), index, number)?);
        }
        Ok((images, inside))
    };
    let mut found = GoodScored::default();
    ordered_map(good.len(), threads, window, load, |index, images| {
        let id = || good.sample(index).id.clone();
        let (images, inside) = images.map_err(|source| ExperimentError::Sample { id: id(), source })?;
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let score = |batch: &[RgbImage]| {
            let scored = detector.score_within(batch, &vec![inside.clone(); batch.len()]);
            scored.map_err(|error| ExperimentError::of_image(error, &id()))
        };
        let mut is_first = true;
        for batch in images.chunks(detector.batch_size()) {
            for prediction in score(batch)? {
                match std::mem::take(&mut is_first) {
                    true => found.images.push(held_out(&prediction, inside.as_ref())),
                    false => found.defects.push(prediction.image_score),
                }
            }
        }
        for number in (0..n_defects).filter(|_| is_tiled) {
            let defect = defect(&images[0], inside.as_ref(), index, number).map_err(MethodError::from)?;
            found.defects.extend(score(&[defect])?.into_iter().map(|prediction| prediction.image_score));
        }
        scored(index + 1);
        Ok(())
    })?;
    Ok(found)
}

/// The verdict on a good image, of which the pixels count that are 1 in `inside`.
fn held_out(prediction: &Prediction, inside: Option<&Mask>) -> HeldOut {
    let map = &prediction.anomaly_map;
    let counts = |at: usize| inside.is_none_or(|inside| inside.data().get(at) == Some(&1));
    let counted = map.data().iter().enumerate().filter(|(at, _)| counts(*at));
    let mut scores: Vec<f32> = counted.map(|(_, score)| *score).collect();
    let middle = scores.len() / 2;
    let typical =
        if scores.is_empty() { 0.0 } else { *scores.select_nth_unstable_by(middle, f32::total_cmp).1 };
    HeldOut { score: prediction.image_score, peak: map.max(), typical }
}
