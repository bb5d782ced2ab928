//! Vector plots. Their colours stand for others: on the page those of the page, so that a plot
//! follows it from light to dark, in a file those of paper.

use std::error::Error;
use std::ops::Range;

use fmam_core::{CurvePoint, Label};
use fmam_record::{ImageRecord, PixelCurves};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::{Estimate, ReportError};

/// Width and height of a plot in its own units.
pub(crate) const SIZE: (u32, u32) = (460, 320);

/// Margins of the plotting area: left, right, above and below.
pub(crate) const MARGINS: [u32; 4] = [66, 20, 14, 52];

/// Colours that no plot would have, each standing for one of [`COLOURS`].
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const NORMAL: RGBColor = RGBColor(3, 3, 3);
const ANOMALOUS: RGBColor = RGBColor(4, 4, 4);

/// [`INK`] as an SVG says it.
pub(crate) const INK_FILL: &str = "#010101";

/// A colour of a plot, its replacement on the page, and its replacement on paper.
const COLOURS: [(&str, &str, &str); 4] = [
    (INK_FILL, "var(--ink)", "#1c2127"),
    ("#020202", "var(--grid)", "#d9dde2"),
    ("#030303", "var(--normal)", "#1f6fb2"),
    ("#040404", "var(--anomalous)", "#c2410c"),
];

/// A plot in the colours of the page.
pub(crate) fn on_page(plot: &str) -> String {
    COLOURS.iter().fold(plot.to_owned(), |plot, (from, to, _)| plot.replace(from, to))
}

/// A plot in colours of its own.
pub(crate) fn on_paper(plot: &str) -> String {
    COLOURS.iter().fold(plot.to_owned(), |plot, (from, _, to)| plot.replace(from, to))
}

/// Size of the letters in the plot's units.
const FONT: u32 = 17;

/// Bins of a histogram of image scores.
const IMAGE_BINS: usize = 40;

type Chart<'a, 's> = ChartContext<'a, SVGBackend<'s>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn Error>>;

