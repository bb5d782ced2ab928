//! The tables of the page.

use fmam_metrics::MetricEntry;
use fmam_record::RunRecord;

use crate::model::columns::{headlines, metrics, ranks};
use crate::model::layout::{column_title, compared};
use crate::model::paper::{dataset_title, method_title, published};
use crate::render::notes::{ABOUT_IMAGES, about_images, mixed_settings};
use crate::text::{Markup, escape_html as escape, link, listed, percent, short, spread_percent};
use crate::{Report, Summary};

/// The subject of the report, in one sentence.
pub(super) fn opening(report: &Report) -> String {
    let [runs, _, categories, methods, seeds] = report.counts();
    format!("{runs}: {categories}, {methods}, {seeds}.")
}

/// The section of a data set: a row for each method and backbone, notes, then `evidence`.
pub(super) fn dataset(report: &Report, index: usize, rows: &[Summary], evidence: &str) -> String {
    let compared = compared(rows);
    let title = escape(dataset_title(&rows[0].dataset));
    let metrics = metrics(rows);
    let titles: Vec<String> = metrics.iter().map(|metric| metric.heading()).collect();
    let mut header = headings(&["Method", "Backbone"], false) + &headings(&titles, true);
    header += &headings(&["Fit, s", "Images/s"], true);
    if compared {
        header += &headings(&["Paper, image", "Paper, pixel"], true);
    }
    let mut body = String::new();
    for row in rows {
        body += &format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td>",
            escape(method_title(&row.method)),
            escape(&row.backbone)
        );
        for metric in &metrics {
            let class = match ranks(row, rows, metric) {
                Some(0) => " class=\"best\"",
                Some(1) => " class=\"second\"",
                _ => "",
            };
            let estimate = row.metrics.get(metric);
            let sort = estimate.map_or(String::new(), |estimate| format!(" data-sort=\"{}\"", estimate.mean));
            body += &format!("<td{class}{sort}>{}</td>", spread_percent(estimate));
        }
        for estimate in [row.fit_seconds, row.score_images_per_second] {
            body += &estimate.map_or("<td>–</td>".to_owned(), |e| format!("<td>{}</td>", short(e.mean)));
        }
        if compared {
            let paper = published(&row.dataset, &row.method, &row.backbone);
            for value in [paper.map(|p| p.image_auroc), paper.map(|p| p.pixel_auroc)] {
                body += &value.map_or("<td>–</td>".to_owned(), |value| format!("<td>{value:.1}</td>"));
            }
        }
        body += "</tr>\n";
    }
    let note = if compared {
        "Best in bold, second best underlined. The paper's figures are means over its whole data set with its own settings."
    } else {
        "Best in bold, second best underlined. The paper has no figures of this data set."
    };
    format!(
        "<section aria-labelledby=\"dataset-{index}\">\n<h2 id=\"dataset-{index}\">{title}</h2>\n<p>{note}</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Results on {title}\"><table class=\"sortable results\">\n\
         <thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n{}{evidence}</section>\n",
        notes(report, rows)
    )
}

/// The settings that rows mix, and the peculiarities of the images.
fn notes(report: &Report, rows: &[Summary]) -> String {
    let title = |row: &Summary| column_title(row, rows);
    let mixed = rows.iter().flat_map(|row| mixed_settings(report, row, &title(row), Markup::Plain));
    let mut text = list(&mixed.collect::<Vec<_>>());
    let about = about_images(report.runs_on(rows), Markup::Plain);
    if !about.is_empty() {
        text += &format!("<h3>{ABOUT_IMAGES}</h3>\n{}", list(&about));
    }
    text
}

fn list(notes: &[String]) -> String {
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    if items.is_empty() { items } else { format!("<ul class=\"notes\">\n{items}</ul>\n") }
}

