//! Bias and variance before and after feature mapping, as bars.

use super::{Figure, Panel, sheet};
use crate::model::analysis::{Defects, Features, SCATTER, ScatterFigure, scatter, strides};
use crate::model::paper::{dataset_title, method_title};
use crate::picture::plots::{self, Bars, Tone};
use crate::{Report, ReportError, Summary};

/// The statistics of a method with feature mapping, beside those of the method without it: a row of
/// plots for each kind of defects, a group of bars for each scale. `None` for a row whose runs have
/// no mapped features, or no analysis.
///
/// # Errors
/// [`ReportError::Plot`].
pub(super) fn statistics(report: &Report, row: &Summary) -> Result<Option<Figure>, ReportError> {
    let strides = strides(report, row);
    let groups: Vec<String> = strides.iter().map(|stride| format!("stride {stride}")).collect();
    let plain = plain_method(report, row);
    let is_mapped = |defects| {
        (0..strides.len())
            .any(|k| scatter(report, row, k, (defects, Features::After), SCATTER[0].1).is_some())
    };
    let (mut rows, mut key) = (Vec::new(), Vec::new());
    for defects in Defects::ALL.into_iter().filter(|defects| is_mapped(*defects)) {
        let mut panel = |(title, figure): (&str, ScatterFigure)| {
            let bars = |name: String, tone, row: &Summary, features| {
                let value = |k| scatter(report, row, k, (defects, features), figure);
                Bars { name, tone, values: (0..strides.len()).map(value).collect() }
            };
            let about = |row: &Summary| format!("about {}'s student", method_title(&row.method));
            let mut series = vec![
                bars("teacher".to_owned(), Tone::LightInk, row, Features::Before),
                bars("mapped".to_owned(), Tone::LightColour, row, Features::After),
            ];
            if let Some(plain) = plain {
                series.push(bars(about(plain), Tone::Ink, plain, Features::Discrepancy));
            }
            series.push(bars(about(row), Tone::Colour, row, Features::Discrepancy));
            series.retain(|series| series.values.iter().any(Option::is_some));
            let (plot, note) = (Some(plots::bars(&groups, &series)?), String::new());
            key = series.into_iter().map(|Bars { name, tone, .. }| (name, tone)).collect();
            Ok(Panel { heading: format!("{title}, {}", defects.title()), plot, note })
        };
        rows.push(SCATTER.into_iter().map(&mut panel).collect::<Result<Vec<_>, ReportError>>()?);
    }
    let n = row.seeds.len();
    let title = format!(
        "{} on {}, {}: features of length 1, at normal and defective positions ({n} seed{})",
        method_title(&row.method),
        dataset_title(&row.dataset),
        row.backbone,
        if n == 1 { "" } else { "s; whiskers: standard deviation" }
    );
    Ok((!rows.is_empty()).then(|| sheet(&title, &key, &rows)))
}

/// The row of the same method without feature mapping, `rkd` for `rkd+fmam`.
fn plain_method<'a>(report: &'a Report, row: &Summary) -> Option<&'a Summary> {
    let id = row.method_id();
    let plain = id.plain_base()?;
    report.summary().iter().find(|other| {
        let is_plain =
            other.dataset == row.dataset && other.method == plain && other.backbone == row.backbone;
        // Means over other categories or seeds are other quantities.
        is_plain && other.categories == row.categories && other.seeds == row.seeds
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, with_analysis};

    #[test]
    fn bars_stand_for_the_method_with_and_without_mapping() {
        let mut runs = Vec::new();
        for seed in 0..2 {
            runs.push(with_analysis(record("mvtec", "screw", "rkd+fmam", seed), 0.1));
            let mut plain = with_analysis(record("mvtec", "screw", "rkd", seed), 0.0);
            for scale in plain.analysis.iter_mut().flat_map(|analysis| &mut analysis.scales) {
                scale.real.iter_mut().for_each(|defects| defects.after = None);
            }
            runs.push(plain);
        }
        runs.push(record("mvtec", "screw", "spade", 0));
        let report = Report::from_records(runs);
        let [spade, rkd, fmam] = report.summary() else { panic!("three rows") };
        assert!(statistics(&report, spade).unwrap().is_none());
        assert!(statistics(&report, rkd).unwrap().is_none());
        let figure = statistics(&report, fmam).unwrap().unwrap().svg();
        for text in ["stride 4", "stride 8", "about RKD's student", "Bias, in deviations", "2 seeds"] {
            assert!(figure.contains(text), "{text}: {figure}");
        }
        // Three plots of real defects; the fixture has no synthetic ones.
        assert_eq!(figure.matches("real defects").count(), 3);
        assert!(!figure.contains("synthetic"));
    }
}
