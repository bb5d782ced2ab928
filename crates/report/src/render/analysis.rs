//! The analyses of features and scores as tables.

use crate::model::analysis::{Defects, Features, SCATTER, SEPARABILITY, scatter, separability, strides};
use crate::render::table::{Align, Table};
use crate::{Estimate, Report, Summary};

/// Mean and deviation with the digits that a statistic of some size has.
fn spread(estimate: Option<Estimate>) -> String {
    let Some(Estimate { mean, std, .. }) = estimate else { return "–".to_owned() };
    let digits = if mean.abs() < 10.0 { 3 } else { 1 };
    match std {
        None => format!("{mean:.digits$}"),
        Some(std) => format!("{mean:.digits$} ± {std:.digits$}"),
    }
}

/// The table of the separability of the scores of a data set: a line for each row with an analysis,
/// `None` if no row has one. `title` names a row.
pub(crate) fn separability_table(
    report: &Report,
    rows: &[Summary],
    title: &dyn Fn(&Summary) -> String,
) -> Option<Table> {
    let headings = ["Images", "Pixels"].iter().flat_map(|of| {
        SEPARABILITY.iter().map(move |(name, _)| {
            (
                format!("{of}: {}", name.to_lowercase().replace("ks ", "KS ").replace("fisher", "Fisher")),
                Align::Right,
            )
        })
    });
    let mut table = Table::new([("Method".to_owned(), Align::Left)].into_iter().chain(headings));
    let mut found = false;
    for row in rows {
        let figures = SEPARABILITY.map(|(_, figure)| separability(report, row, figure));
        let cells = [0, 1].into_iter().flat_map(|of| figures.map(|figure| figure[of]));
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(Option::is_some) {
            found = true;
            table.row([title(row)].into_iter().chain(cells.into_iter().map(spread)));
        }
    }
    found.then_some(table)
}

/// Bias and variance of a data set: a line for each row, scale, kind of defects and features;
/// `None` where there is none.
pub(crate) fn scatter_table(
    report: &Report,
    rows: &[Summary],
    title: &dyn Fn(&Summary) -> String,
) -> Option<Table> {
    let left = ["Method", "Defects", "Stride", "Features"].map(|title| (title, Align::Left));
    let mut table = Table::new(left.into_iter().chain(SCATTER.map(|(title, _)| (title, Align::Right))));
    let mut found = false;
    for row in rows {
        for defects in Defects::ALL {
            for (k, stride) in strides(report, row).into_iter().enumerate() {
                for features in Features::ALL {
                    let figures =
                        SCATTER.map(|(_, figure)| scatter(report, row, k, (defects, features), figure));
                    if figures.iter().any(Option::is_some) {
                        found = true;
                        let kind = defects.title().split(' ').next().unwrap_or_default().to_owned();
                        let names = [title(row), kind, stride.to_string(), features.title().to_owned()];
                        table.row(names.into_iter().chain(figures.map(spread)));
                    }
                }
            }
        }
    }
    found.then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;

    #[test]
    fn there_is_no_table_of_nothing() {
        let report = Report::from_records(vec![record("mvtec", "screw", "rkd", 0)]);
        let title = |row: &Summary| row.method.clone();
        assert!(separability_table(&report, report.summary(), &title).is_none());
        assert!(scatter_table(&report, report.summary(), &title).is_none());
    }
}