/// The image-level ROC curve from the scores of all test images, and the pixel-level curves where
/// there are any.
pub(crate) fn rates(
    samples: &[ImageRecord],
    pixels: Option<&PixelCurves>,
) -> Result<Option<String>, ReportError> {
    let scores: Vec<f32> = samples.iter().map(|sample| sample.image_score).collect();
    let labels: Vec<u8> = samples.iter().map(|sample| u8::from(sample.label == Label::Anomalous)).collect();
    // One class only, or no list of samples: nothing to draw.
    let Ok(curve) = fmam_metrics::roc_curve(&scores, &labels) else { return Ok(None) };
    let image: Vec<[f64; 2]> = curve.into_iter().map(|point| [point.fpr, point.tpr]).collect();
    let axes = Axes {
        ranges: [0.0..1.0, 0.0..1.0],
        titles: ["false positive rate", "found"],
        x_lines: true,
        x_labels: NUMBERS,
        y_label: &|value| number(*value),
        legend: Some(SeriesLabelPosition::LowerRight),
    };
    draw(axes, |chart| {
        let series = [
            ("image ROC", Some(&image), INK),
            ("pixel ROC", pixels.map(|pixels| &pixels.roc), NORMAL),
            ("region overlap (PRO)", pixels.map(|pixels| &pixels.pro), ANOMALOUS),
        ];
        for (name, points, colour) in series {
            if let Some(points) = points {
                line(chart, name, points.iter().map(|&[x, y]| (x, y)), colour)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// The range of the axis of [`image_scores`]; `None` when the scores have none.
pub(crate) fn score_range(samples: &[ImageRecord]) -> Option<[f64; 2]> {
    let scores = || samples.iter().map(|sample| f64::from(sample.image_score));
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    (low.is_finite() && high.is_finite() && low < high).then_some([low, high])
}

/// Histograms of the image scores of both classes.
pub(crate) fn image_scores(samples: &[ImageRecord]) -> Result<Option<String>, ReportError> {
    let Some([low, high]) = score_range(samples) else { return Ok(None) };
    let counts = |label| {
        let mut counts = vec![0.0; IMAGE_BINS];
        for sample in samples.iter().filter(|sample| sample.label == label) {
            let position = (f64::from(sample.image_score) - low) / (high - low) * IMAGE_BINS as f64;
            counts[(position as usize).min(IMAGE_BINS - 1)] += 1.0;
        }
        counts
    };
    let (normal, anomalous) = (counts(Label::Normal), counts(Label::Anomalous));
    // As high as the counts: a density times the number of images and the width of a bin.
    let smooth = |label| {
        let of_label = samples.iter().filter(|sample| sample.label == label);
        let scores: Vec<f32> = of_label.map(|sample| sample.image_score).collect();
        let at: Vec<f64> = (0..=100).map(|k| low + (high - low) * f64::from(k) / 100.0).collect();
        let scale = scores.len() as f64 * (high - low) / IMAGE_BINS as f64;
        // Scores that do not vary have no density.
        let density = fmam_metrics::density(&scores, &at).unwrap_or_default();
        at.into_iter().zip(density).map(|(score, density)| (score, density * scale)).collect()
    };
    let smooth = [smooth(Label::Normal), smooth(Label::Anomalous)];
    histogram([low, high], [&normal, &anomalous], smooth, ["image score", "images"]).map(Some)
}

/// Histograms of the pixel scores of both classes, each of which sums to 1.
pub(crate) fn pixel_scores(pixels: &PixelCurves) -> Result<Option<String>, ReportError> {
    let scores = &pixels.scores;
    if scores.range[0] >= scores.range[1] {
        return Ok(None);
    }
    let shares = [&scores.normal.shares[..], &scores.anomalous.shares];
    histogram(scores.range, shares, [Vec::new(), Vec::new()], ["pixel score", "share of the pixels"])
        .map(Some)
}

/// `shares` and the points of the lines over them: of the normal class, then of the anomalous one.
fn histogram(
    [low, high]: [f64; 2],
    shares: [&[f64]; 2],
    smooth: [Vec<(f64, f64)>; 2],
    titles: [&str; 2],
) -> Result<String, ReportError> {
    let top = shares.concat().into_iter().fold(f64::MIN_POSITIVE, f64::max);
    let axes = Axes {
        ranges: [low..high, 0.0..1.05 * top],
        titles,
        x_lines: false,
        x_labels: NUMBERS,
        y_label: &|value| number(*value),
        legend: Some(SeriesLabelPosition::UpperRight),
    };
    draw(axes, |chart| {
        let classes = [("normal", NORMAL), ("anomalous", ANOMALOUS)];
        for (((name, colour), shares), smooth) in classes.into_iter().zip(shares).zip(smooth) {
            let edge = |k: usize| low + (high - low) * k as f64 / shares.len() as f64;
            let steps = shares
                .iter()
                .map(|share| share.max(0.0))
                .enumerate()
                .flat_map(|(k, share)| [(edge(k), share), (edge(k + 1), share)]);
            let series = AreaSeries::new(steps, 0.0, colour.mix(0.3)).border_style(colour.stroke_width(2));
            chart.draw_series(series)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 18, y + 5)], colour.mix(0.6).filled())
            });
            // A narrow class may rise above its counts.
            let smooth = smooth.into_iter().map(|(score, height)| (score, height.min(1.05 * top)));
            chart.draw_series(LineSeries::new(smooth, colour.stroke_width(2)))?;
        }
        Ok(())
    })
}

/// The loss over the epochs, a line for each stage, on a logarithmic axis.
pub(crate) fn training(curve: &[CurvePoint]) -> Result<Option<String>, ReportError> {
    let points = || curve.iter().filter(|point| point.loss.is_finite() && point.loss > 0.0);
    let exponents = || points().map(|point| point.loss.log10());
    let (low, high) =
        (exponents().fold(f64::INFINITY, f64::min), exponents().fold(f64::NEG_INFINITY, f64::max));
    if points().count() < 2 {
        return Ok(None);
    }
    let mut stages: Vec<&str> = curve.iter().map(|point| point.stage.as_str()).collect();
    stages.dedup();
    let epochs = curve.iter().map(|point| point.epoch).max().unwrap_or(1);
    let axes = Axes {
        ranges: [1.0..epochs.max(2) as f64, low - 0.05..high + 0.05],
        titles: ["epoch", "loss"],
        x_lines: true,
        x_labels: NUMBERS,
        y_label: &|exponent| number(10_f64.powf(*exponent)),
        legend: Some(SeriesLabelPosition::UpperRight),
    };
    draw(axes, |chart| {
        for (index, stage) in stages.iter().enumerate() {
            let of_stage = points().filter(|point| point.stage == *stage);
            let of_stage = of_stage.map(|point| (point.epoch as f64, point.loss.log10()));
            line(chart, stage, of_stage, [NORMAL, ANOMALOUS, INK][index % 3])?;
        }
        Ok(())
    })
    .map(Some)
}

