//! Test images with their ground truth and the anomaly maps of several methods, side by side.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fmam_core::{AnomalyMap, ImageSize, Mask, RgbImage};

use super::{Anchor, Figure, text};
use crate::ReportError;
use crate::picture::colormap::inferno;
use crate::picture::overlay::{Scale, map_range, png};
use fmam_record::resized;

/// Width of a panel in the figure's units; two pixels a unit are drawn of a map.
const PANEL: f64 = 150.0;
const GAP: f64 = 8.0;
/// Space for text: left of the panels, above them, and below each.
const CAPTION: f64 = 130.0;
const HEADER: f64 = 64.0;
const NOTE: f64 = 18.0;
/// Thickness of a colour bar.
const BAR: f64 = 10.0;
/// Letters of a caption's line, at most.
const CAPTION_LETTERS: usize = 17;

/// The maps that share the range of their colours, from the lowest score to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourScale {
    /// All of a method: rows compare. Scores of different methods are in different units.
    Method,
    /// All of an image: methods compare, where their scores are in the same unit.
    Row,
}

impl std::str::FromStr for ColourScale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "method" => Ok(Self::Method),
            "row" => Ok(Self::Row),
            _ => Err("the scales are `method` and `row`".to_owned()),
        }
    }
}

/// A method of the figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its title.
    pub title: String,
    /// Lowest and highest score that its colours cover under [`ColourScale::Method`].
    pub range: (f32, f32),
}

/// A map of the figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// The map, of any size with the image's proportions.
    pub map: AnomalyMap,
    /// A line below it.
    pub note: String,
}

/// An image of the figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Lines beside it, some of them perhaps longer than there is room for.
    pub caption: Vec<String>,
    /// The image.
    pub image: RgbImage,
    /// Its ground truth, empty for a normal image; `None` where it is not known.
    pub mask: Option<Mask>,
    /// A map for each column.
    pub maps: Vec<Heatmap>,
}

/// The figure: a row for each image with the input, the ground truth and a map for each method,
/// each with the outline of the ground truth, and colour bars with the scores at their ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Localization {
    /// The title above the figure.
    pub title: String,
    /// The methods.
    pub columns: Vec<Column>,
    /// The images.
    pub rows: Vec<Row>,
    /// The maps that share a range.
    pub scale: ColourScale,
}

impl Localization {
    /// Draws it.
    ///
    /// # Errors
    /// [`ReportError::Plot`] for an image or map without pixels.
    pub fn draw(&self) -> Result<Figure, ReportError> {
        let left = |column: usize| CAPTION + column as f64 * (PANEL + GAP);
        let mut content = text([8.0, 24.0], 17.0, Anchor::Start, &self.title);
        let titles =
            ["Input", "Ground truth"].into_iter().chain(self.columns.iter().map(|c| c.title.as_str()));
        for (k, title) in titles.enumerate() {
            // A backbone stands on a line of its own.
            let (method, backbone) = title.split_once(", ").unwrap_or((title, ""));
            let middle = left(k) + PANEL / 2.0;
            let rise = if backbone.is_empty() { 12.0 } else { 20.0 };
            content += &text([middle, HEADER - rise], 14.0, Anchor::Middle, method);
            content += &text([middle, HEADER - 6.0], 11.0, Anchor::Middle, backbone);
        }
        let mut top = HEADER;
        for row in &self.rows {
            let height = PANEL * row.image.size().height as f64 / row.image.size().width.max(1) as f64;
            content += &self.row(row, top, height, &left)?;
            top += height + NOTE + GAP;
        }
        // Wide enough for the title, whose letters are this wide at most.
        let title = 16.0 + 8.6 * self.title.chars().count() as f64;
        let mut size = [left(2 + self.columns.len()), top];
        match self.scale {
            ColourScale::Method => {
                for (k, column) in self.columns.iter().enumerate() {
                    content += &horizontal_bar([left(2 + k), top], column.range)?;
                }
                size[1] += BAR + 24.0;
            }
            ColourScale::Row => size[0] += BAR + 46.0,
        }
        size[0] = size[0].max(title);
        Ok(Figure::new(size, &content))
    }

