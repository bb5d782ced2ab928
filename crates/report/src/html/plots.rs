//! Vector plots of a run. Their colours are the page's, so that they follow it from light to dark.

use std::error::Error;

use fmam_core::{CurvePoint, Label, OverlayRecord, PixelCurves};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::ReportError;

/// Width and height of a plot in its own units.
pub(super) const SIZE: (u32, u32) = (460, 320);

/// What stands beside the plotting area: left, right, above and below.
pub(super) const MARGINS: [u32; 4] = [66, 20, 14, 52];

/// Colours that no plot would have, each with the page's that takes its place.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const NORMAL: RGBColor = RGBColor(3, 3, 3);
const ANOMALOUS: RGBColor = RGBColor(4, 4, 4);
const THEME: [(&str, &str); 4] = [
    ("#010101", "var(--ink)"),
    ("#020202", "var(--grid)"),
    ("#030303", "var(--normal)"),
    ("#040404", "var(--anomalous)"),
];

/// Size of the letters in the plot's units.
const FONT: u32 = 17;

/// Bins of a histogram of image scores.
const IMAGE_BINS: usize = 40;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// The image-level ROC curve from the scores of all test images, and the pixel-level curves where there are any.
pub(super) fn rates(
    samples: &[OverlayRecord],
    pixels: Option<&PixelCurves>,
) -> Result<Option<String>, ReportError> {
    let scores: Vec<f32> = samples.iter().map(|sample| sample.image_score).collect();
    let labels: Vec<u8> = samples.iter().map(|sample| u8::from(sample.label == Label::Anomalous)).collect();
    // One class only, or no list of samples: nothing to draw.
    let Ok(curve) = fmam_metrics::roc_curve(&scores, &labels) else { return Ok(None) };
    let image: Vec<[f64; 2]> = curve.into_iter().map(|point| [point.fpr, point.tpr]).collect();
    draw(|area| {
        let [left, right, top, bottom] = MARGINS;
        let mut chart = ChartBuilder::on(area)
            .margin_right(right)
            .margin_top(top)
            .x_label_area_size(bottom)
            .y_label_area_size(left)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("false positive rate")
            .y_desc("found")
            .x_labels(6)
            .y_labels(6)
            .max_light_lines(1)
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", FONT, &INK))
            .draw()?;
        let line = |points: &[[f64; 2]]| points.iter().map(|&[x, y]| (x, y)).collect::<Vec<_>>();
        let series = [
            ("image ROC", Some(&image), INK.stroke_width(2)),
            ("pixel ROC", pixels.map(|pixels| &pixels.roc), NORMAL.stroke_width(2)),
            ("region overlap (PRO)", pixels.map(|pixels| &pixels.pro), ANOMALOUS.stroke_width(2)),
        ];
        for (name, points, style) in series {
            if let Some(points) = points {
                let drawn = chart.draw_series(LineSeries::new(line(points), style))?;
                drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(("sans-serif", FONT, &INK))
            .draw()?;
        Ok(())
    })
    .map(Some)
}

/// The range of the axis of [`image_scores`]; `None` when the scores have none.
pub(super) fn score_range(samples: &[OverlayRecord]) -> Option<[f64; 2]> {
    let scores = || samples.iter().map(|sample| f64::from(sample.image_score));
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    (low.is_finite() && high.is_finite() && low < high).then_some([low, high])
}

/// Histograms of the image scores of both classes.
pub(super) fn image_scores(samples: &[OverlayRecord]) -> Result<Option<String>, ReportError> {
    let Some([low, high]) = score_range(samples) else { return Ok(None) };
    let shares = |label| {
        let mut counts = vec![0.0; IMAGE_BINS];
        for sample in samples.iter().filter(|sample| sample.label == label) {
            let position = (f64::from(sample.image_score) - low) / (high - low) * IMAGE_BINS as f64;
            counts[(position as usize).min(IMAGE_BINS - 1)] += 1.0;
        }
        counts
    };
    histogram([low, high], &shares(Label::Normal), &shares(Label::Anomalous), "image score", "images")
        .map(Some)
}

/// Histograms of the pixel scores of both classes, each of which sums to 1.
pub(super) fn pixel_scores(pixels: &PixelCurves) -> Result<Option<String>, ReportError> {
    let scores = &pixels.scores;
    if scores.range[0] >= scores.range[1] {
        return Ok(None);
    }
    let title = "share of the pixels";
    histogram(scores.range, &scores.normal.shares, &scores.anomalous.shares, "pixel score", title).map(Some)
}

fn histogram(
    [low, high]: [f64; 2],
    normal: &[f64],
    anomalous: &[f64],
    x_title: &str,
    y_title: &str,
) -> Result<String, ReportError> {
    let top = normal.iter().chain(anomalous).copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    draw(|area| {
        let [left, right, above, bottom] = MARGINS;
        let mut chart = ChartBuilder::on(area)
            .margin_right(right)
            .margin_top(above)
            .x_label_area_size(bottom)
            .y_label_area_size(left)
            .build_cartesian_2d(low..high, 0.0..1.05 * top)?;
        chart
            .configure_mesh()
            .x_desc(x_title)
            .y_desc(y_title)
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .max_light_lines(1)
            .disable_x_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", FONT, &INK))
            .draw()?;
        for (name, shares, colour) in [("normal", normal, NORMAL), ("anomalous", anomalous, ANOMALOUS)] {
            let edge = |k: usize| low + (high - low) * k as f64 / shares.len() as f64;
            let steps =
                shares.iter().enumerate().flat_map(|(k, &share)| [(edge(k), share), (edge(k + 1), share)]);
            let series = AreaSeries::new(steps, 0.0, colour.mix(0.3)).border_style(colour.stroke_width(2));
            chart.draw_series(series)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 18, y + 5)], colour.mix(0.6).filled())
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", FONT, &INK))
            .draw()?;
        Ok(())
    })
}

