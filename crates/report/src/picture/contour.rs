//! The contour of a defect mask in pictures of any size.

use fmam_core::{ImageSize, Mask, RgbImage};

use crate::picture::overlay::{CONTOUR, HALO};

/// Pixels of the shorter side for each pixel of a contour's thickness.
const SIDE_PER_PIXEL: usize = 320;

/// Thickness in pixels of the contour in a picture of `size`, at least 1.
pub(super) fn thickness(size: ImageSize) -> usize {
    let side = size.height.min(size.width);
    ((side + SIDE_PER_PIXEL / 2) / SIDE_PER_PIXEL).max(1)
}

/// Draws a line around the defect, bright, and a dark halo beyond it, to stand out on any ground.
///
/// The inner edge of the line is the edge of the defect, so that the line hides nothing of it. A
/// picture of another size than `defect` stays as it is.
pub(super) fn draw_contour(picture: &mut RgbImage, defect: &Mask) {
    const PLAIN: u8 = 0;
    const DARK: u8 = 1;
    const BRIGHT: u8 = 2;
    let size = defect.size();
    let edge = edge(defect);
    if edge.is_empty() || picture.size() != size {
        return;
    }
    let thickness = thickness(size);
    let mut drawn = vec![PLAIN; size.pixels()];
    for (radius, kind) in [(thickness + thickness.div_ceil(2), DARK), (thickness, BRIGHT)] {
        for &(y, x) in &edge {
            for dy in 0..=radius {
                let reach = (radius * radius - dy * dy).isqrt();
                let columns = x.saturating_sub(reach)..(x + reach + 1).min(size.width);
                for row in [y.checked_sub(dy), Some(y + dy).filter(|row| *row < size.height)] {
                    let Some(row) = row else { continue };
                    drawn[row * size.width..][columns.clone()].fill(kind);
                }
            }
        }
    }
    let (pixels, _) = picture.data_mut().as_chunks_mut::<3>();
    for ((pixel, kind), inside) in pixels.iter_mut().zip(drawn).zip(defect.data()) {
        match (inside, kind) {
            (0, BRIGHT) => *pixel = CONTOUR,
            (0, DARK) => *pixel = HALO,
            _ => {}
        }
    }
}

/// The pixels (y, x) of a mask that have a neighbour above, below, left or right outside it.
fn edge(mask: &Mask) -> Vec<(usize, usize)> {
    let ImageSize { height, width } = mask.size();
    let row = |y: usize| &mask.data()[y * width..(y + 1) * width];
    let mut edge = Vec::new();
    for y in 0..height {
        let own = row(y);
        if !own.contains(&1) {
            continue;
        }
        let (above, below) = (row(y.saturating_sub(1)), row((y + 1).min(height - 1)));
        for x in 0..width {
            let neighbours = above[x] & below[x] & own[x.saturating_sub(1)] & own[(x + 1).min(width - 1)];
            if own[x] == 1 && neighbours == 0 {
                edge.push((y, x));
            }
        }
    }
    edge
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: [u8; 3] = [90, 90, 90];

    fn letters(size: ImageSize, defect: &Mask) -> Vec<String> {
        let mut picture = RgbImage::filled(size, GREY);
        draw_contour(&mut picture, defect);
        let letter = |y: usize, x: usize| match (picture.pixel(y, x), defect.at(y, x)) {
            (CONTOUR, false) => 'O',
            (HALO, false) => '#',
            (GREY, true) => '1',
            (GREY, false) => '.',
            _ => '?',
        };
        (0..size.height).map(|y| (0..size.width).map(|x| letter(y, x)).collect()).collect()
    }

    #[test]
    fn the_line_begins_with_the_first_pixel_outside() {
        let size = ImageSize::new(6, 7);
        let defect = Mask::from_fn(size, |y, x| y < 2 && x < 3);
        assert_eq!(
            letters(size, &defect),
            ["111O#..", "111O#..", "OOO#...", "###....", ".......", "......."]
        );
        assert_eq!(letters(size, &Mask::empty(size)), ["......."; 6]);
        // No outside, no line.
        assert_eq!(letters(size, &Mask::from_fn(size, |_, _| true)), ["1111111"; 6]);
    }

    /// The slow oracle: the distance of every pixel to every pixel of the defect.
    #[test]
    fn a_thick_line_is_as_thick_in_every_direction() {
        let size = ImageSize::new(1000, 1010);
        let mut defect = Mask::from_fn(size, |y, x| (500..503).contains(&y) && (300..340).contains(&x));
        defect.set(0, 1009, true);
        let mut picture = RgbImage::filled(size, GREY);
        draw_contour(&mut picture, &defect);
        assert_eq!(thickness(size), 3);
        let squared = |y: usize, x: usize| {
            let block = y.abs_diff(y.clamp(500, 502)).pow(2) + x.abs_diff(x.clamp(300, 339)).pow(2);
            block.min(y.pow(2) + x.abs_diff(1009).pow(2))
        };
        for y in 0..1000 {
            for x in 0..1010 {
                let expected = match squared(y, x) {
                    0 => GREY,
                    1..=9 => CONTOUR,
                    10..=25 => HALO,
                    _ => GREY,
                };
                assert_eq!(picture.pixel(y, x), expected, "{y} {x}");
            }
        }
    }

    #[test]
    fn the_thickness_grows_with_the_picture() {
        let sides = [1, 256, 512, 1024, 3000];
        assert_eq!(sides.map(|side| thickness(ImageSize::new(side, 2 * side))), [1, 1, 2, 3, 9]);
    }
}
