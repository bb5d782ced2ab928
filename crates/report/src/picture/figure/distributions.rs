//! The distributions of the scores of normal and anomalous images and pixels, a column for each
//! method.

use fmam_metrics::{IMAGE_AUROC, PIXEL_AUROC};
use fmam_record::{RunRecord, ScoreSeparability};

use super::{Figure, Panel, run_title, sheet};
use crate::model::paper::dataset_title;
use crate::picture::plots;
use crate::text::percent;
use crate::{Report, ReportError, Summary};

/// Methods side by side, at most; further ones stand below.
const COLUMNS: usize = 6;

/// The distributions of one category: histograms and densities of the image scores above,
/// histograms of the pixel scores below, of the run with the lowest seed of each of `rows`, the
/// teacher alone first. `None` where no run lists its scores.
///
/// # Errors
/// [`ReportError::Plot`].
pub(super) fn distributions(
    report: &Report,
    rows: &[Summary],
    category: &str,
) -> Result<Option<Figure>, ReportError> {
    // The runs are sorted: the first of a row has its lowest seed.
    let of_row = |row| report.runs_of(row).find(|run| run.category == category);
    let has_scores = |run: &&RunRecord| !run.artefacts.images.is_empty() || run.pixels.is_some();
    // Variants stand in the ablation; here there would be too many.
    let rows = rows.iter().filter(|row| row.method_id().variant().is_none());
    let mut runs: Vec<&RunRecord> = rows.filter_map(of_row).filter(has_scores).collect();
    runs.sort_by_key(|run| run.method != "teacher");
    let Some(first) = runs.first() else { return Ok(None) };
    let several = runs.iter().any(|run| run.backbone != first.backbone);
    let images = |run: &&RunRecord| {
        let scores = run.analysis.as_ref().and_then(|analysis| analysis.image_scores);
        Ok(Panel {
            heading: run_title(run, first, several),
            plot: plots::image_scores(&run.artefacts.images)?,
            note: note(run.metrics.get(&IMAGE_AUROC), scores),
        })
    };
    let pixels = |run: &&RunRecord| {
        let scores = run.analysis.as_ref().and_then(|analysis| analysis.pixel_scores);
        Ok(Panel {
            heading: String::new(),
            plot: run.pixels.as_ref().map(plots::pixel_scores).transpose()?.flatten(),
            note: note(run.metrics.get(&PIXEL_AUROC), scores),
        })
    };
    let mut sheets = Vec::new();
    for runs in runs.chunks(COLUMNS) {
        sheets.push(runs.iter().map(images).collect::<Result<Vec<_>, ReportError>>()?);
        if runs.iter().any(|run| run.pixels.is_some()) {
            sheets.push(runs.iter().map(pixels).collect::<Result<_, ReportError>>()?);
        }
    }
    let title = format!("{}, {category}: scores, seed {}", dataset_title(&first.dataset), first.seed.value());
    Ok(Some(sheet(&title, &[], &sheets)))
}

fn note(auroc: Option<f64>, scores: Option<ScoreSeparability>) -> String {
    let auroc = auroc.map(|auroc| format!("AUROC {}", percent(auroc)));
    let scores = scores.map(|ScoreSeparability { overlap, fisher_ratio, ks_distance }| {
        format!("overlap {overlap:.2}, Fisher {fisher_ratio:.2}, KS {ks_distance:.2}")
    });
    auroc.into_iter().chain(scores).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, with_analysis, with_overlays};

    #[test]
    fn the_teacher_stands_first_and_each_method_once() {
        let scored = |method, seed| {
            let run = with_overlays(record("mvtec", "screw", method, seed), &["cut", "bend"]);
            with_analysis(run, 0.1)
        };
        let runs = vec![
            scored("rkd", 0),
            scored("rkd", 1),
            scored("teacher", 0),
            record("mvtec", "cable", "rkd", 0),
        ];
        let report = Report::from_records(runs);
        let figure = distributions(&report, report.summary(), "screw").unwrap().unwrap().svg();
        let (teacher, rkd) = (figure.find(">Teacher only<").unwrap(), figure.find(">RKD<").unwrap());
        assert!(teacher < rkd, "{figure}");
        assert_eq!(figure.matches(">RKD<").count(), 1);
        assert!(figure.contains("AUROC 90.0, overlap 0.25, Fisher 2.00, KS 0.80"), "{figure}");
        // No run has pixel scores: one row of plots.
        assert!(!figure.contains("pixel score"));
        assert!(distributions(&report, report.summary(), "cable").unwrap().is_none());
    }
}
