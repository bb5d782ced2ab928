use std::path::Path;

use fmam_core::{AnomalyMap, ImageSize, Mask, RgbImage};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::ReportError;
use crate::error::write_whole;
use crate::picture::colormap::{inferno, mix};

/// Neither inferno nor any usual material has this green.
pub(super) const CONTOUR: [u8; 3] = [0x3d, 0xff, 0x7a];
pub(super) const HALO: [u8; 3] = [0, 0, 0];
const BACKGROUND: [u8; 3] = [255, 255, 255];
const TICK: [u8; 3] = [40, 40, 40];

/// The positions of the parts of an overlay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    panel: ImageSize,
    /// Width of the white separators.
    gap: usize,
    /// Width of the colour bar, and of the strip of ticks at its right.
    pub(super) bar: usize,
}

impl Layout {
    pub(super) fn new(panel: ImageSize) -> Self {
        let side = panel.height.min(panel.width);
        Self { panel, gap: (side / 64).max(2), bar: (side / 24).max(3) }
    }

    /// Left edge of panel `index`; that of the colour bar for the index after the last panel.
    pub(super) fn left(self, index: usize) -> usize {
        index * (self.panel.width + self.gap)
    }

    fn size(self, panels: usize) -> ImageSize {
        ImageSize::new(self.panel.height, self.left(panels) + 2 * self.bar)
    }
}

/// Left edges of the panels of a picture of an image of `size`, as many as there can be, and that
/// of the colour bar behind them.
pub(crate) fn panel_lefts(size: ImageSize) -> [usize; 5] {
    let layout = Layout::new(size);
    [0, 1, 2, 3, 4].map(|index| layout.left(index))
}

/// A picture of one prediction: panels side by side, thin white separators between them, then a
/// colour bar.
///
/// The panels are the input; the input with the ground truth outlined (absent without a `mask`);
/// the map over the grey input, with the outline; the map alone, with the outline. The outline runs
/// just outside the defect, so that it never hides a fine one. Colours cover `range` (lowest,
/// highest score), values outside it are clamped; the bar shows the range from foot to head, and
/// ticks beside it mark the lowest and highest score of this map.
///
/// A mask or map of another size than the image is read by nearest neighbour. The result is as high
/// as the image.
pub fn overlay(image: &RgbImage, mask: Option<&Mask>, map: &AnomalyMap, range: (f32, f32)) -> RgbImage {
    let size = image.size();
    let scale = Scale::new(range);
    let value =
        |y: usize, x: usize| scale.position(at(map.data(), map.size(), size, y, x).unwrap_or(f32::NAN));
    let heat = RgbImage::from_fn(size, |y, x| inferno(value(y, x)));
    let blend = RgbImage::from_fn(size, |y, x| {
        let [r, g, b] = image.pixel(y, x).map(f32::from);
        let grey = [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3];
        // Low scores leave the surface visible, high ones colour it.
        mix(grey, inferno(value(y, x)), 0.2 + 0.55 * value(y, x))
    });
    let panels = match mask {
        None => vec![image.clone(), blend, heat],
        Some(mask) => {
            let defect = Mask::from_fn(size, |y, x| at(mask.data(), mask.size(), size, y, x) == Some(1));
            let outlined = outline(&defect, [image.clone(), blend, heat]);
            [image.clone()].into_iter().chain(outlined).collect()
        }
    };

    side_by_side(&panels, inferno, [map.min(), map.max()].map(|v| scale.position(v)))
}

/// Panels of one size with separators between them, then a bar of `colours`, with a tick at each of
/// `marks`, positions on the scale in 0..=1.
pub(super) fn side_by_side(panels: &[RgbImage], colours: fn(f32) -> [u8; 3], marks: [f32; 2]) -> RgbImage {
    let layout = Layout::new(panels.first().map_or(ImageSize::new(0, 0), RgbImage::size));
    let mut picture = RgbImage::filled(layout.size(panels.len()), BACKGROUND);
    for (index, panel) in panels.iter().enumerate() {
        paste(&mut picture, panel, layout.left(index));
    }
    draw_bar(&mut picture, layout, layout.left(panels.len()), colours, marks);
    picture
}

/// Maps a range of scores to 0..=1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    low: f32,
    extent: f32,
}

impl Scale {
    pub(crate) fn new((low, high): (f32, f32)) -> Self {
        Self { low, extent: high - low }
    }

    /// 0 for NaN, and all along an empty range.
    pub(crate) fn position(self, score: f32) -> f32 {
        if self.extent > 0.0 { ((score - self.low) / self.extent).clamp(0.0, 1.0).max(0.0) } else { 0.0 }
    }
}