/// The loss over the epochs, a line for each stage, on a logarithmic axis.
pub(super) fn training(curve: &[CurvePoint]) -> Result<Option<String>, ReportError> {
    let losses = || curve.iter().map(|point| point.loss).filter(|loss| loss.is_finite() && *loss > 0.0);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    if curve.len() < 2 || low > high {
        return Ok(None);
    }
    let mut stages: Vec<&str> = curve.iter().map(|point| point.stage.as_str()).collect();
    stages.dedup();
    let epochs = curve.iter().map(|point| point.epoch).max().unwrap_or(1);
    draw(|area| {
        let [left, right, above, bottom] = MARGINS;
        let mut chart = ChartBuilder::on(area)
            .margin_right(right)
            .margin_top(above)
            .x_label_area_size(bottom)
            .y_label_area_size(left)
            .build_cartesian_2d(1.0..epochs.max(2) as f64, (0.9 * low..1.1 * high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .y_desc("loss")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| number(value.round()))
            .y_label_formatter(&|value| number(*value))
            .max_light_lines(1)
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", FONT, &INK))
            .draw()?;
        for (index, stage) in stages.iter().enumerate() {
            let style = [NORMAL, ANOMALOUS, INK][index % 3].stroke_width(2);
            let points = curve.iter().filter(|point| point.stage == *stage && point.loss > 0.0);
            let points: Vec<_> = points.map(|point| (point.epoch as f64, point.loss)).collect();
            let drawn = chart.draw_series(LineSeries::new(points, style))?;
            drawn.label(*stage).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", FONT, &INK))
            .draw()?;
        Ok(())
    })
    .map(Some)
}

/// Three digits, without zeros at the end.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An SVG element in the page's colours that scales with its place.
fn draw(plot: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = plot(&area).and_then(|()| Ok(area.present()?));
        drawn.map_err(|error| ReportError::Plot { reason: error.to_string() })?;
    }
    for (colour, variable) in THEME {
        svg = svg.replace(colour, variable);
    }
    let (width, height) = SIZE;
    let sized = format!("<svg width=\"{width}\" height=\"{height}\"");
    Ok(svg.replacen(&sized, "<svg role=\"img\"", 1).replace('\n', ""))
}

#[cfg(test)]
mod tests {
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
    fn plots_have_the_colours_of_the_page() {
        let curve: Vec<CurvePoint> = (1..4)
            .map(|epoch| CurvePoint { stage: "student <1>".into(), epoch, loss: 1.0 / epoch as f64 })
            .collect();
        let svg = training(&curve).unwrap().unwrap();
        assert!(svg.starts_with("<svg role=\"img\" viewBox"), "{}", &svg[..80]);
        assert!(svg.contains("var(--normal)") && svg.contains("var(--ink)") && !svg.contains("#0"), "{svg}");
        assert!(svg.contains("student &lt;1&gt;"), "{svg}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(training(&[]).unwrap().is_none());
        assert!(rates(&[], None).unwrap().is_none());
        assert!(image_scores(&[]).unwrap().is_none());
    }
}
