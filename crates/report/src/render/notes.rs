//! Sentences beside the results: mixed settings, and peculiarities of the images.

use fmam_record::{Notice, RunRecord};

use crate::model::findings::ImageFindings;
use crate::model::image_settings::{differ_in_pixels, placed_size, reading_and_evaluation};
use crate::model::settings::{distinct, epochs, precision};
use crate::text::{Markup, listed};
use crate::{Report, Summary};

/// Ids that a sentence names at most.
const MAX_IDS: usize = 5;

/// The title of the sentences of [`about_images`].
pub(super) const ABOUT_IMAGES: &str = "About the images";

/// The settings in which the runs of `row` differ, a sentence each; `title` names the row as
/// `markup` has it.
pub(super) fn mixed_settings(report: &Report, row: &Summary, title: &str, markup: Markup) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, of) in [
        ("image sizes", placed_size as fn(&RunRecord) -> String),
        ("reading or evaluation", reading_and_evaluation),
        ("epochs", epochs),
        ("precisions", precision),
    ] {
        let values = distinct(report.runs_of(row), of);
        if values.contains(" / ") {
            notes.push(format!("{title} mixes runs of different {what}: {}.", markup.name(&values)));
        }
    }
    if differ_in_pixels(report.runs_of(row)) {
        notes.push(format!(
            "{title} has no mean: the figures of runs of one category are of different pixels."
        ));
    }
    notes
}

/// Sentences about the images of `runs`, all of one data set, that a reader of the figures needs;
/// none where nothing was found.
pub(super) fn about_images<'a>(runs: impl IntoIterator<Item = &'a RunRecord>, markup: Markup) -> Vec<String> {
    let ImageFindings { depths, vanished, duplicates, notices } = ImageFindings::of(runs);
    let mut notes = Vec::new();
    for (bits, categories) in depths {
        let categories: Vec<String> = categories.into_iter().map(|category| markup.name(category)).collect();
        notes.push(format!("16-bit files of {} are scaled from {bits} bits.", listed(&categories)));
    }
    let any_vanished = !vanished.is_empty();
    for of in vanished {
        let (category, n) = (markup.name(of.category), of.ids.len());
        let ids = some_of(of.ids.iter().map(|id| markup.code(id)));
        let (masks, have) = if n == 1 { ("mask", "has") } else { ("masks", "have") };
        notes.push(format!(
            "{category}: the {masks} of {n} of {} anomalous images {have} no pixel left at {}: {ids}.",
            of.n_anomalous, of.resolution
        ));
    }
    if any_vanished {
        notes.push(
            "All pixels of these images count as normal in the pixel figures. Evaluate at the original \
             resolution to compare at the size of the files."
                .to_owned(),
        );
    }
    for of in duplicates {
        let (category, n) = (markup.name(of.category), of.pairs.len());
        let pairs = of.pairs.iter();
        let pairs = some_of(pairs.map(|[a, b]| format!("{} = {}", markup.code(a), markup.code(b))));
        let noun = if n == 1 { "pair of samples shows" } else { "pairs of samples show" };
        notes.push(format!("{category}: {n} {noun} the same pixels: {pairs}."));
    }
    for (category, of) in notices {
        let category = markup.name(category);
        for Notice { choice, n, first } in of {
            let first = markup.code(first);
            notes.push(match n {
                1 => format!("{category}, {first}: {choice}."),
                n => format!("{category}, {n} files, {first} the first: {choice}."),
            });
        }
    }
    notes
}

/// The first [`MAX_IDS`] of `names`, and the number of others.
fn some_of(names: impl ExactSizeIterator<Item = String>) -> String {
    let n_others = names.len().saturating_sub(MAX_IDS);
    let mut shown: Vec<String> = names.take(MAX_IDS).collect();
    if n_others > 0 {
        shown.push(format!("{n_others} more"));
    }
    listed(&shown)
}

#[cfg(test)]
mod tests {
    use fmam_core::Placing;
    use fmam_metrics::IMAGE_AUROC;

    use super::*;
    use crate::fixture::{record, with_findings};

    #[test]
    fn findings_are_sentences_that_name_some_images() {
        let mut run = with_findings(record("mvtec", "screw", "nkd", 0));
        let notes = about_images([&run], Markup::Markdown);
        assert_eq!(
            notes,
            [
                "16-bit files of screw are scaled from 12 bits.",
                "screw: the masks of 2 of 119 anomalous images have no pixel left at 256×256: `test/cut/000` \
                 and `test/scratch/<3>`.",
                "All pixels of these images count as normal in the pixel figures. Evaluate at the original \
                 resolution to compare at the size of the files.",
                "screw: 1 pair of samples shows the same pixels: `train/good/001` = `test/good/001`.",
                "screw, 3 files, `screw/a.gif` the first: the first of several frames or pages is used.",
            ]
        );
        run.findings.vanished = (0..9).map(|k| format!("test/cut/{k}")).collect();
        let many = &about_images([&run], Markup::Plain)[1];
        let end = "at 256×256: test/cut/0, test/cut/1, test/cut/2, test/cut/3, test/cut/4 and 4 more.";
        assert!(many.contains("masks of 9 of 119") && many.ends_with(end), "{many}");
        run.findings.vanished.truncate(1);
        let one = &about_images([&run], Markup::Plain)[1];
        assert!(one.contains("the mask of 1 of 119 anomalous images has no pixel left"), "{one}");
        assert!(about_images([&record("mvtec", "screw", "nkd", 0)], Markup::Plain).is_empty());
    }

    #[test]
    fn runs_of_different_pixels_have_a_note_and_no_mean() {
        let mut runs: Vec<_> = (0..2).map(|seed| record("mvtec", "screw", "nkd", seed)).collect();
        runs[1].config.data.placing = Placing::KeepAspect;
        let report = Report::from_records(runs.clone());
        let notes = mixed_settings(&report, &report.summary()[0], "NKD", Markup::Plain);
        assert_eq!(
            notes,
            [
                "NKD mixes runs of different image sizes: 256×256 / 256×256, padded.",
                "NKD has no mean: the figures of runs of one category are of different pixels.",
            ]
        );
        assert_eq!(report.summary()[0].metrics.get(&IMAGE_AUROC), None);
        assert!(report.markdown().contains(notes[1].trim_start_matches("NKD")));

        // A category may have settings of its own; the mean over categories is noted.
        runs[1].category = "cable".to_owned();
        runs[1].seed = runs[0].seed;
        let report = Report::from_records(runs);
        assert_eq!(mixed_settings(&report, &report.summary()[0], "NKD", Markup::Plain).len(), 1);
        assert!(report.summary()[0].metrics.get(&IMAGE_AUROC).is_some());
    }
}