/// The sentences on metrics at the foot of the page, each after a semicolon.
pub(super) fn remarks(report: &Report) -> String {
    let metrics = metrics(report.summary());
    let titles = |is_meant: fn(&MetricEntry) -> bool| -> Vec<String> {
        metrics.iter().filter(|metric| is_meant(metric)).map(|metric| escape(metric.title)).collect()
    };
    let oracle = match &titles(|metric| metric.is_oracle)[..] {
        [] => String::new(),
        [one] => format!("; {one} chooses its threshold on the test set"),
        many => format!("; {} choose their thresholds on the test set", listed(many)),
    };
    let at_threshold = match &titles(|metric| metric.needs_threshold)[..] {
        [] => String::new(),
        some => format!("; {} are at the threshold that the detector was calibrated with", listed(some)),
    };
    match &titles(|metric| !metric.higher_is_better)[..] {
        [] => oracle + &at_threshold,
        some => format!("{oracle}{at_threshold}; of {} the lower value is the better one", listed(some)),
    }
}

/// Every run, each with a link that shows it.
pub(super) fn runs(report: &Report) -> String {
    let names = ["Data set", "Category", "Method", "Backbone"];
    let metrics = headlines(report.summary());
    let titles: Vec<String> = metrics.iter().map(|metric| metric.heading()).collect();
    let header = headings(&names, false)
        + &headings(&["Seed"], true)
        + &headings(&titles, true)
        + &headings(&["Fit, s", "Images/s", "Memory, MiB"], true);
    let mut body = String::new();
    for run in report.runs() {
        let id = run.key().path();
        let name =
            [dataset_title(&run.dataset), &run.category, method_title(run.method.as_str()), &run.backbone];
        let [dataset, category, method, backbone] = name.map(escape);
        let figures = metrics.iter().map(|metric| run.metrics.get(metric).map(percent));
        let figures: String = figures.map(|figure| cell(figure.as_deref())).collect();
        let memory = cell(run.peak_rss_bytes.map(|bytes| (bytes >> 20).to_string()).as_deref());
        body += &format!(
            "<tr data-dataset=\"{dataset}\" data-category=\"{category}\" data-method=\"{method}\" data-backbone=\"{backbone}\">\
             <td>{dataset}</td><th scope=\"row\"><a href=\"#run={}\">{category}</a></th><td>{method}</td><td>{backbone}</td>\
             <td>{}</td>{figures}{}{}{memory}</tr>\n",
            link(&id),
            run.seed.value(),
            cell(Some(&short(run.fit_seconds))),
            cell(Some(&short(run.score_images_per_second))),
        );
    }
    format!(
        "<p id=\"shown\" role=\"status\"></p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\">\
         <table class=\"sortable\" id=\"runs\">\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
    )
}

/// A choice of each property that has several values.
pub(super) fn filters(report: &Report) -> String {
    type Property = fn(&RunRecord) -> &str;
    let properties: [(&str, &str, Property); 4] = [
        ("dataset", "Data set", |run| dataset_title(&run.dataset)),
        ("category", "Category", |run| &run.category),
        ("method", "Method", |run| method_title(run.method.as_str())),
        ("backbone", "Backbone", |run| &run.backbone),
    ];
    let mut controls = String::new();
    for (key, title, of) in properties {
        let mut values: Vec<&str> = Vec::new();
        for run in report.runs() {
            if !values.contains(&of(run)) {
                values.push(of(run));
            }
        }
        if values.len() < 2 {
            continue;
        }
        let options: String =
            values.iter().map(|value| format!("<option>{}</option>", escape(value))).collect();
        controls += &format!(
            "<label>{title} <select data-filter=\"{key}\"><option value=\"\">all</option>{options}</select></label>\n"
        );
    }
    if controls.is_empty() { controls } else { format!("<form id=\"filters\" hidden>\n{controls}</form>") }
}

fn headings(titles: &[impl AsRef<str>], numbers: bool) -> String {
    let class = if numbers { " class=\"number\"" } else { "" };
    titles.iter().map(|title| format!("<th scope=\"col\"{class}>{}</th>", escape(title.as_ref()))).collect()
}

fn cell(text: Option<&str>) -> String {
    format!("<td>{}</td>", text.unwrap_or("–"))
}
