//! Ablations as tables.

use crate::model::ablation::{Ablation, Line, ablations, gain};
use crate::model::columns::headlines;
use crate::model::paper::method_title;
use crate::render::table::{Align, Table};
use crate::text::{Markup, points, spread_percent};
use crate::{Report, Summary};

/// The section of `report.md` about a data set; empty where it has no variants.
pub(crate) fn section(report: &Report, rows: &[Summary]) -> String {
    let table = |ablation: &Ablation<'_>| {
        let title = method_title(&ablation.base.method);
        format!("{}\n", ablation_table(ablation, title, Markup::Markdown).markdown())
    };
    ablations(report, rows).iter().map(table).collect()
}

/// The lines of an ablation as a table, whose names stand under the title `names`, with its cells
/// as `markup` has them.
pub(crate) fn ablation_table(ablation: &Ablation<'_>, names: &str, markup: Markup) -> Table {
    let metrics = headlines(ablation.lines.iter().map(|line| line.row));
    let figures = metrics.iter().flat_map(|metric| [metric.heading(), "Δ".to_owned()]);
    let left = [names, "What differs"].map(|title| (title.to_owned(), Align::Left));
    let mut table = Table::new(left.into_iter().chain(figures.map(|title| (title, Align::Right))));
    for Line { row, what } in &ablation.lines {
        let name = match row.method_id().variant() {
            Some(variant) => markup.name(variant),
            None => markup.strong(method_title(&row.method)),
        };
        // A setting, or words.
        let what = if what.contains('=') { markup.code(what) } else { what.clone() };
        let mut cells = vec![name, what];
        for metric in &metrics {
            cells.push(spread_percent(row.metrics.get(metric)));
            cells.push(gain(ablation.base, row, metric).map_or_else(String::new, points));
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_variant_is_a_line_with_its_setting_in_code() {
        let mut runs = ["rkd+fmam", "rkd+fmam@margin-0"].map(|method| record("demo", "plain", method, 0));
        runs[0].config.method = json!({"mapping": {"margin": 0.3}});
        runs[1].config.method = json!({"mapping": {"margin": 0.0}});
        let report = Report::from_records(runs.to_vec());
        let text = section(&report, report.summary());
        assert!(text.contains("| margin-0") && text.contains("`mapping.margin = 0.0`"), "{text}");
    }
}
