//! The analyses of the runs of a row, as means over the categories and then over the seeds.

use fmam_record::{Analysis, DefectAnalysis, FeatureScatter, RunRecord, ScaleAnalysis, ScoreSeparability};

use crate::model::image_settings::differ_in_pixels;
use crate::{Estimate, Report, Summary};

/// The kind of defect that is analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defects {
    Real,
    Synthetic,
}

impl Defects {
    pub(crate) const ALL: [Self; 2] = [Self::Real, Self::Synthetic];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Real => "real defects",
            Self::Synthetic => "synthetic defects",
        }
    }

    fn of(self, scale: &ScaleAnalysis) -> Option<&DefectAnalysis> {
        match self {
            Self::Real => scale.real.as_ref(),
            Self::Synthetic => scale.synthetic.as_ref(),
        }
    }
}

/// The features, before or after adaptation, or their distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Features {
    /// The teacher's, about their mean.
    Before,
    /// The mapped ones, about their mean.
    After,
    /// The compared features, about the student's prediction.
    Discrepancy,
}

impl Features {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::After, Self::Discrepancy];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Before => "teacher",
            Self::After => "mapped",
            Self::Discrepancy => "about the student",
        }
    }

    fn of(self, defects: &DefectAnalysis) -> Option<FeatureScatter> {
        match self {
            Self::Before => Some(defects.before),
            Self::After => defects.after,
            Self::Discrepancy => defects.discrepancy,
        }
    }
}

pub(crate) type ScatterFigure = fn(&FeatureScatter) -> f64;

/// The statistics of features, each with its title.
pub(crate) const SCATTER: [(&str, ScatterFigure); 3] = [
    ("Bias", |scatter| scatter.bias),
    ("Variance", |scatter| scatter.variance),
    ("Bias, in deviations", |scatter| scatter.bias_per_deviation),
];

type SeparabilityFigure = fn(&ScoreSeparability) -> f64;

/// The statistics of scores, each with its title.
pub(crate) const SEPARABILITY: [(&str, SeparabilityFigure); 3] = [
    ("Overlap", |scores| scores.overlap),
    ("Fisher's ratio", |scores| scores.fisher_ratio),
    ("KS distance", |scores| scores.ks_distance),
];

/// The strides of the scales that all runs of a row have, finest first; none where they differ or
/// are not known.
pub(crate) fn strides(report: &Report, row: &Summary) -> Vec<usize> {
    let of = |run: &RunRecord| {
        let scales = run.analysis.as_ref().map(|analysis| &analysis.scales)?;
        Some(scales.iter().map(|scale| scale.stride).collect::<Vec<_>>())
    };
    let mut all = report.runs_of(row).map(of);
    let first = all.next().flatten().unwrap_or_default();
    if all.all(|strides| strides.as_ref() == Some(&first)) { first } else { Vec::new() }
}

/// A statistic of the features of a row at one scale; `None` where a run does not have it.
pub(crate) fn scatter(
    report: &Report,
    row: &Summary,
    scale: usize,
    (defects, features): (Defects, Features),
    figure: ScatterFigure,
) -> Option<Estimate> {
    over_seeds(report, row, &|analysis| {
        let scale = analysis.scales.get(scale)?;
        Some(figure(&features.of(defects.of(scale)?)?))
    })
}

/// A statistic of the scores of a row, of images and of pixels.
pub(crate) fn separability(
    report: &Report,
    row: &Summary,
    figure: SeparabilityFigure,
) -> [Option<Estimate>; 2] {
    let of = |scores: fn(&Analysis) -> Option<ScoreSeparability>| {
        over_seeds(report, row, &|analysis| scores(analysis).as_ref().map(figure))
    };
    [of(|analysis| analysis.image_scores), of(|analysis| analysis.pixel_scores)]
}

/// The mean over the categories, then over the complete seeds; `None` where the runs have none.
fn over_seeds(report: &Report, row: &Summary, figure: &dyn Fn(&Analysis) -> Option<f64>) -> Option<Estimate> {
    if differ_in_pixels(report.runs_of(row)) {
        return None;
    }
    let of_seed = |&seed: &u64| {
        let runs = report.runs_of(row).filter(|run| run.seed.value() == seed);
        let values: Option<Vec<f64>> = runs.map(|run| figure(run.analysis.as_ref()?)).collect();
        Estimate::of(&values?).map(|over_categories| over_categories.mean)
    };
    Estimate::of(&row.seeds.iter().map(of_seed).collect::<Option<Vec<f64>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{record, with_analysis};

    #[test]
    fn statistics_are_over_categories_and_then_over_seeds() {
        let mut runs = Vec::new();
        for (category, shift) in [("cable", 0.0), ("screw", 0.2)] {
            for seed in 0..2 {
                let run = record("mvtec", category, "rkd+fmam", seed);
                runs.push(with_analysis(run, shift + 0.1 * seed as f64));
            }
        }
        let report = Report::from_records(runs.clone());
        let row = &report.summary()[0];
        assert_eq!(strides(&report, row), [4, 8]);
        let bias = |report: &Report| {
            scatter(report, &report.summary()[0], 1, (Defects::Real, Features::After), SCATTER[0].1)
        };
        // Category means 0.8 + (0 + 0.2) / 2 and 0.1 more with the other seed.
        let found = bias(&report).unwrap();
        assert!((found.mean - 0.95).abs() < 1e-12 && found.n == 2, "{found:?}");
        assert!((found.std.unwrap() - 0.1 / 2.0_f64.sqrt()).abs() < 1e-12);
        let [images, pixels] = separability(&report, row, SEPARABILITY[2].1);
        assert!(images.is_some() && pixels.is_none());

        runs[0].analysis = None;
        let gap = Report::from_records(runs);
        assert_eq!(bias(&gap), None);
        assert!(strides(&gap, &gap.summary()[0]).is_empty());
    }
}
