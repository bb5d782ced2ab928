//! Figures as files of their own, for a paper: vectors in SVG, pixels in PNG.

mod distributions;
mod localization;
#[cfg(feature = "png-figures")]
mod png;
mod statistics;

use std::path::{Path, PathBuf};

use fmam_record::RunRecord;

use crate::error::write_whole;
use crate::model::columns::all_categories;
use crate::model::paper::method_title;
use crate::picture::plots::{self, INK_FILL, Tone};
use crate::text::escape_html;
use crate::{Report, ReportError, Summary};

pub use localization::{ColourScale, Column, Heatmap, Localization, Row};

/// Folder of the figures beside the report.
pub const FIGURES_DIR: &str = "figures";

/// A figure, as a whole SVG document. Its colours stand for others until it has its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    width: f64,
    svg: String,
}

impl Figure {
    /// `content` on `[width, height]` units.
    fn new([width, height]: [f64; 2], content: &str) -> Self {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\">\n{content}</svg>\n"
        );
        Self { width, svg }
    }

    /// The figure as an element of the page, in its colours, never narrower than legible; `label`
    /// tells those who cannot see it what it is.
    pub(crate) fn on_page(&self, label: &str) -> String {
        let attributes = format!(
            "<svg role=\"img\" aria-label=\"{}\" style=\"min-width:{:.0}px\" ",
            escape(label),
            0.5 * self.width
        );
        plots::on_page(&self.svg.replacen("<svg ", &attributes, 1))
    }

    /// The text of an SVG file.
    pub fn svg(&self) -> String {
        let (open, content) = self.svg.split_once(">\n").unwrap_or(("", &self.svg));
        plots::on_paper(&format!(
            "{open}>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{content}"
        ))
    }

    /// Writes `STEM.svg` and, with the feature `png-figures`, `STEM.png`, each whole or not at
    /// all and without waiting for the disk, and returns their paths.
    ///
    /// # Errors
    /// [`ReportError::Plot`], [`ReportError::Write`].
    pub fn write(&self, stem: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let [svg, png] = files(stem);
        write_whole(&svg, self.svg().as_bytes())?;
        #[cfg(feature = "png-figures")]
        write_whole(&png, &self.png()?)?;
        let png = cfg!(feature = "png-figures").then_some(png);
        Ok(std::iter::once(svg).chain(png).collect())
    }

    /// Removes what [`Figure::write`] wrote, if there is anything.
    ///
    /// # Errors
    /// [`ReportError::Write`].
    pub fn remove(stem: &Path) -> Result<(), ReportError> {
        for path in files(stem) {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ReportError::Write { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The two files of a figure.
fn files(stem: &Path) -> [PathBuf; 2] {
    ["svg", "png"].map(|ending| {
        // Not `with_extension`: a name may have dots.
        let mut path = stem.as_os_str().to_owned();
        path.push(format!(".{ending}"));
        PathBuf::from(path)
    })
}

/// The title of a run in a figure beside the run `first`: its method, and its other differences
/// from `first`. `several` is true if the runs of the figure have several backbones.
pub fn run_title(run: &RunRecord, first: &RunRecord, several: bool) -> String {
    let mut title = method_title(run.method.as_str()).to_owned();
    if several {
        title += &format!(", {}", run.backbone);
    }
    if run.seed != first.seed {
        title += &format!(", seed {}", run.seed.value());
    }
    title
}

/// The path of the figure of `kind` about `parts` (data set and category, for example) in the
/// folder of a report, without its ending.
pub fn figure_stem(dir: &Path, kind: &str, parts: &[&str]) -> PathBuf {
    // Any other character by its bytes, so that two names stay two.
    let plain = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte) => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    };
    let names = [kind].into_iter().chain(parts.iter().copied());
    let names: Vec<String> = names.map(|name| name.bytes().map(plain).collect()).collect();
    dir.join(FIGURES_DIR).join(names.join("-"))
}

impl Report {
    /// Writes the figures that the records alone give into `figures/` under `dir`:
    /// `statistics-DATASET-METHOD-BACKBONE` for each method with feature mapping and
    /// `distributions-DATASET-CATEGORY`, as SVG and as PNG. Returns the paths.
    ///
    /// # Errors
    /// As [`Figure::write`].
    pub fn write_figures(&self, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let mut paths = Vec::new();
        for rows in self.datasets() {
            for (row, figure) in statistics_of(self, rows)? {
                let parts = [&row.dataset[..], &row.method, &row.backbone];
                paths.extend(figure.write(&figure_stem(dir, "statistics", &parts))?);
            }
            for (category, figure) in distributions_of(self, rows)? {
                let parts = [&rows[0].dataset[..], &category];
                paths.extend(figure.write(&figure_stem(dir, "distributions", &parts))?);
            }
        }
        Ok(paths)
    }
}

/// The statistics of each row that has them.
pub(crate) fn statistics_of<'a>(
    report: &Report,
    rows: &'a [Summary],
) -> Result<Vec<(&'a Summary, Figure)>, ReportError> {
    let figure = |row| Ok(statistics::statistics(report, row)?.map(|figure| (row, figure)));
    rows.iter().filter_map(|row| figure(row).transpose()).collect()
}

