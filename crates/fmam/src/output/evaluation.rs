use std::io::Write;
use std::path::Path;

use fmam_datasets::Category;
use fmam_experiment::{Artist, Evaluation, Exhibit, ExperimentError, exhibits, write_maps};
use fmam_record::{Decision, MAPS_DIR, MapLayout, Metrics, OVERLAYS_DIR};
use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::report::Overlays;

/// Test images that are drawn.
const N_OVERLAYS: usize = 12;

/// The figures of an evaluation as `metrics.json` has them: a key for each metric, and `decision`
/// with the threshold and the intervals where the detector was calibrated.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
}

impl<'a> Figures<'a> {
    /// The figures of `evaluation`.
    pub fn of(evaluation: &'a Evaluation) -> Self {
        Self { metrics: &evaluation.metrics, decision: evaluation.decision.as_ref() }
    }
}

/// Writes an evaluation on the test split of `category` into the folder `out`: `metrics.json`,
/// `scores.jsonl` with a line for each image, pictures of some of them, and with `maps` the anomaly
/// map of each image as a file.
///
/// # Errors
/// [`Error::Write`], and [`Error::Experiment`] for an image that cannot be read or drawn.
pub fn write_evaluation(
    out: &Path,
    category: &Category,
    evaluation: &Evaluation,
    maps: Option<MapLayout>,
) -> Result<(), Error> {
    let test = category.test.as_ref();
    let exhibits = exhibits(test, &evaluation.image_scores, N_OVERLAYS)
        .into_iter()
        .map(|index| {
            let path = out.join(OVERLAYS_DIR).join(format!("{index:04}.png"));
            let id = || test.sample(index).id.clone();
            let image = test.image(index).map_err(|source| ExperimentError::Sample { id: id(), source })?;
            Ok(Exhibit { index, image, mask: evaluation.masks[index].clone(), path })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Overlays.draw(&evaluation.maps, evaluation.colour_range, &exhibits).map_err(ExperimentError::Overlays)?;
    let line = |(index, score): (usize, &f32)| {
        let sample = test.sample(index);
        let overlay = exhibits.iter().any(|exhibit| exhibit.index == index);
        let line = json!({
            "sample": sample.id,
            "label": sample.label,
            "defect_type": sample.defect_type,
            "image_score": score,
            "overlay": overlay.then(|| format!("{OVERLAYS_DIR}/{index:04}.png")),
        });
        format!("{line}\n")
    };
    let scores: String = evaluation.image_scores.iter().enumerate().map(line).collect();
    write(&out.join("scores.jsonl"), &scores)?;
    write(
        &out.join("metrics.json"),
        &format!("{}\n", serde_json::to_string_pretty(&Figures::of(evaluation))?),
    )?;
    if let Some(layout) = maps {
        write_maps(layout, &out.join(MAPS_DIR), &category.name, test, &evaluation.maps)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fmam_files::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}
