//! The paper's figures beside ours, and what differs between the two.

use fmam_record::{Resolution, RunRecord};

use crate::model::image_settings::preparation;
use crate::model::paper::{
    PAPER_METRICS, PublishedIn, WholeDataset, dataset_title, method_title, published, whole_dataset,
};
use crate::model::settings::{distinct, epochs};
use crate::render::table::{Align, Table};
use crate::text::{code, escape, listed, points, spread_percent};
use crate::{Estimate, Report, Summary};

const INTRODUCTION: &str = "\
AUROC in per cent; Δ is ours minus the paper's, in points. The paper is at hand as a poster, which states neither \
its resolution, training length and number of seeds nor the backbone of its Table 1. The two columns are therefore \
**not** the outcome of equal settings: the notes say what is known to differ or is not stated.
";

/// The section of `report.md`; without a heading.
pub(crate) fn section(report: &Report) -> String {
    let right = ["Image", "Paper", "Δ", "Pixel", "Paper", "Δ"].map(|title| (title, Align::Right));
    let left = ["Data set", "Method", "Backbone"].map(|title| (title, Align::Left));
    let last = ["From", "Notes"].map(|title| (title, Align::Left));
    let mut table = Table::new(left.into_iter().chain(right).chain(last));
    let mut notes: Vec<String> = Vec::new();
    let mut unpublished: Vec<String> = Vec::new();

    for row in report.summary() {
        let Some(paper) = published(&row.dataset, &row.method, &row.backbone) else {
            let what = if whole_dataset(&row.dataset).is_some() {
                format!("{} on {}", method_title(&row.method), dataset_title(&row.dataset))
            } else {
                format!("the data set {}", dataset_title(&row.dataset))
            };
            if !unpublished.contains(&what) {
                unpublished.push(what);
            }
            continue;
        };
        let mut marks: Vec<usize> = differences(report, row, paper.source)
            .into_iter()
            .map(|note| {
                let known = notes.iter().position(|other| *other == note);
                known.unwrap_or_else(|| {
                    notes.push(note);
                    notes.len() - 1
                })
            })
            .collect();
        marks.sort_unstable();
        let marks: Vec<String> = marks.iter().map(|index| (index + 1).to_string()).collect();
        let source = match paper.source {
            PublishedIn::Table1 => "Table 1",
            PublishedIn::Table4 => "Table 4",
        };
        let [image, pixel] = PAPER_METRICS.map(|metric| row.metrics.get(metric));
        table.row([
            escape(dataset_title(&row.dataset)),
            escape(method_title(&row.method)),
            code(&row.backbone),
            spread_percent(image),
            format!("{:.1}", paper.image_auroc),
            difference(image, paper.image_auroc),
            spread_percent(pixel),
            format!("{:.1}", paper.pixel_auroc),
            difference(pixel, paper.pixel_auroc),
            source.to_owned(),
            marks.join(", "),
        ]);
    }

    let mut text = String::new();
    if !notes.is_empty() {
        text.push_str(INTRODUCTION);
        text.push_str(&format!("\n{}\n", table.markdown()));
        for (index, note) in notes.iter().enumerate() {
            text.push_str(&format!("{}. {note}\n", index + 1));
        }
    }
    if !unpublished.is_empty() {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!(
            "{gap}The paper publishes no figures for {}.\n",
            escape(&listed(&unpublished))
        ));
    }
    text
}

/// Ours minus the paper's in points.
fn difference(ours: Option<Estimate>, paper: f64) -> String {
    ours.map_or_else(|| "–".to_owned(), |ours| points(100.0 * ours.mean - paper))
}

/// The known differences from the paper's setting and the points that the paper does not state, a
/// sentence each.
fn differences(report: &Report, row: &Summary, source: PublishedIn) -> Vec<String> {
    let runs: Vec<&RunRecord> = report.runs_of(row).collect();
    let mut notes = Vec::new();
    if let Some(whole) = whole_dataset(&row.dataset) {
        notes.extend(coverage(row, &whole, &runs));
    }
    if source == PublishedIn::Table1 {
        let backbone = code(&row.backbone);
        notes.push(format!("Our backbone is {backbone}; the poster does not name that of its Table 1."));
    }
    let prepared = distinct(runs.iter().copied(), preparation);
    notes.push(format!("Our images are {prepared}; the poster states no resolution."));
    if runs.iter().any(|run| run.config.evaluation.at == Resolution::Original) {
        notes.push("Our pixel figures are at the original resolution; the poster states none.".to_owned());
    }
    if runs.iter().any(|run| run.config.data.roi_sha256.is_some()) {
        notes.push("Our figures are of a region of interest; the poster names none.".to_owned());
    }
    let length = distinct(runs.iter().copied(), epochs);
    if !length.is_empty() {
        notes.push(format!("We train for {length} epochs; the poster states no training length."));
    }
    match row.seeds.len() {
        0 => notes.push("No seed has run on all categories, so there is no mean of ours yet.".to_owned()),
        1 => notes.push("A single seed of ours; the poster does not state how many it averages.".to_owned()),
        n => notes.push(format!("{n} seeds of ours; the poster does not state how many it averages.")),
    }
    notes
}

