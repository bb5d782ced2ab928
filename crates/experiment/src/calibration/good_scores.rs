use fmam_core::{CoreError, Mask, Progress, RgbImage, SampleSource, Seed, SourceError, ordered_map};
use fmam_inspection::HeldOut;
use fmam_methods::{Detector, MethodError, Prediction, TileProgress};
use fmam_synthesis::Textures;

use super::window::Window;
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
/// `progress` hears the number of images done, `n_before` of which were done before these.
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
    n_before: usize,
) -> Result<GoodScored, ExperimentError> {
    let synthesizer = synthesizer_of(trial.textures.clone())?;
    let n_defects = SCORED_DEFECTS.div_ceil(trial.n_images.max(1));
    let defect = |image: &RgbImage, inside: Option<&Mask>, index: usize, number: usize| {
        let seed = trial.seed.derive_index(index as u64).derive_index(number as u64);
        synthesizer.synthesize_within(image, inside, seed).map(|defect| defect.image)
    };
    let unread =
        |index: usize| move |source| ExperimentError::Sample { id: good.sample(index).id.clone(), source };
    let score = |index: usize, batch: &[RgbImage], inside: Option<&Mask>| {
        if progress.cancelled() {
            return Err(ExperimentError::Cancelled);
        }
        let tiles = TileProgress::new(progress, (n_before + index) as u64);
        let scored = detector.score_watched(batch, &vec![inside.cloned(); batch.len()], &tiles);
        scored.map_err(|error| ExperimentError::of_image(error, &good.sample(index).id))
    };
    let mut found = GoodScored::default();
    if detector.card().preparation().tile_overlap().is_some() {
        // Images in their own size are large: one of them is in memory at a time, in one copy.
        for index in 0..good.len() {
            let mut image = good.image(index).map_err(unread(index))?;
            let inside = good.inside(index).map_err(unread(index))?;
            for prediction in score(index, std::slice::from_ref(&image), inside.as_ref())? {
                found.images.push(held_out(prediction, inside.as_ref()));
            }
            for number in 0..n_defects {
                let place =
                    trial.seed.derive("window").derive_index(index as u64).derive_index(number as u64);
                let refused = |error: CoreError| unread(index)(error.into());
                let window = Window::draw(image.size(), inside.as_ref(), place).map_err(refused)?;
                let scored = match window {
                    Some(window) => {
                        let part = window.cut(&image).map_err(refused)?;
                        let within = window.inside(inside.as_ref()).map_err(refused)?;
                        let changed =
                            defect(&part, within.as_ref(), index, number).map_err(MethodError::from)?;
                        window.paste(&changed, &mut image);
                        let scored = score(index, std::slice::from_ref(&image), inside.as_ref())?;
                        window.paste(&part, &mut image);
                        scored
                    }
                    None => {
                        let changed =
                            defect(&image, inside.as_ref(), index, number).map_err(MethodError::from)?;
                        score(index, &[changed], inside.as_ref())?
                    }
                };
                found.defects.extend(scored.into_iter().map(|prediction| prediction.image_score));
            }
            progress.update((n_before + index) as u64 + 1, "");
        }
        return Ok(found);
    }
    let load = |index: usize| -> Result<(Vec<RgbImage>, Option<Mask>), SourceError> {
        let (mut images, inside) = (vec![good.image(index)?], good.inside(index)?);
        for number in 0..n_defects {
            images.push(defect(&images[0], inside.as_ref(), index, number)?);
        }
        Ok((images, inside))
    };
    ordered_map(good.len(), threads, threads + 2, load, |index, images| -> Result<(), ExperimentError> {
        let (images, inside) = images.map_err(unread(index))?;
        let mut is_first = true;
        for batch in images.chunks(detector.batch_size()) {
            for prediction in score(index, batch, inside.as_ref())? {
                match std::mem::take(&mut is_first) {
                    true => found.images.push(held_out(prediction, inside.as_ref())),
                    false => found.defects.push(prediction.image_score),
                }
            }
        }
        progress.update((n_before + index) as u64 + 1, "");
        Ok(())
    })?;
    Ok(found)
}

/// The verdict on a good image, of which the pixels count that are 1 in `inside`.
fn held_out(prediction: Prediction, inside: Option<&Mask>) -> HeldOut {
    let Prediction { image_score, anomaly_map } = prediction;
    let peak = anomaly_map.max();
    let mut scores = anomaly_map.into_data();
    if let Some(inside) = inside {
        let mut counts = inside.data().iter();
        scores.retain(|_| counts.next() == Some(&1));
    }
    let middle = scores.len() / 2;
    let typical =
        if scores.is_empty() { 0.0 } else { *scores.select_nth_unstable_by(middle, f32::total_cmp).1 };
    HeldOut { score: image_score, peak, typical }
}