/// One kind of bar in a plot of [`bars`].
pub(crate) struct Bars {
    pub(crate) name: String,
    pub(crate) tone: Tone,
    /// The height in each group; nothing stands where there is none.
    pub(crate) values: Vec<Option<Estimate>>,
}

/// The fill of a bar.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    LightInk,
    Ink,
    LightColour,
    Colour,
}

impl Tone {
    /// Colour and opacity.
    fn parts(self) -> (RGBColor, f64) {
        match self {
            Tone::LightInk => (INK, 0.25),
            Tone::Ink => (INK, 0.65),
            Tone::LightColour => (NORMAL, 0.35),
            Tone::Colour => (NORMAL, 1.0),
        }
    }

    fn fill(self) -> RGBAColor {
        let (colour, opacity) = self.parts();
        colour.mix(opacity)
    }

    /// The attributes of an SVG element that is filled so.
    pub(crate) fn attributes(self) -> String {
        let (RGBColor(r, g, b), opacity) = self.parts();
        format!("fill=\"#{r:02x}{g:02x}{b:02x}\" opacity=\"{opacity}\"")
    }
}

/// Bars side by side in groups, with a whisker of a standard deviation to both sides where there is
/// one; they are named elsewhere.
pub(crate) fn bars(groups: &[String], series: &[Bars]) -> Result<String, ReportError> {
    let estimates = series.iter().flat_map(|series| series.values.iter().flatten());
    let top = estimates.map(|e| e.mean + e.std.unwrap_or(0.0)).fold(f64::MIN_POSITIVE, f64::max);
    // Whole numbers are the middles of the groups.
    let group = |value: &f64| {
        let is_group = (value - value.round()).abs() < 1e-6 && *value > -0.5;
        let name = is_group.then(|| groups.get(value.round() as usize)).flatten();
        name.cloned().unwrap_or_default()
    };
    let axes = Axes {
        ranges: [-0.5..groups.len() as f64 - 0.5, 0.0..1.08 * top],
        titles: ["", ""],
        x_lines: false,
        x_labels: (groups.len(), &group),
        y_label: &|value| number(*value),
        legend: None,
    };
    draw(axes, |chart| {
        let width = 0.8 / series.len().max(1) as f64;
        for (k, Bars { tone, values, .. }) in series.iter().enumerate() {
            let fill = tone.fill();
            let left = |group: usize| group as f64 - 0.4 + k as f64 * width;
            let present = || values.iter().enumerate().filter_map(|(group, e)| Some((group, (*e)?)));
            let bar = |(group, e): (usize, Estimate)| {
                Rectangle::new(
                    [(left(group), 0.0), (left(group) + 0.9 * width, e.mean.max(0.0))],
                    fill.filled(),
                )
            };
            chart.draw_series(present().map(bar))?;
            let whisker = |(group, e): (usize, Estimate)| {
                let (at, std) = (left(group) + 0.45 * width, e.std?);
                let ends = [e.mean - std, e.mean + std].map(|end| (at, end.max(0.0))).to_vec();
                Some(PathElement::new(ends, INK.stroke_width(2)))
            };
            chart.draw_series(present().filter_map(whisker))?;
        }
        Ok(())
    })
}

fn line(
    chart: &mut Chart<'_, '_>,
    name: &str,
    points: impl Iterator<Item = (f64, f64)>,
    colour: RGBColor,
) -> Drawn {
    let style = colour.stroke_width(2);
    // A point far outside has no place in the numbers of pixels.
    let (x_range, y_range) = (chart.x_range(), chart.y_range());
    let points =
        points.map(|(x, y)| (x.clamp(x_range.start, x_range.end), y.clamp(y_range.start, y_range.end)));
    let drawn = chart.draw_series(LineSeries::new(points, style))?;
    drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    Ok(())
}

/// Numbers along the horizontal axis.
const NUMBERS: (usize, &dyn Fn(&f64) -> String) = (5, &|value| number(*value));

