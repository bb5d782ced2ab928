//! The evidence behind the figures of a data set: pictures, distributions, statistics and
//! ablations.

use std::path::Path;

use super::pictures::Pictures;
use crate::model::ablation::{Ablation, ablations};
use crate::model::columns::all_categories;
use crate::model::layout::{self, Layout, has_several_backbones};
use crate::model::paper::method_title;
use crate::picture::figure::{FIGURES_DIR, distributions_of, figure_stem, statistics_of};
use crate::render::ablation::ablation_table;
use crate::render::analysis::{scatter_table, separability_table};
use crate::render::table::{Align, Table};
use crate::text::{Markup, escape_html as escape, link};
use crate::{Report, ReportError, Summary};

/// The parts that a data set has, each closed but for the first.
pub(super) fn of_dataset(
    report: &Report,
    rows: &[Summary],
    dir: &Path,
    pictures: &mut Pictures,
) -> Result<String, ReportError> {
    let mut parts = localisation(rows, dir, pictures);
    parts.extend(scores(report, rows)?);
    parts.extend(features(report, rows)?);
    parts.extend(ablations(report, rows).iter().map(ablation));
    parts.extend(layout::table_4(rows).iter().map(laid_out));
    let open = |(k, (title, content)): (usize, (String, String))| {
        let open = if k == 0 { " open" } else { "" };
        format!(
            "<details class=\"evidence\"{open}>\n<summary>{}</summary>\n{content}</details>\n",
            escape(&title)
        )
    };
    Ok(parts.into_iter().enumerate().map(open).collect())
}

/// The paper's Table 1 where there are several data sets.
pub(super) fn datasets_side_by_side(report: &Report) -> String {
    let Some(layout) = layout::table_1(report) else { return String::new() };
    let (title, table) = laid_out(&layout);
    format!(
        "<section aria-labelledby=\"table-1\">\n<h2 id=\"table-1\">{}</h2>\n{table}</section>\n",
        escape(&title)
    )
}

/// The localisation figures that lie beside the page, in it as pictures.
fn localisation(rows: &[Summary], dir: &Path, pictures: &mut Pictures) -> Vec<(String, String)> {
    let kinds = [
        ("localisation", "Where methods look", "Input, ground truth and anomaly maps of test images"),
        (
            "failures",
            "What methods get wrong",
            "Normal images with the highest score and defects with the lowest",
        ),
    ];
    let mut parts = Vec::new();
    for category in all_categories(rows) {
        for (kind, title, what) in kinds {
            let stem = figure_stem(Path::new(""), kind, &[&rows[0].dataset, &category]);
            let name = stem.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = |ending: &str| format!("{FIGURES_DIR}/{name}.{ending}");
            let Some(source) = pictures.figure(dir, &file("png")) else { continue };
            let label = format!("{what}, {category}");
            parts.push((
                format!("{title}: {category}"),
                format!(
                    "<div class=\"scroll plate\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><img src=\"{source}\" alt=\"{}\"></div>\n\
                     <p>As files: <a href=\"{}\">SVG</a>, <a href=\"{}\">PNG</a>.</p>\n",
                    escape(&label),
                    escape(&label),
                    link(&file("svg")),
                    link(&file("png")),
                ),
            ));
        }
    }
    parts
}

fn scores(report: &Report, rows: &[Summary]) -> Result<Vec<(String, String)>, ReportError> {
    let mut parts = Vec::new();
    if let Some(table) = separability_table(report, rows, &|row| name(row, rows)) {
        let legend = "The area that the histograms of both classes share, Fisher's discriminant ratio and the Kolmogorov-Smirnov \
             distance: the further apart, the smaller the first and the larger the others.";
        parts.push((
            "How far scores part".to_owned(),
            format!("<p>{legend}</p>\n{}", html(&table, "Separability")),
        ));
    }
    for (category, figure) in distributions_of(report, rows)? {
        let label = format!("Distributions of the scores, {category}");
        parts.push((format!("How scores lie: {category}"), plate(&figure.on_page(&label), &label)));
    }
    Ok(parts)
}

fn features(report: &Report, rows: &[Summary]) -> Result<Vec<(String, String)>, ReportError> {
    let mut parts = Vec::new();
    for (row, figure) in statistics_of(report, rows)? {
        let label = format!("Bias and variance of features, {}", name(row, rows));
        parts.push((label.clone(), plate(&figure.on_page(&label), &label)));
    }
    if let Some(table) = scatter_table(report, rows, &|row| name(row, rows)) {
        let legend = "Features of length 1 at positions of test images: the mean distance of defective ones to the mean normal one (bias), \
             the mean squared distance of normal ones to it (variance); about the student, both are to what the student expects at the same position.";
        parts.push((
            "Bias and variance as a table".to_owned(),
            format!("<p>{legend}</p>\n{}", html(&table, "Bias and variance")),
        ));
    }
    Ok(parts)
}

fn ablation(ablation: &Ablation<'_>) -> (String, String) {
    let title = format!("Ablation of {}, {}", method_title(&ablation.base.method), ablation.base.backbone);
    let table = html(&ablation_table(ablation, "Variant", Markup::Plain), &title);
    (title, format!("<p>Δ is the difference to the method as it is, in points.</p>\n{table}"))
}

fn laid_out(layout: &Layout) -> (String, String) {
    (layout.title.clone(), html(&Table::laid_out(layout, Markup::Plain), &layout.title))
}

/// A row's method, with its backbone where the rows have several.
fn name(row: &Summary, rows: &[Summary]) -> String {
    let method = method_title(&row.method);
    if has_several_backbones(rows) { format!("{method}, {}", row.backbone) } else { method.to_owned() }
}

/// A wide figure, which scrolls on a narrow page.
fn plate(svg: &str, label: &str) -> String {
    format!(
        "<div class=\"scroll plate\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{svg}</div>\n",
        escape(label)
    )
}

fn html(table: &Table, label: &str) -> String {
    let cell = |(k, (text, align)): (usize, (&str, Align)), in_head: bool| {
        let class = if align == Align::Right { " class=\"number\"" } else { " class=\"name\"" };
        let text = escape(text);
        match (in_head, k) {
            (true, _) => format!("<th scope=\"col\"{class}>{text}</th>"),
            (false, 0) => format!("<th scope=\"row\">{text}</th>"),
            (false, _) => format!("<td{class}>{text}</td>"),
        }
    };
    let line = |cells: &mut dyn Iterator<Item = (&str, Align)>, in_head| {
        let cells: String = cells.enumerate().map(|pair| cell(pair, in_head)).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = line(&mut table.header(), true);
    let body: String = table.rows().map(|mut row| line(&mut row, false)).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table class=\"sortable\">\n<thead>{head}</thead>\n\
         <tbody>\n{body}</tbody>\n</table></div>\n",
        escape(label)
    )
}