    fn row(
        &self,
        row: &Row,
        top: f64,
        height: f64,
        left: &dyn Fn(usize) -> f64,
    ) -> Result<String, ReportError> {
        let mut content = String::new();
        // As many lines as the row is high.
        let lines = ((height / 15.0) as usize).max(2);
        let caption = &row.caption[..row.caption.len().min(lines)];
        for (k, line) in caption.iter().enumerate() {
            let size = if k == 0 { 13.0 } else { 11.0 };
            content += &text([8.0, top + 14.0 + 15.0 * k as f64], size, Anchor::Start, &shortened(line));
        }
        let size = row.image.size();
        content += &picture([left(0), top], height, &row.image)?;
        match &row.mask {
            Some(mask) => {
                let seen =
                    |y, x| mask.at(y * mask.size().height / size.height, x * mask.size().width / size.width);
                let truth = RgbImage::from_fn(size, |y, x| [if seen(y, x) { 255 } else { 0 }; 3]);
                content += &picture([left(1), top], height, &truth)?;
            }
            None => {
                let place = [left(1) + PANEL / 2.0, top + height / 2.0];
                content += &text(place, 13.0, Anchor::Middle, "no mask");
            }
        }
        let mask = row.mask.as_ref().filter(|mask| !mask.is_empty());
        let of_row = map_range(row.maps.iter().map(|heatmap| &heatmap.map));
        for (k, (heatmap, column)) in row.maps.iter().zip(&self.columns).enumerate() {
            let range = match self.scale {
                ColourScale::Method => column.range,
                ColourScale::Row => of_row,
            };
            let place = [left(2 + k), top];
            content += &picture(place, height, &coloured(&heatmap.map, size, range)?)?;
            if let Some(mask) = mask {
                content += &outline(mask, place, height);
            }
            let below = [place[0] + PANEL / 2.0, top + height + 13.0];
            content += &text(below, 11.0, Anchor::Middle, &heatmap.note);
        }
        if self.scale == ColourScale::Row {
            content += &vertical_bar([left(2 + self.columns.len()), top], height, of_row)?;
        }
        Ok(content)
    }
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= CAPTION_LETTERS {
        return line.to_owned();
    }
    let start: String = line.chars().take(CAPTION_LETTERS - 1).collect();
    format!("{start}…")
}

/// A map in colours, two pixels a unit, with the proportions of an image of `size`.
fn coloured(map: &AnomalyMap, size: ImageSize, range: (f32, f32)) -> Result<RgbImage, ReportError> {
    let width = 2.0 * PANEL;
    let height = (width * size.height as f64 / size.width.max(1) as f64).round().max(1.0);
    let drawn = ImageSize::new(height as usize, width as usize);
    let map = resized(map, drawn).map_err(|error| ReportError::Plot { reason: error.to_string() })?;
    let scale = Scale::new(range);
    Ok(RgbImage::from_fn(drawn, |y, x| inferno(scale.position(map.at(y, x)))))
}

/// An image with its upper left corner at `[x, y]`, as wide as a panel.
fn picture([x, y]: [f64; 2], height: f64, image: &RgbImage) -> Result<String, ReportError> {
    embedded([x, y, PANEL, height], image)
}

/// An image stretched to `[x, y, width, height]`.
fn embedded([x, y, width, height]: [f64; 4], image: &RgbImage) -> Result<String, ReportError> {
    let png = png(image).map_err(|error| ReportError::Plot { reason: error.to_string() })?;
    Ok(format!(
        "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" \
         href=\"data:image/png;base64,{}\"/>\n",
        STANDARD.encode(png)
    ))
}

/// The outline of a mask: along the edges of its pixels, bright on a dark line.
fn outline(mask: &Mask, [x, y]: [f64; 2], height: f64) -> String {
    let ImageSize { height: rows, width: columns } = mask.size();
    let at = |y: usize, x: usize| y < rows && x < columns && mask.at(y, x);
    let mut path = String::new();
    // Edges below the rows y - 1 and right of the columns x - 1, neighbours along a line as one.
    for y in 0..=rows {
        let is_edge = |x: usize| at(y, x) != (y > 0 && at(y - 1, x));
        runs(columns, is_edge, |start, end| path += &format!("M{start} {y}h{}", end - start));
    }
    for x in 0..=columns {
        let is_edge = |y: usize| at(y, x) != (x > 0 && at(y, x - 1));
        runs(rows, is_edge, |start, end| path += &format!("M{x} {start}v{}", end - start));
    }
    let scale = [PANEL / columns as f64, height / rows as f64];
    let line = |colour: &str, width: f64| {
        // The width is that before scaling.
        let width = width / scale[0];
        format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.2}\" stroke-linecap=\"square\"/>"
        )
    };
    format!(
        "<g transform=\"translate({x:.1} {y:.1}) scale({:.5} {:.5})\">{}{}</g>\n",
        scale[0],
        scale[1],
        line("#000000", 2.2),
        line("#3dff7a", 1.0)
    )
}

/// Hands each run of positions in `0..n` that are `set` to `take`, with its start and its end.
fn runs(n: usize, set: impl Fn(usize) -> bool, mut take: impl FnMut(usize, usize)) {
    let mut start = None;
    for at in 0..=n {
        match (start, at < n && set(at)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                take(from, at);
                start = None;
            }
            _ => {}
        }
    }
}