/// The value at (y, x) of a grid of size `own`, seen through one of size `seen`.
fn at<T: Copy>(data: &[T], own: ImageSize, seen: ImageSize, y: usize, x: usize) -> Option<T> {
    data.get(y * own.height / seen.height * own.width + x * own.width / seen.width).copied()
}

/// Draws a line around the defect: bright, and dark beyond it, to stand out on any ground.
fn outline<const N: usize>(defect: &Mask, mut panels: [RgbImage; N]) -> [RgbImage; N] {
    let size = defect.size();
    let thickness = if size.height.min(size.width) < 512 { 1 } else { 2 };
    let grown = |mask: &Mask| (0..thickness).fold(mask.clone(), |mask, _| grow(&mask));
    let line = grown(defect);
    let halo = grow(&line);
    for y in 0..size.height {
        for x in 0..size.width {
            let colour = match (defect.at(y, x), line.at(y, x), halo.at(y, x)) {
                (false, true, _) => CONTOUR,
                (false, false, true) => HALO,
                _ => continue,
            };
            panels.iter_mut().for_each(|panel| panel.set_pixel(y, x, colour));
        }
    }
    panels
}

/// The mask and its neighbours above, below, left and right.
fn grow(mask: &Mask) -> Mask {
    let size = mask.size();
    Mask::from_fn(size, |y, x| {
        mask.at(y, x)
            || (y > 0 && mask.at(y - 1, x))
            || (y + 1 < size.height && mask.at(y + 1, x))
            || (x > 0 && mask.at(y, x - 1))
            || (x + 1 < size.width && mask.at(y, x + 1))
    })
}

fn paste(picture: &mut RgbImage, panel: &RgbImage, left: usize) {
    let (stride, width) = (picture.size().width * 3, panel.size().width * 3);
    for y in 0..panel.size().height {
        let start = y * stride + left * 3;
        picture.data_mut()[start..start + width].copy_from_slice(&panel.data()[y * width..(y + 1) * width]);
    }
}

fn draw_bar(
    picture: &mut RgbImage,
    layout: Layout,
    left: usize,
    colours: fn(f32) -> [u8; 3],
    marks: [f32; 2],
) {
    let Some(last) = layout.panel.height.checked_sub(1) else { return };
    for y in 0..=last {
        let colour = colours(1.0 - y as f32 / last.max(1) as f32);
        for x in left..left + layout.bar {
            picture.set_pixel(y, x, colour);
        }
    }
    for mark in marks {
        let y = ((1.0 - mark) * last as f32).round() as usize;
        for y in y.saturating_sub(1)..=(y + 1).min(last) {
            for x in left + layout.bar + 1..left + 2 * layout.bar {
                picture.set_pixel(y, x, TICK);
            }
        }
    }
}

/// A common colour range for the maps of a run: from the lowest score to the 99.9th percentile, so
/// that a few extreme pixels do not darken all the rest. Non-finite scores are passed over; (0, 1)
/// when there is no other.
pub fn map_range<'a>(maps: impl IntoIterator<Item = &'a AnomalyMap>) -> (f32, f32) {
    let mut scores: Vec<f32> =
        maps.into_iter().flat_map(AnomalyMap::data).copied().filter(|score| score.is_finite()).collect();
    if scores.is_empty() {
        return (0.0, 1.0);
    }
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    // Nearest rank, in integers: ⌈0.999 n⌉ - 1.
    let rank = (scores.len() as u64 * 999).div_ceil(1000) as usize - 1;
    let (_, &mut high, _) = scores.select_nth_unstable_by(rank, f32::total_cmp);
    (low, high)
}

/// Writes a picture as PNG, whole or not at all, and does not wait for the disk (see
/// [`fmam_files::sync_files`]). The folder of `path` is made where it is missing.
///
/// # Errors
/// [`ReportError::Encode`] for a picture without pixels, [`ReportError::Write`]; both name the
/// path.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<(), ReportError> {
    let png = png(picture).map_err(|source| ReportError::Encode { path: path.to_owned(), source })?;
    write_whole(path, &png)
}

/// The content of a PNG file of `picture`.
///
/// # Errors
/// [`ReportError::Png`] for a picture without pixels.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>, ReportError> {
    png(picture).map_err(|source| ReportError::Png { source })
}

