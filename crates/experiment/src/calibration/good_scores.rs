use fmam_core::{Mask, Progress, RgbImage, SampleSource, Seed, SourceError, ordered_map};
use fmam_inspection::HeldOut;
use fmam_methods::{Detector, Prediction};
use fmam_synthesis::Textures;

use crate::ExperimentError;
use crate::defects::synthesizer_of;

/// Images that are scored together.
const BATCH_SIZE: usize = 8;

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
    let load = |index: usize| -> Result<(Vec<RgbImage>, Option<Mask>), SourceError> {
        let (mut images, inside) = (vec![good.image(index)?], good.inside(index)?);
        let seed = trial.seed.derive_index(index as u64);
        for number in 0..n_defects {
            let seed = seed.derive_index(number as u64);
            let defect = synthesizer.synthesize_within(&images[0], inside.as_ref(), seed)?;
            images.push(defect.image);
        }
        Ok((images, inside))
    };
    let mut found = GoodScored::default();
    ordered_map(good.len(), threads, threads + 2, load, |index, images| {
        let id = || good.sample(index).id.clone();
        let (images, inside) = images.map_err(|source| ExperimentError::Sample { id: id(), source })?;
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let mut predictions = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH_SIZE) {
            let scored = detector.score_within(batch, &vec![inside.clone(); batch.len()]);
            predictions.extend(scored.map_err(|error| ExperimentError::of_image(error, &id()))?);
        }
        let mut predictions = predictions.into_iter();
        found.images.extend(predictions.next().as_ref().map(held_out));
        found.defects.extend(predictions.map(|prediction| prediction.image_score));
        scored(index + 1);
        Ok(())
    })?;
    Ok(found)
}

fn held_out(prediction: &Prediction) -> HeldOut {
    let map = &prediction.anomaly_map;
    let mut scores = map.data().to_vec();
    let middle = scores.len() / 2;
    let typical =
        if scores.is_empty() { 0.0 } else { *scores.select_nth_unstable_by(middle, f32::total_cmp).1 };
    HeldOut { score: prediction.image_score, peak: map.max(), typical }
}