fn horizontal_bar([x, y]: [f64; 2], (low, high): (f32, f32)) -> Result<String, ReportError> {
    let colours = RgbImage::from_fn(ImageSize::new(1, 256), |_, x| inferno(x as f32 / 255.0));
    let below = y + BAR + 14.0;
    Ok(embedded([x, y, PANEL, BAR], &colours)?
        + &text([x, below], 11.0, Anchor::Start, &score(low))
        + &text([x + PANEL, below], 11.0, Anchor::End, &score(high)))
}

fn vertical_bar([x, y]: [f64; 2], height: f64, (low, high): (f32, f32)) -> Result<String, ReportError> {
    let colours = RgbImage::from_fn(ImageSize::new(256, 1), |y, _| inferno(1.0 - y as f32 / 255.0));
    let right = x + BAR + 4.0;
    Ok(embedded([x, y, BAR, height], &colours)?
        + &text([right, y + 10.0], 11.0, Anchor::Start, &score(high))
        + &text([right, y + height], 11.0, Anchor::Start, &score(low)))
}

/// A score in three digits.
fn score(score: f32) -> String {
    crate::picture::plots::number(f64::from(score))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(scale: ColourScale) -> Localization {
        let size = ImageSize::new(32, 64);
        let mask = Mask::from_fn(size, |y, x| (8..16).contains(&y) && (8..24).contains(&x));
        // Brightest in the defect; of a quarter of the size.
        let map = |top: f32| {
            let kept = ImageSize::new(8, 16);
            let values = (0..128)
                .map(|at| if (2..4).contains(&(at / 16)) && (2..6).contains(&(at % 16)) { top } else { 0.0 });
            Heatmap { map: AnomalyMap::new(kept, values.collect()).unwrap(), note: "above all".to_owned() }
        };
        let column = |title: &str, high| Column { title: title.to_owned(), range: (0.0, high) };
        let row = Row {
            caption: vec!["hole".to_owned(), "a name that is much too long".to_owned()],
            image: RgbImage::filled(size, [90; 3]),
            mask: Some(mask),
            maps: vec![map(1.0), map(4.0)],
        };
        Localization {
            title: "demo, plain".to_owned(),
            columns: vec![column("RKD", 1.0), column("PaDiM", 8.0)],
            rows: vec![row],
            scale,
        }
    }

    /// Colour at a point of the drawn figure.
    #[cfg(feature = "png-figures")]
    fn at(pixels: &image::RgbImage, [x, y]: [f64; 2]) -> [u8; 3] {
        pixels.get_pixel((2.0 * x) as u32, (2.0 * y) as u32).0
    }

    #[cfg(feature = "png-figures")]
    fn drawn(scale: ColourScale) -> image::RgbImage {
        image::load_from_memory(&figure(scale).draw().unwrap().png().unwrap()).unwrap().to_rgb8()
    }

    #[test]
    #[cfg(feature = "png-figures")]
    fn colours_are_those_of_the_method_or_of_the_row() {
        // The middle of the defect in the two heatmaps.
        let middle = |k: f64| [CAPTION + k * (PANEL + GAP) + 0.25 * PANEL, HEADER + 0.375 * PANEL / 2.0];
        let near = |a: [u8; 3], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 12);
        let by_method = drawn(ColourScale::Method);
        assert!(near(at(&by_method, middle(2.0)), inferno(1.0)), "{:?}", at(&by_method, middle(2.0)));
        assert!(near(at(&by_method, middle(3.0)), inferno(0.5)), "{:?}", at(&by_method, middle(3.0)));
        let by_row = drawn(ColourScale::Row);
        assert!(near(at(&by_row, middle(2.0)), inferno(0.25)), "{:?}", at(&by_row, middle(2.0)));
        assert!(near(at(&by_row, middle(3.0)), inferno(1.0)), "{:?}", at(&by_row, middle(3.0)));
        // The ground truth is white there, and black elsewhere.
        assert_eq!(at(&by_row, middle(1.0)), [255; 3]);
        assert_eq!(at(&by_row, [CAPTION + PANEL + GAP + 100.0, HEADER + 60.0]), [0; 3]);
    }

    #[test]
    fn the_outline_follows_the_edges_of_the_mask() {
        let size = ImageSize::new(3, 4);
        let mask = Mask::from_fn(size, |y, x| y < 2 && (1..3).contains(&x));
        let drawn = outline(&mask, [0.0, 0.0], 3.0);
        for edge in ["M1 0h2", "M1 2h2", "M1 0v2", "M3 0v2"] {
            assert!(drawn.contains(edge), "{edge}: {drawn}");
        }
        assert_eq!(drawn.matches('M').count(), 2 * 4);
    }

    #[test]
    fn what_has_no_pixels_is_an_error() {
        let mut figure = figure(ColourScale::Row);
        figure.rows[0].maps[0].map = AnomalyMap::new(ImageSize::new(0, 0), Vec::new()).unwrap();
        assert!(matches!(figure.draw(), Err(ReportError::Plot { .. })));
        assert_eq!(shortened("a name that is much too long"), "a name that is m…");
    }
}
