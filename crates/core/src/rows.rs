use std::borrow::Cow;

use crate::{CoreError, ImageSize, RgbImage, SourceError};

/// An image that is read from top to bottom, some rows at a time: memory need not hold all of it.
pub trait ImageRows: Send {
    /// The size of the whole image.
    fn size(&self) -> ImageSize;

    /// The next `count` rows, or as many as are left; the height of the result says how many. An
    /// image of height 0 means that the end is reached.
    ///
    /// # Errors
    /// The source's own: a truncated file, say. The message names the file.
    fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError>;
}

/// The rows of an image in memory.
#[derive(Debug, Clone)]
pub struct MemoryRows<'a> {
    image: Cow<'a, RgbImage>,
    next: usize,
}

impl MemoryRows<'static> {
    /// All rows of `image`.
    pub fn new(image: RgbImage) -> Self {
        Self { image: Cow::Owned(image), next: 0 }
    }
}

impl<'a> MemoryRows<'a> {
    /// All rows of the borrowed `image`.
    pub fn of(image: &'a RgbImage) -> Self {
        Self { image: Cow::Borrowed(image), next: 0 }
    }
}

impl ImageRows for MemoryRows<'_> {
    fn size(&self) -> ImageSize {
        self.image.size()
    }

    fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError> {
        let ImageSize { height, width } = self.image.size();
        let end = self.next.saturating_add(count).min(height);
        let rows = self.image.data()[3 * self.next * width..3 * end * width].to_vec();
        let size = ImageSize::new(end - self.next, width);
        self.next = end;
        RgbImage::new(size, rows).map_err(|error: CoreError| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order_and_end() {
        let image = RgbImage::from_fn(ImageSize::new(5, 2), |y, x| [y as u8, x as u8, 7]);
        let mut rows = MemoryRows::new(image.clone());
        let mut data = Vec::new();
        for expected in [2, 2, 1, 0, 0] {
            let band = rows.next_rows(2).unwrap();
            assert_eq!(band.size(), ImageSize::new(expected, 2));
            data.extend_from_slice(band.data());
        }
        assert_eq!(data, image.data());
    }
}
