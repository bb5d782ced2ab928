//! The test images of a run that are drawn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fmam_core::{AnomalyMap, Label, Mask, RgbImage, Sample, SampleSource, SourceError};
use fmam_methods::Detector;

use crate::ExperimentError;

/// A test image that is to be drawn.
#[derive(Debug, Clone)]
pub struct Exhibit {
    /// Position in the test split.
    pub index: usize,
    /// The image.
    pub image: RgbImage,
    /// Its ground truth, where there is one.
    pub mask: Option<Mask>,
    /// Its anomaly map.
    pub map: AnomalyMap,
    /// The file of the picture.
    pub path: PathBuf,
}

/// Draws pictures of a run: an experiment decides of which images, and knows no format.
pub trait Artist {
    /// Draws each exhibit to its path. All pictures of a run share one `range` of colours.
    ///
    /// # Errors
    /// The artist's own; they name the file.
    fn draw(&self, range: (f32, f32), exhibits: &[Exhibit]) -> Result<(), SourceError>;
}

/// The test images `chosen` as exhibits, each with the file that `path` gives. They are scored
/// again, since no evaluation keeps the maps of all images.
///
/// # Errors
/// [`ExperimentError::Sample`] naming an image that cannot be read, [`ExperimentError::Method`].
pub fn exhibited(
    detector: &Detector,
    test: &dyn SampleSource,
    chosen: &[usize],
    path: impl Fn(usize) -> PathBuf,
) -> Result<Vec<Exhibit>, ExperimentError> {
    let exhibit = |&index: &usize| {
        let id = || test.sample(index).id.clone();
        let load = || Ok((test.image(index)?, test.mask(index)?, test.inside(index)?));
        let (image, mask, inside) = load().map_err(|source| ExperimentError::Sample { id: id(), source })?;
        let scored = detector.score_within(std::slice::from_ref(&image), &[inside]);
        let scored = scored.map_err(|error| ExperimentError::of_image(error, &id()))?;
        let exhibit = |map| Exhibit { index, image, mask, map, path: path(index) };
        Ok(scored.into_iter().next().map(|prediction| exhibit(prediction.anomaly_map)))
    };
    chosen.iter().map(exhibit).filter_map(Result::transpose).collect()
}

/// Chooses at most `n` test images, in ascending order.
///
/// Half of them depend on the data set alone (defect types in turn, in the order of the samples,
/// the first normal image among them), so that methods can be compared on the same images. The
/// other half shows where this run does worst: the lowest-scored anomalous and the highest-scored
/// normal images in turn.
pub fn exhibits(test: &dyn SampleSource, image_scores: &[f32], n: usize) -> Vec<usize> {
    let samples: Vec<&Sample> = (0..test.len().min(image_scores.len())).map(|i| test.sample(i)).collect();
    let mut chosen = Vec::new();
    let by_type = by_type(&samples);
    chosen.extend(by_type.iter().copied().take(n.div_ceil(2)));

    let mut by_score: Vec<usize> = (0..samples.len()).collect();
    by_score.sort_by(|&a, &b| image_scores[a].total_cmp(&image_scores[b]).then(a.cmp(&b)));
    let with = |label| move |index: &usize| samples[*index].label == label;
    let misses = by_score.iter().copied().filter(with.clone()(Label::Anomalous));
    let false_alarms = by_score.iter().rev().copied().filter(with(Label::Normal));
    let worst = interleave(misses, false_alarms);
    for index in worst.into_iter().chain(by_type) {
        if chosen.len() >= n {
            break;
        }
        if !chosen.contains(&index) {
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    chosen
}

/// Positions of the first sample of each defect type (normal being one, the first), then of the
/// second of each, and so on.
pub fn by_type(samples: &[&Sample]) -> Vec<usize> {
    let mut seen: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut order: Vec<(usize, Option<&str>, usize)> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| {
            let nth = seen.entry(sample.defect_type.as_deref()).or_default();
            *nth += 1;
            (*nth, sample.defect_type.as_deref(), index)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, index)| index).collect()
}

fn interleave(mut a: impl Iterator<Item = usize>, mut b: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut out = Vec::new();
    loop {
        let (first, second) = (a.next(), b.next());
        if first.is_none() && second.is_none() {
            return out;
        }
        out.extend(first.into_iter().chain(second));
    }
}

/// A file name for the picture of sample `index`: the position keeps it unique, the id makes it
/// readable.
pub(crate) fn overlay_name(index: usize, sample: &Sample) -> String {
    let id = sample.id.strip_prefix("test/").unwrap_or(&sample.id);
    let readable: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    format!("{index:04}-{readable}.png")
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, Split};
    use fmam_testkit::MemorySource;

    use super::*;

    fn source() -> MemorySource {
        let size = ImageSize::square(4);
        let image = || RgbImage::filled(size, [0; 3]);
        let mut source = MemorySource::new(Split::Test);
        for _ in 0..4 {
            source.push_normal(image());
        }
        for kind in ["hole", "hole", "cut", "cut"] {
            source.push_anomalous(kind, image(), None).unwrap();
        }
        source
    }

    #[test]
    fn half_are_the_same_for_every_run_and_half_are_its_worst() {
        // Normal 0..4, holes 4 and 5, cuts 6 and 7.
        let scores = [0.0, 0.1, 0.9, 0.2, 1.0, 0.05, 1.0, 1.0];
        // First of each type: normal 0, cut 6, hole 4; then the miss 5, the false alarm 2, the next
        // miss 4 (taken), and the next false alarm 3.
        assert_eq!(exhibits(&source(), &scores, 6), [0, 2, 3, 4, 5, 6]);
        assert_eq!(exhibits(&source(), &scores, 2), [0, 5]);
        assert_eq!(exhibits(&source(), &scores, 1), [0]);
        assert!(exhibits(&source(), &scores, 0).is_empty());
        assert_eq!(exhibits(&source(), &scores, 100), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_picture_has_a_plain_name() {
        let mut sample = source().sample(4).clone();
        sample.id = "test/große Löcher/a.b c/../07".to_owned();
        assert_eq!(overlay_name(3, &sample), "0003-gro-e-L-cher-a-b-c----07.png");
    }
}