/// The distributions of each category that has them.
pub(crate) fn distributions_of(
    report: &Report,
    rows: &[Summary],
) -> Result<Vec<(String, Figure)>, ReportError> {
    let figure = |category: String| {
        let figure = distributions::distributions(report, rows, &category)?;
        Ok(figure.map(|figure| (category, figure)))
    };
    all_categories(rows).into_iter().filter_map(|category| figure(category).transpose()).collect()
}

/// One plot of a sheet.
struct Panel {
    heading: String,
    /// `None` where there is nothing to draw.
    plot: Option<String>,
    /// A line below it.
    note: String,
}

/// Height of a panel's heading, and of its note.
const HEADING: f64 = 26.0;
const NOTE: f64 = 24.0;

/// The meaning of a tone of the bars.
type Key = (String, Tone);

/// Plots in rows under a title and a line with `key`, where there is one.
fn sheet(title: &str, key: &[Key], rows: &[Vec<Panel>]) -> Figure {
    let [width, height] = [plots::SIZE.0, plots::SIZE.1].map(f64::from);
    let step = HEADING + height + NOTE;
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut content = text([8.0, 24.0], 19.0, Anchor::Start, title);
    let head = if key.is_empty() { 36.0 } else { 66.0 };
    let mut x = 8.0;
    for (name, tone) in key {
        content +=
            &format!("<rect x=\"{x:.1}\" y=\"40\" width=\"18\" height=\"12\" {}/>\n", tone.attributes());
        content += &text([x + 25.0, 51.0], 15.0, Anchor::Start, name);
        // Wide enough for any letters of this size.
        x += 60.0 + 8.5 * name.chars().count() as f64;
    }
    for (r, row) in rows.iter().enumerate() {
        for (c, panel) in row.iter().enumerate() {
            let (left, top) = (c as f64 * width, head + r as f64 * step);
            let middle = left + width / 2.0;
            content += &text([middle, top + 18.0], 17.0, Anchor::Middle, &panel.heading);
            match &panel.plot {
                Some(plot) => {
                    let place = format!(
                        "<svg x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{height}\" ",
                        top + HEADING
                    );
                    content += &plot.replacen("<svg role=\"img\" ", &place, 1);
                    content += "\n";
                }
                None => {
                    let place = [middle, top + HEADING + height / 2.0];
                    content += &text(place, 15.0, Anchor::Middle, "no scores");
                }
            }
            content += &text([middle, top + HEADING + height + 14.0], 14.0, Anchor::Middle, &panel.note);
        }
    }
    Figure::new([n_columns as f64 * width, head + rows.len() as f64 * step], &content)
}

/// The position of a text relative to its point.
#[derive(Debug, Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text of `size` whose foot stands at `[x, y]`.
fn text([x, y]: [f64; 2], size: f64, anchor: Anchor, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{INK_FILL}\">{}</text>\n",
        escape(text)
    )
}

/// Text in which no character is taken for a part of the document. XML has no other control
/// characters than white space.
fn escape(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c })
        .collect();
    escape_html(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "png-figures")]
    fn a_figure_is_written_as_vectors_and_as_pixels() {
        let out = tempfile::tempdir().unwrap();
        let content = text([10.0, 20.0], 15.0, Anchor::Start, "a <b> & \u{1}c")
            + &text([0.0, 0.0], 1.0, Anchor::End, "");
        let figure = Figure::new([60.0, 30.0], &content);
        let paths = figure.write(&out.path().join("v1.2")).unwrap();
        let [svg, png] = &paths[..] else { panic!("{paths:?}") };
        assert!(svg.ends_with("v1.2.svg") && png.ends_with("v1.2.png"));
        let svg = std::fs::read_to_string(svg).unwrap();
        assert!(
            svg.contains("a &lt;b&gt; &amp;  c") && svg.contains("#1c2127") && !svg.contains(INK_FILL),
            "{svg}"
        );
        let pixels = image::open(png).unwrap().to_rgb8();
        assert_eq!(pixels.dimensions(), (120, 60));
        // White ground and dark letters.
        assert_eq!(pixels.get_pixel(119, 59).0, [255; 3]);
        assert!(pixels.pixels().any(|pixel| pixel.0[0] < 100));
        for _ in 0..2 {
            Figure::remove(&out.path().join("v1.2")).unwrap();
            assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn names_of_files_are_plain() {
        let stem = figure_stem(Path::new("out"), "localisation", &["mvtec", "metal/nut", "rkd+fmam@a b"]);
        assert_eq!(stem, Path::new("out/figures/localisation-mvtec-metal=2Fnut-rkd+fmam=40a=20b"));
    }

    #[test]
    fn a_figure_of_the_page_has_its_colours_and_a_label() {
        let element =
            Figure::new([60.0, 30.0], &text([0.0, 9.0], 9.0, Anchor::Middle, "x")).on_page("a \"label\"");
        assert!(
            element.starts_with(
                "<svg role=\"img\" aria-label=\"a &quot;label&quot;\" style=\"min-width:30px\" "
            ),
            "{element}"
        );
        assert!(element.contains("fill=\"var(--ink)\""), "{element}");
    }
}