fn coverage(row: &Summary, whole: &WholeDataset, runs: &[&RunRecord]) -> Option<String> {
    let n = row.categories.len();
    if n != whole.n_categories {
        let few = if n <= 3 { format!(" ({})", escape(&listed(&row.categories))) } else { String::new() };
        return Some(format!(
            "Ours covers {n} of the {} categories of {}{few}; the paper's figure is the mean over its categories.",
            whole.n_categories,
            dataset_title(&row.dataset)
        ));
    }
    let (train, test) = whole.n_images?;
    let seed = *row.seeds.first()?;
    let one_seed = || runs.iter().filter(|run| run.seed.value() == seed);
    let our_train: usize = one_seed().map(|run| run.n_train).sum();
    let our_test: usize = one_seed().map(|run| run.n_test_normal + run.n_test_anomalous).sum();
    ((our_train, our_test) != (train, test)).then(|| {
        format!(
            "Our copy of {} has {our_train} training and {our_test} test images; the whole has {train} and {test}.",
            dataset_title(&row.dataset)
        )
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_difference_has_its_sign_and_no_negative_zero() {
        let ours = |mean| Some(Estimate { mean, std: None, n: 1 });
        assert_eq!(difference(ours(0.994), 98.2), "+1.2");
        assert_eq!(difference(ours(0.95), 98.2), "−3.2");
        assert_eq!(difference(ours(0.98199), 98.2), "0.0");
        assert_eq!(difference(None, 98.2), "–");
    }

    #[test]
    fn every_known_difference_is_noted_once() {
        let mut runs = vec![record("mvtec", "screw", "rkd", 0), record("mvtec", "screw", "rkd", 1)];
        runs.push(record("mvtec", "screw", "spade", 0));
        runs[2].config.stages = Vec::new();
        runs.push(record("mvtec", "screw", "rkd+fmam", 0));
        runs[3].backbone = "resnet50".to_owned();
        runs.push(record("mvtec", "screw", "patchcore", 0));
        runs.push(record("demo", "weave", "rkd", 0));
        runs.push(record("demo", "weave", "nkd", 0));
        expect![[r#"
            AUROC in per cent; Δ is ours minus the paper's, in points. The paper is at hand as a poster, which states neither its resolution, training length and number of seeds nor the backbone of its Table 1. The two columns are therefore **not** the outcome of equal settings: the notes say what is known to differ or is not stated.

            | Data set | Method   | Backbone   |      Image | Paper |    Δ |      Pixel | Paper |    Δ | From    | Notes         |
            | -------- | -------- | ---------- | ---------: | ----: | ---: | ---------: | ----: | ---: | ------- | ------------- |
            | MVTec AD | SPADE    | `resnet18` |       90.0 |  85.5 | +4.5 |       95.0 |  96.0 | −1.0 | Table 1 | 1, 2, 3, 4    |
            | MVTec AD | RKD      | `resnet18` | 90.5 ± 0.7 |  96.1 | −5.6 | 95.5 ± 0.7 |  97.1 | −1.6 | Table 1 | 1, 2, 3, 5, 6 |
            | MVTec AD | RKD+FMAM | `resnet50` |       90.0 |  98.8 | −8.8 |       95.0 |  97.9 | −2.9 | Table 4 | 1, 3, 4, 5    |

            1. Ours covers 1 of the 15 categories of MVTec AD (screw); the paper's figure is the mean over its categories.
            2. Our backbone is `resnet18`; the poster does not name that of its Table 1.
            3. Our images are resized to 256×256; the poster states no resolution.
            4. A single seed of ours; the poster does not state how many it averages.
            5. We train for 10 epochs; the poster states no training length.
            6. 2 seeds of ours; the poster does not state how many it averages.

            The paper publishes no figures for the data set demo and PatchCore on MVTec AD.
        "#]]
        .assert_eq(&section(&Report::from_records(runs)));
    }

    #[test]
    fn a_whole_data_set_with_other_images_is_noted() {
        let mut runs: Vec<_> = (0..15).map(|i| record("mvtec", &format!("c{i:02}"), "rkd", 0)).collect();
        assert!(section(&Report::from_records(runs.clone())).contains("4800 training and 2400 test images"));
        runs.iter_mut().for_each(|run| (run.n_train, run.n_test_normal, run.n_test_anomalous) = (0, 0, 0));
        (runs[0].n_train, runs[0].n_test_normal, runs[0].n_test_anomalous) = (3629, 1000, 725);
        let text = section(&Report::from_records(runs));
        assert!(!text.contains("Our copy") && !text.contains("Ours covers"), "{text}");
    }
}
