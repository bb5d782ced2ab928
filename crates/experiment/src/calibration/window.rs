use fmam_core::{CoreError, ImageSize, Mask, RgbImage, Seed, TileGrid};
use rand::Rng;

/// The side of a window in pixels; an image of no more pixels than its square is one window.
const SIDE: usize = 4096;

/// The part of a large image that a synthetic defect goes into. To synthesise one takes memory for
/// many numbers a pixel, so that a whole scan would need a multiple of itself.
#[derive(Debug)]
pub(super) struct Window {
    grid: TileGrid,
    index: usize,
}

impl Window {
    /// A window of an image of `size`, drawn by `seed` from those with a pixel that is 1 in
    /// `inside`; `None` for an image that is none too large, and without such a pixel.
    ///
    /// # Errors
    /// [`CoreError::ImageSize`] for a mask of another size.
    pub(super) fn draw(
        size: ImageSize,
        inside: Option<&Mask>,
        seed: Seed,
    ) -> Result<Option<Self>, CoreError> {
        Self::of_side(SIDE, size, inside, seed)
    }

    fn of_side(
        side: usize,
        size: ImageSize,
        inside: Option<&Mask>,
        seed: Seed,
    ) -> Result<Option<Self>, CoreError> {
        if size.pixels() <= side * side {
            return Ok(None);
        }
        let grid = TileGrid::new(size, ImageSize::new(size.height.min(side), size.width.min(side)), 0)?;
        let mut windows: Vec<usize> = (0..grid.len()).collect();
        if let Some(inside) = inside {
            windows.clear();
            for index in 0..grid.len() {
                if !grid.cut_mask(inside, index)?.is_empty() {
                    windows.push(index);
                }
            }
        }
        let Some(last) = windows.len().checked_sub(1) else { return Ok(None) };
        let index = windows[seed.rng().random_range(0..=last)];
        Ok(Some(Self { grid, index }))
    }

    /// The window of `image`.
    ///
    /// # Errors
    /// [`CoreError::ImageSize`] for an image of another size.
    pub(super) fn cut(&self, image: &RgbImage) -> Result<RgbImage, CoreError> {
        self.grid.cut(image, self.index)
    }

    /// The pixels of the window that are 1 in `inside`; `None` where all are.
    ///
    /// # Errors
    /// [`CoreError::ImageSize`] for a mask of another size.
    pub(super) fn inside(&self, inside: Option<&Mask>) -> Result<Option<Mask>, CoreError> {
        self.grid.inside(inside, self.index)
    }

    /// Puts `part`, which has the size of the window, into its place in `image`.
    pub(super) fn paste(&self, part: &RgbImage, image: &mut RgbImage) {
        let (top, left) = self.grid.origin(self.index);
        let (width, part_width) = (3 * image.size().width, 3 * part.size().width);
        let rows = image.data_mut().chunks_exact_mut(width).skip(top);
        for (row, part) in rows.zip(part.data().chunks_exact(part_width)) {
            row[3 * left..][..part_width].copy_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_large_image_is_changed_and_changed_back() {
        let size = ImageSize::new(30, 7);
        let image = RgbImage::from_fn(size, |y, x| [y as u8, x as u8, 9]);
        assert!(Window::of_side(15, size, None, Seed::new(0)).unwrap().is_none());
        for seed in 0..20 {
            let window = Window::of_side(10, size, None, Seed::new(seed)).unwrap().unwrap();
            let part = window.cut(&image).unwrap();
            assert_eq!((part.size(), window.inside(None).unwrap()), (ImageSize::new(10, 7), None));
            let mut changed = image.clone();
            window.paste(&RgbImage::filled(part.size(), [255; 3]), &mut changed);
            let n = changed.data().iter().zip(image.data()).filter(|(a, b)| a != b).count();
            assert_eq!(n, 3 * 70);
            window.paste(&part, &mut changed);
            assert_eq!(changed, image);
        }
    }

    #[test]
    fn a_window_has_a_pixel_of_the_region() {
        let size = ImageSize::new(30, 7);
        let inside = Mask::from_fn(size, |y, x| (y, x) == (25, 3));
        for seed in 0..20 {
            let window = Window::of_side(10, size, Some(&inside), Seed::new(seed)).unwrap().unwrap();
            assert_eq!(window.inside(Some(&inside)).unwrap().map(|mask| mask.area()), Some(1));
        }
        let nowhere = Mask::empty(size);
        assert!(Window::of_side(10, size, Some(&nowhere), Seed::new(0)).unwrap().is_none());
    }
}