/// The axes around a plot, their labels and the legend.
struct Axes<'a> {
    ranges: [Range<f64>; 2],
    titles: [&'a str; 2],
    /// True if lines rise from the horizontal axis.
    x_lines: bool,
    /// Labels of the horizontal axis, at most, and what they say.
    x_labels: (usize, &'a dyn Fn(&f64) -> String),
    y_label: &'a dyn Fn(&f64) -> String,
    /// The position of the legend, if there is one.
    legend: Option<SeriesLabelPosition>,
}

/// An SVG element that scales with its place.
fn draw(axes: Axes<'_>, series: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Result<String, ReportError> {
    let mut svg = String::new();
    let drawn = draw_into(&mut svg, axes, series);
    drawn.map_err(|error| ReportError::Plot { reason: error.to_string() })?;
    let (width, height) = SIZE;
    let sized = format!("<svg width=\"{width}\" height=\"{height}\"");
    Ok(svg.replacen(&sized, "<svg role=\"img\"", 1).replace('\n', ""))
}

fn draw_into(svg: &mut String, axes: Axes<'_>, series: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Drawn {
    // The plotting library panics at such axes.
    if let Some(range) =
        axes.ranges.iter().find(|range| !(0.0..f64::INFINITY).contains(&(range.end - range.start)))
    {
        return Err(format!("an axis from {:e} to {:e}", range.start, range.end).into());
    }
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let [left, right, above, below] = MARGINS;
    let [x_range, y_range] = axes.ranges;
    let mut chart = ChartBuilder::on(&area)
        .margin_right(right)
        .margin_top(above)
        .x_label_area_size(below)
        .y_label_area_size(left)
        .build_cartesian_2d(x_range, y_range)?;
    let mut mesh = chart.configure_mesh();
    if !axes.x_lines {
        mesh.disable_x_mesh();
    }
    mesh.x_desc(axes.titles[0])
        .y_desc(axes.titles[1])
        .x_labels(axes.x_labels.0)
        .y_labels(5)
        .x_label_formatter(axes.x_labels.1)
        .y_label_formatter(axes.y_label)
        .max_light_lines(1)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", FONT, &INK))
        .draw()?;
    series(&mut chart)?;
    let font = ("sans-serif", FONT, &INK);
    if let Some(position) = axes.legend {
        chart.configure_series_labels().position(position).label_font(font).draw()?;
    }
    area.present()?;
    Ok(())
}

/// Three digits, without zeros at the end.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use fmam_record::{ClassDistribution, ScoreDistribution};

    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.5, "12.5"),
            (1234.4, "1234"),
            (0.00123, "0.00123"),
            (-3.0, "-3"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn plots_have_the_colours_of_their_place() {
        let curve: Vec<CurvePoint> = (1..4)
            .map(|epoch| CurvePoint { stage: "student <1>".into(), epoch, loss: 1.0 / epoch as f64 })
            .collect();
        let plot = training(&curve).unwrap().unwrap();
        let paper = on_paper(&plot);
        assert!(paper.contains("#1f6fb2") && !paper.contains("#0") && !paper.contains("var("), "{paper}");
        let svg = on_page(&plot);
        assert!(svg.starts_with("<svg role=\"img\" viewBox"), "{}", &svg[..80]);
        assert!(svg.contains("var(--normal)") && svg.contains("var(--ink)") && !svg.contains("#0"), "{svg}");
        assert!(svg.contains("student &lt;1&gt;"), "{svg}");
    }

    #[test]
    fn numbers_of_any_size_draw_or_are_an_error() {
        let huge = [-f64::MAX, -1e300, -1e18, -1.0, -1e-320, 0.0, 1e-320, 1e-18, 1e18, 1e300, f64::MAX];
        let class = |share| ClassDistribution { n: 1, mean: 0.0, deviation: 0.0, shares: vec![share; 3] };
        let samples = |score| {
            [(0.0, Label::Normal), (score, Label::Anomalous)].map(|(image_score, label)| ImageRecord {
                sample: String::new(),
                label,
                defect_type: None,
                image_score,
                path: None,
            })
        };
        for (a, b) in huge.iter().flat_map(|&a| huge.map(|b| (a, b))) {
            let curves = PixelCurves {
                roc: vec![[0.0, a], [b, 1.0]],
                pro: vec![[a, a], [b, b]],
                scores: ScoreDistribution { range: [a, b], normal: class(a), anomalous: class(b) },
            };
            // Each may be refused; none may panic.
            let _ = pixel_scores(&curves);
            rates(&samples(a as f32), Some(&curves)).unwrap();
            image_scores(&samples(b as f32)).unwrap();
            let loss = |epoch, loss| CurvePoint { stage: "a".into(), epoch, loss };
            training(&[loss(0, a), loss(usize::MAX, b), loss(1, 1.0)]).unwrap();
            let values = vec![Some(Estimate { mean: a, std: Some(b), n: 2 }), None];
            let _ = bars(&["a".into(), "b".into()], &[Bars { name: "x".into(), tone: Tone::Ink, values }]);
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(training(&[]).unwrap().is_none());
        assert!(rates(&[], None).unwrap().is_none());
        assert!(image_scores(&[]).unwrap().is_none());
    }
}
