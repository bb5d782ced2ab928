use fmam_core::{ImageSize, RgbImage};

use crate::SyntheticAnomaly;

const SEPARATOR: usize = 2;
const SEPARATOR_COLOUR: [u8; 3] = [90, 90, 90];

/// Factor by which the change of the image is amplified in the last column.
const AMPLIFICATION: u8 = 4;

/// Lays out each original and its anomaly in a row of four pictures: image, mask (white where
/// visibly changed, grey where masked but not visibly), defective image, and absolute difference
/// times four.
///
/// Thin lines separate and enclose the pictures; a picture smaller than the largest lies in the
/// upper left of its place.
pub fn contact_sheet(rows: &[(RgbImage, SyntheticAnomaly)]) -> RgbImage {
    let largest = |length: fn(ImageSize) -> usize| {
        rows.iter().flat_map(|(i, a)| [i.size(), a.image.size()]).map(length).max().unwrap_or(0)
    };
    let (height, width) = (largest(|s| s.height) + SEPARATOR, largest(|s| s.width) + SEPARATOR);
    let size = ImageSize::new(rows.len() * height + SEPARATOR, 4 * width + SEPARATOR);
    let mut sheet = RgbImage::filled(size, SEPARATOR_COLOUR);
    for (row, (image, anomaly)) in rows.iter().enumerate() {
        let mask = RgbImage::from_fn(anomaly.mask.size(), |y, x| {
            [if anomaly.visible.at(y, x) { 255 } else { 128 * u8::from(anomaly.mask.at(y, x)) }; 3]
        });
        let difference = difference(image, &anomaly.image);
        for (column, picture) in [image, &mask, &anomaly.image, &difference].into_iter().enumerate() {
            paste(&mut sheet, picture, row * height + SEPARATOR, column * width + SEPARATOR);
        }
    }
    sheet
}

/// The amplified absolute difference of two images, over the extent that they share.
fn difference(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let size = ImageSize::new(a.size().height.min(b.size().height), a.size().width.min(b.size().width));
    RgbImage::from_fn(size, |y, x| {
        let (a, b) = (a.pixel(y, x), b.pixel(y, x));
        [0, 1, 2].map(|c| a[c].abs_diff(b[c]).saturating_mul(AMPLIFICATION))
    })
}

fn paste(sheet: &mut RgbImage, picture: &RgbImage, top: usize, left: usize) {
    let (stride, width) = (sheet.size().width * 3, picture.size().width * 3);
    if width == 0 {
        return;
    }
    for (y, row) in picture.data().chunks_exact(width).enumerate() {
        let start = (top + y) * stride + left * 3;
        sheet.data_mut()[start..start + width].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Mask;

    use super::*;

    #[test]
    fn pictures_stand_side_by_side() {
        let size = ImageSize::new(3, 5);
        let image = RgbImage::filled(size, [10, 20, 30]);
        let mut defective = image.clone();
        defective.set_pixel(1, 2, [12, 20, 230]);
        let mask = Mask::from_fn(size, |y, x| y == 1 && (x == 2 || x == 3));
        let visible = Mask::from_fn(size, |y, x| (y, x) == (1, 2));
        let anomaly = SyntheticAnomaly { image: defective, mask, visible };
        let small = RgbImage::filled(ImageSize::new(1, 1), [1, 2, 3]);
        let nothing = Mask::empty(small.size());
        let tiny = SyntheticAnomaly { image: small.clone(), mask: nothing.clone(), visible: nothing };

        let sheet = contact_sheet(&[(image, anomaly), (small, tiny)]);
        assert_eq!(sheet.size(), ImageSize::new(2 * 5 + 2, 4 * 7 + 2));
        assert_eq!(sheet.pixel(0, 0), SEPARATOR_COLOUR);
        assert_eq!(sheet.pixel(2, 2), [10, 20, 30]);
        assert_eq!(sheet.pixel(2 + 1, 9 + 2), [255; 3]);
        assert_eq!(sheet.pixel(2 + 1, 9 + 3), [128; 3]);
        assert_eq!(sheet.pixel(2 + 1, 16 + 2), [12, 20, 230]);
        assert_eq!(sheet.pixel(2 + 1, 23 + 2), [8, 0, 255]);
        assert_eq!(sheet.pixel(7, 2), [1, 2, 3]);
        assert_eq!(sheet.pixel(8, 2), SEPARATOR_COLOUR);
    }

    #[test]
    fn no_rows_give_an_empty_sheet() {
        assert_eq!(contact_sheet(&[]).size(), ImageSize::new(2, 10));
    }
}
