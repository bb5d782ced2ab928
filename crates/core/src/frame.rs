use crate::{ImageSize, Mask};

/// The place of an image within the pixels that a detector sees: a rectangle, around which lies
/// padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The size of the image as it is in its file.
    pub original: ImageSize,
    /// The size that the detector sees.
    pub size: ImageSize,
    /// Rows of padding above the image.
    pub top: usize,
    /// Columns of padding left of the image.
    pub left: usize,
    /// The size of the image within `size`.
    pub content: ImageSize,
}

impl Frame {
    /// An image of `original` that fills all of `size`, whatever its aspect ratio.
    pub fn filling(original: ImageSize, size: ImageSize) -> Self {
        Self { original, size, top: 0, left: 0, content: size }
    }

    /// An image of `original` that is as large as fits into `size` in its aspect ratio, in the
    /// middle.
    pub fn keeping_aspect(original: ImageSize, size: ImageSize) -> Self {
        // The side that fills `size` is the one with the smaller scale.
        let by_height = original.width * size.height <= original.height * size.width;
        let scaled = |side: usize, numerator: usize, denominator: usize, most: usize| {
            let (numerator, denominator) = (numerator as f64, denominator.max(1) as f64);
            ((side as f64 * numerator / denominator).round() as usize).clamp(1, most.max(1))
        };
        let content = if by_height {
            ImageSize::new(size.height, scaled(original.width, size.height, original.height, size.width))
        } else {
            ImageSize::new(scaled(original.height, size.width, original.width, size.height), size.width)
        };
        let (top, left) = ((size.height - content.height) / 2, (size.width - content.width) / 2);
        Self { original, size, top, left, content }
    }

    /// True if there is no padding.
    pub fn is_filled(&self) -> bool {
        self.content == self.size
    }

    /// The pixels of the image among those that the detector sees; `None` without padding.
    pub fn inside(&self) -> Option<Mask> {
        let (rows, columns) = (self.rows(), self.columns());
        let is_inside = |y: usize, x: usize| rows.contains(&y) && columns.contains(&x);
        (!self.is_filled()).then(|| Mask::from_fn(self.size, is_inside))
    }

    /// The rows of the image.
    pub fn rows(&self) -> std::ops::Range<usize> {
        self.top..self.top + self.content.height
    }

    /// The columns of the image.
    pub fn columns(&self) -> std::ops::Range<usize> {
        self.left..self.left + self.content.width
    }

    /// The factor by which squeezing changes the ratio of width to height, at least 1: 5 for an
    /// image that is five times as wide as high and becomes a square.
    pub fn squeeze(original: ImageSize, size: ImageSize) -> f64 {
        let ratio = |size: ImageSize| size.width.max(1) as f64 / size.height.max(1) as f64;
        let change = ratio(original) / ratio(size);
        change.max(1.0 / change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_aspect_ratio_and_lies_in_the_middle() {
        let frame = Frame::keeping_aspect(ImageSize::new(150, 750), ImageSize::square(256));
        assert_eq!(frame.content, ImageSize::new(51, 256));
        assert_eq!((frame.top, frame.left), (102, 0));
        let inside = frame.inside().unwrap();
        assert_eq!(inside.area(), 51 * 256);
        assert!(inside.at(102, 0) && inside.at(152, 255) && !inside.at(101, 0) && !inside.at(153, 0));

        let upright = Frame::keeping_aspect(ImageSize::new(40, 10), ImageSize::new(32, 64));
        assert_eq!((upright.content, upright.top, upright.left), (ImageSize::new(32, 8), 0, 28));
        let same = Frame::keeping_aspect(ImageSize::new(80, 384), ImageSize::new(160, 768));
        assert!(same.is_filled() && same.inside().is_none());
        // A line of pixels keeps one pixel.
        let thin = Frame::keeping_aspect(ImageSize::new(1, 100_000), ImageSize::square(64));
        assert_eq!(thin.content, ImageSize::new(1, 64));
    }

    #[test]
    fn squeezing_is_a_factor_in_either_direction() {
        let square = ImageSize::square(256);
        assert_eq!(Frame::squeeze(ImageSize::new(150, 750), square), 5.0);
        assert_eq!(Frame::squeeze(ImageSize::new(750, 150), square), 5.0);
        assert_eq!(Frame::squeeze(ImageSize::square(9), square), 1.0);
    }
}
