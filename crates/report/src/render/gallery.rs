//! A few overlays in `report.md`: the same test images for every method, so that maps can be
//! compared.

use std::collections::{BTreeMap, BTreeSet};

use fmam_core::Label;
use fmam_record::{ImageRecord, RunRecord};

use crate::model::paper::method_title;
use crate::render::table::{Align, Table};
use crate::text::{code, escape, link};
use crate::{Report, Summary};

/// Anomalous images shown of a data set; one normal image is shown besides.
const N_ANOMALOUS: usize = 4;

/// A test image and its pictures.
struct Exhibit<'a> {
    category: &'a str,
    overlay: &'a ImageRecord,
    pictures: Vec<(&'a RunRecord, &'a ImageRecord)>,
}

/// The pictures of one data set; empty where its runs wrote none.
pub(crate) fn section(report: &Report, rows: &[Summary]) -> String {
    let mut text = String::new();
    for exhibit in exhibits(report, rows) {
        let what = match (exhibit.overlay.label, &exhibit.overlay.defect_type) {
            (Label::Normal, _) => "normal",
            (Label::Anomalous, Some(defect_type)) => defect_type.as_str(),
            (Label::Anomalous, None) => "anomalous",
        };
        let title = format!("**{}, {}**", escape(exhibit.category), escape(what));
        text.push_str(&format!("{title} ({})\n\n", code(&exhibit.overlay.sample)));
        let several = exhibit.pictures.iter().any(|(run, _)| run.backbone != rows[0].backbone);
        let mut table = Table::new([
            ("Method", Align::Left),
            ("Score", Align::Right),
            ("Input, ground truth, map over input, map", Align::Left),
        ]);
        for (run, overlay) in &exhibit.pictures {
            let method = escape(method_title(run.method.as_str()));
            let method = if several { format!("{method} {}", code(&run.backbone)) } else { method };
            let path = format!("{}/{}", run.key().path(), overlay.path.as_deref().unwrap_or_default());
            let alternative = format!("{} of {}", method_title(run.method.as_str()), overlay.sample);
            table.row([
                method,
                format!("{:.3}", overlay.image_score),
                format!("![{}]({})", escape(&alternative), link(&path)),
            ]);
        }
        text.push_str(&format!("{}\n", table.markdown()));
    }
    text
}

/// Images that most methods have a picture of, taken in turn from categories and defect types.
fn exhibits<'a>(report: &'a Report, rows: &[Summary]) -> Vec<Exhibit<'a>> {
    let mut by_image: BTreeMap<(&str, Option<&str>, &str), Exhibit<'a>> = BTreeMap::new();
    for row in rows {
        let mut categories = BTreeSet::new();
        // The runs are sorted: the first of a category has its lowest seed.
        for run in report.runs_of(row).filter(|run| categories.insert(run.category.as_str())) {
            for overlay in run.artefacts.images.iter().filter(|overlay| overlay.path.is_some()) {
                let key = (run.category.as_str(), overlay.defect_type.as_deref(), overlay.sample.as_str());
                let new = || Exhibit { category: &run.category, overlay, pictures: Vec::new() };
                by_image.entry(key).or_insert_with(new).pictures.push((run, overlay));
            }
        }
    }
    let most = by_image.values().map(|exhibit| exhibit.pictures.len()).max().unwrap_or(0);
    by_image.retain(|_, exhibit| exhibit.pictures.len() == most);

    // (which image of its type, which type of its category, category): sorting by it deals them out
    // in turn.
    let mut n_of_type: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    let mut types: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
    let mut dealt: Vec<((usize, usize, &str), Exhibit<'a>)> = Vec::new();
    for ((category, defect_type, _), exhibit) in by_image {
        let nth = n_of_type.entry((category, defect_type)).or_default();
        let known = types.entry(category).or_default();
        if !known.contains(&defect_type) {
            known.push(defect_type);
        }
        dealt.push(((*nth, known.len() - 1, category), exhibit));
        *nth += 1;
    }
    dealt.sort_by_key(|(turn, _)| *turn);
    let (normal, anomalous): (Vec<_>, Vec<_>) = dealt
        .into_iter()
        .map(|(_, exhibit)| exhibit)
        .partition(|exhibit| exhibit.overlay.label == Label::Normal);
    anomalous.into_iter().take(N_ANOMALOUS).chain(normal.into_iter().take(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, with_overlays};

    fn shown(runs: Vec<RunRecord>) -> Vec<String> {
        let report = Report::from_records(runs);
        let found = exhibits(&report, report.summary());
        found.iter().map(|e| format!("{} {} {}", e.category, e.overlay.sample, e.pictures.len())).collect()
    }

    #[test]
    fn categories_and_defect_types_take_turns() {
        let types = ["bend", "cut", "hole"];
        let runs = ["a", "b"].map(|category| with_overlays(record("mvtec", category, "nkd", 0), &types));
        assert_eq!(
            shown(runs.to_vec()),
            [
                "a test/bend/000 1",
                "b test/bend/000 1",
                "a test/cut/000 1",
                "b test/cut/000 1",
                "a test/good/000 1"
            ]
        );
    }

    #[test]
    fn images_that_every_method_has_go_first_and_one_seed_is_enough() {
        let runs = vec![
            with_overlays(record("mvtec", "a", "nkd", 0), &["bend", "cut"]),
            with_overlays(record("mvtec", "a", "rkd", 0), &["cut"]),
            with_overlays(record("mvtec", "a", "rkd", 1), &["cut", "bend"]),
        ];
        assert_eq!(shown(runs), ["a test/cut/000 2", "a test/good/000 2"]);
    }
}
