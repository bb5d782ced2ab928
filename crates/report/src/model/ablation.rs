//! Variants of a method beside it: what each changes, and what that does to the figures.

use fmam_metrics::MetricEntry;
use fmam_record::{RunRecord, differences};
use serde_json::Value;

use crate::{Report, Summary};

/// A line of an ablation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) row: &'a Summary,
    /// The description of the row: the settings in which it differs from its method.
    pub(crate) what: String,
}

/// The ablation of one method with one backbone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ablation<'a> {
    /// The row that the others are compared with.
    pub(crate) base: &'a Summary,
    /// The method without feature mapping, where it has run, the base, and the variants.
    pub(crate) lines: Vec<Line<'a>>,
}

/// The ablations of a data set: of each method that has run itself and in variants,
/// `rkd+fmam@margin-0` say.
pub(crate) fn ablations<'a>(report: &Report, rows: &'a [Summary]) -> Vec<Ablation<'a>> {
    let find = |method: &str, backbone: &str| {
        rows.iter().find(|row| row.method == method && row.backbone == backbone)
    };
    let of = |base: &'a Summary| {
        let id = base.method_id();
        let is_variant = |row: &&Summary| {
            let of_row = row.method_id();
            of_row.variant().is_some() && of_row.without_variant() == id && row.backbone == base.backbone
        };
        let variants: Vec<&Summary> = rows.iter().filter(is_variant).collect();
        if variants.is_empty() {
            return None;
        }
        let plain = id.plain_base().and_then(|plain| find(plain, &base.backbone));
        let mut lines: Vec<Line<'a>> = Vec::new();
        lines.extend(plain.map(|row| Line { row, what: "no feature mapping".to_owned() }));
        lines.push(Line { row: base, what: "as it is".to_owned() });
        let what = |row| changes(report, base, row);
        lines.extend(variants.into_iter().map(|row| Line { row, what: what(row) }));
        Some(Ablation { base, lines })
    };
    rows.iter().filter(|row| row.method_id().variant().is_none()).filter_map(of).collect()
}

/// The settings of a variant that its method does not have so.
fn changes(report: &Report, base: &Summary, variant: &Summary) -> String {
    // On one category: what follows from the number of images is no difference of settings.
    let pair = report.runs_of(variant).find_map(|variant| {
        let base = report.runs_of(base).find(|base| base.category == variant.category)?;
        Some((base, variant))
    });
    let Some((base, variant)): Option<(&RunRecord, &RunRecord)> = pair else { return "–".to_owned() };
    let changed = differences(&base.config.method, &variant.config.method);
    let text = |(key, _, now): (String, &Value, &Value)| format!("{key} = {now}");
    match changed.is_empty() {
        true => "nothing".to_owned(),
        false => changed.into_iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

/// The difference of a metric to that of the base, in points; `None` for the base itself, and where
/// categories or seeds are not the same.
pub(crate) fn gain(base: &Summary, row: &Summary, metric: &MetricEntry) -> Option<f64> {
    if row.method == base.method || row.categories != base.categories || row.seeds != base.seeds {
        return None;
    }
    Some(100.0 * (row.metrics.get(metric)?.mean - base.metrics.get(metric)?.mean))
}

#[cfg(test)]
mod tests {
    use fmam_metrics::IMAGE_AUROC;
    use serde_json::json;

    use super::*;
    use crate::fixture::record;
    use crate::text::points;

    #[test]
    fn variants_are_told_by_what_they_change() {
        let mut runs = Vec::new();
        for seed in 0..2 {
            let variants = [
                ("rkd", 0.85, json!({"epochs": 20})),
                ("rkd+fmam", 0.9, json!({"epochs": 20, "mapping": {"margin": 0.3}})),
                ("rkd+fmam@margin-0", 0.88, json!({"epochs": 20, "mapping": {"margin": 0.0}})),
                ("rkd+fmam@same", 0.9, json!({"epochs": 20, "mapping": {"margin": 0.3}})),
            ];
            for (method, image_auroc, config) in variants {
                let mut run = record("demo", "plain", method, seed);
                run.metrics.set(&IMAGE_AUROC, Some(image_auroc));
                run.config.method = config;
                runs.push(run);
            }
        }
        runs.push(record("demo", "plain", "nkd", 0));
        let report = Report::from_records(runs);
        let [ablation] = &ablations(&report, report.summary())[..] else { panic!("one method has variants") };
        let told: Vec<_> = ablation
            .lines
            .iter()
            .map(|line| {
                (
                    line.row.method.as_str(),
                    line.what.as_str(),
                    gain(ablation.base, line.row, &IMAGE_AUROC).map(points),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("rkd", "no feature mapping", Some("−5.0".to_owned())),
                ("rkd+fmam", "as it is", None),
                ("rkd+fmam@margin-0", "mapping.margin = 0.0", Some("−2.0".to_owned())),
                ("rkd+fmam@same", "nothing", Some("0.0".to_owned())),
            ]
        );
    }

    #[test]
    fn other_seeds_do_not_compare() {
        let runs = vec![
            record("demo", "plain", "rkd+fmam", 0),
            record("demo", "plain", "rkd+fmam", 1),
            record("demo", "plain", "rkd+fmam@wide", 1),
        ];
        let report = Report::from_records(runs);
        let [base, wide] = report.summary() else { panic!("two rows") };
        assert_eq!(gain(base, wide, &IMAGE_AUROC), None);
    }
}