pub(crate) fn png(picture: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let too_large = |_| {
        image::ImageError::Parameter(image::error::ParameterError::from_kind(
            image::error::ParameterErrorKind::DimensionMismatch,
        ))
    };
    let ImageSize { height, width } = picture.size();
    let (height, width) =
        (u32::try_from(height).map_err(too_large)?, u32::try_from(width).map_err(too_large)?);
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive).write_image(
        picture.data(),
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: [u8; 3] = [90, 90, 90];

    /// A 5x6 image with one anomalous pixel at (2, 3), whose score is 1 while all others are 0.
    fn tiny() -> (RgbImage, Mask, AnomalyMap) {
        let size = ImageSize::new(5, 6);
        let mask = Mask::from_fn(size, |y, x| (y, x) == (2, 3));
        let scores = mask.data().iter().map(|&v| f32::from(v)).collect();
        (RgbImage::filled(size, GREY), mask, AnomalyMap::new(size, scores).unwrap())
    }

    /// One panel, a letter for each pixel.
    fn letters(picture: &RgbImage, left: usize, width: usize) -> Vec<String> {
        let letter = |y: usize, x: usize| match picture.pixel(y, x) {
            CONTOUR => 'O',
            HALO => '#',
            GREY => '.',
            BACKGROUND => ' ',
            colour if colour == inferno(0.0) => '0',
            colour if colour == inferno(1.0) => '1',
            _ => '?',
        };
        (0..picture.size().height).map(|y| (left..left + width).map(|x| letter(y, x)).collect()).collect()
    }

    #[test]
    fn the_outline_runs_just_outside_the_defect() {
        let (image, mask, map) = tiny();
        let picture = overlay(&image, Some(&mask), &map, (0.0, 1.0));
        // Four panels of 6, four gaps of 2, bar and ticks of 3.
        assert_eq!(picture.size(), ImageSize::new(5, 4 * 8 + 6));
        assert_eq!(letters(&picture, 0, 8), ["......  "; 5]);
        assert_eq!(letters(&picture, 8, 8), ["...#..  ", "..#O#.  ", ".#O.O#  ", "..#O#.  ", "...#..  "]);
        assert_eq!(letters(&picture, 24, 8), ["000#00  ", "00#O#0  ", "0#O1O#  ", "00#O#0  ", "000#00  "]);
        assert_eq!(picture.pixel(2, 16 + 3), mix(GREY, inferno(1.0), 0.75));
    }

    #[test]
    fn without_a_mask_there_are_three_panels() {
        let (image, _, map) = tiny();
        let picture = overlay(&image, None, &map, (0.0, 1.0));
        assert_eq!(picture.size().width, 3 * 8 + 6);
        assert_eq!(letters(&picture, 16, 6)[2], "000100");
    }

    #[test]
    fn the_bar_spans_the_range_and_ticks_mark_the_map() {
        let (image, _, map) = tiny();
        // The map's 0 and 1 lie at 1/2 and 3/4 of this range: rows 2 and 1 of 0..=4, each tick
        // three rows high.
        let picture = overlay(&image, None, &map, (-2.0, 2.0));
        let bar = 24;
        assert_eq!((picture.pixel(0, bar), picture.pixel(4, bar + 2)), (inferno(1.0), inferno(0.0)));
        let ticks: Vec<bool> = (0..5).map(|y| picture.pixel(y, bar + 4) == TICK).collect();
        assert_eq!(ticks, [true, true, true, true, false]);
    }

    #[test]
    fn odd_input_is_drawn_all_the_same() {
        let (image, _, _) = tiny();
        let map = AnomalyMap::new(ImageSize::new(1, 2), vec![f32::NAN, 9.0]).unwrap();
        let picture = overlay(&image, None, &map, (0.0, 1.0));
        assert_eq!(letters(&picture, 16, 6)[0], "000111");
        let empty = RgbImage::filled(ImageSize::new(0, 0), GREY);
        assert_eq!(overlay(&empty, None, &map, (1.0, 1.0)).size().height, 0);
    }

    #[test]
    fn the_range_passes_over_extremes() {
        let mut scores: Vec<f32> = (0..2000).map(|v| v as f32).collect();
        scores[5] = f32::NAN;
        scores[1999] = 1e9;
        let map = AnomalyMap::new(ImageSize::new(1, 2000), scores).unwrap();
        // 1999 finite scores; rank ⌈1997.001⌉ of 0, 1, .. without 5 is 1998.
        assert_eq!(map_range([&map]), (0.0, 1998.0));
        assert_eq!(map_range([]), (0.0, 1.0));
    }

    #[test]
    fn a_picture_survives_the_way_through_png() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("maps/a.png");
        let picture = RgbImage::from_fn(ImageSize::new(2, 3), |y, x| [y as u8, x as u8, 7]);
        write_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8().into_raw(), picture.data());
        assert_eq!(encode_png(&picture).unwrap(), std::fs::read(&path).unwrap());
        let empty = RgbImage::filled(ImageSize::new(0, 0), GREY);
        assert!(matches!(encode_png(&empty), Err(ReportError::Png { .. })));
        assert!(write_png(&out.path().join("b.png"), &empty).is_err());
        assert_eq!(std::fs::read_dir(out.path().join("maps")).unwrap().count(), 1);
    }
}
