use fmam_core::{Progress, RgbImage, SampleSource, Seed, SourceError, ordered_map};
use fmam_inspection::HeldOut;
use fmam_methods::{Detector, Prediction};
use fmam_synthesis::{SynthesisError, Synthesizer};

use crate::ExperimentError;

/// Images that are scored together.
const BATCH_SIZE: usize = 8;

/// Synthetic defects that are scored at least, on few images several each.
pub const SCORED_DEFECTS: usize = 50;

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

/// Scores good images that `detector` did not learn from, and with `synthesizer` each of them with
/// `n_defects` synthetic defects, one at a time. `seed` decides the defects; the result does not
/// depend on the number of `threads`, which decode and synthesise. `scored` hears the number of
/// images done.
///
/// # Errors
/// [`ExperimentError::Sample`] naming an unreadable image, [`ExperimentError::Method`],
/// [`ExperimentError::Cancelled`].
pub fn score_good(
    detector: &Detector,
    good: &dyn SampleSource,
    defects: Option<(&Synthesizer, usize, Seed)>,
    threads: usize,
    progress: &dyn Progress,
    mut scored: impl FnMut(usize),
) -> Result<GoodScored, ExperimentError> {
    let load = |index: usize| -> Result<Vec<RgbImage>, SourceError> {
        let image = good.image(index)?;
        let mut images = vec![image];
        if let Some((synthesizer, n_defects, seed)) = defects {
            let seed = seed.derive_index(index as u64);
            let defect = |number: usize| synthesizer.synthesize(&images[0], seed.derive_index(number as u64));
            let made = (0..n_defects).map(defect).collect::<Result<Vec<_>, SynthesisError>>()?;
            images.extend(made.into_iter().map(|anomaly| anomaly.image));
        }
        Ok(images)
    };
    let mut found = GoodScored::default();
    ordered_map(good.len(), threads, threads + 2, load, |index, images| {
        let id = || good.sample(index).id.clone();
        let images = images.map_err(|source| ExperimentError::Sample { id: id(), source })?;
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let mut predictions = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH_SIZE) {
            let scored = detector.score(batch);
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
