use std::io::Write;
use std::path::Path;

use fmam_datasets::Category;
use fmam_experiment::{Artist, Evaluation, ExperimentError, exhibited, exhibits};
use fmam_methods::Detector;
use fmam_record::{Decision, Metrics, OVERLAYS_DIR};
use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::output::test_findings::TestFindings;
use crate::report::Overlays;

/// Test images that are drawn.
const N_OVERLAYS: usize = 12;

/// The figures of an evaluation as `metrics.json` has them: a key for each metric, `decision` with
/// the threshold and the intervals where the detector was calibrated, and `findings` about the
/// images, where there are some.
#[derive(Debug, Clone, Serialize)]
pub struct Figures<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
    #[serde(skip_serializing_if = "TestFindings::is_empty")]
    findings: &'a TestFindings,
}

impl<'a> Figures<'a> {
    /// The figures of `evaluation`, with `findings` about its images.
    pub fn of(evaluation: &'a Evaluation, findings: &'a TestFindings) -> Self {
        Self { metrics: &evaluation.metrics, decision: evaluation.decision.as_ref(), findings }
    }
}

/// Writes an evaluation of `detector` on the test split of `category` into the folder `out`:
/// `metrics.json`, `scores.jsonl` with a line for each image, and pictures of some of them.
///
/// # Errors
/// [`Error::Write`], and [`Error::Experiment`] for an image that cannot be read or drawn.
pub fn write_evaluation(
    out: &Path,
    detector: &Detector,
    category: &Category,
    evaluation: &Evaluation,
    findings: &TestFindings,
) -> Result<(), Error> {
    let test = category.test.as_ref();
    let chosen = exhibits(test, &evaluation.image_scores, N_OVERLAYS);
    let path = |index: usize| out.join(OVERLAYS_DIR).join(format!("{index:04}.png"));
    for index in &chosen {
        // One at a time: images in their own size are large.
        let exhibits = exhibited(detector, test, &[*index], path)?;
        Overlays.draw(evaluation.colour_range, &exhibits).map_err(ExperimentError::Overlays)?;
    }
    let line = |(index, score): (usize, &f32)| {
        let sample = test.sample(index);
        let overlay = chosen.contains(&index);
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
        &format!("{}\n", serde_json::to_string_pretty(&Figures::of(evaluation, findings))?),
    )?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fmam_files::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}
