use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{CoreError, ImageSize};

/// An 8-bit RGB image, row-major with interleaved channels: `data[(y * width + x) * 3 + channel]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    size: ImageSize,
    data: Vec<u8>,
}

impl RgbImage {
    /// Wraps `data`, which must hold `height * width * 3` bytes.
    ///
    /// # Errors
    /// [`CoreError::BufferLength`] when it does not.
    pub fn new(size: ImageSize, data: Vec<u8>) -> Result<Self, CoreError> {
        check_length(size, size.pixels() * 3, data.len())?;
        Ok(Self { size, data })
    }

    /// An image of one colour.
    pub fn filled(size: ImageSize, rgb: [u8; 3]) -> Self {
        Self { size, data: rgb.repeat(size.pixels()) }
    }

    /// An image whose pixel (y, x) is `pixel(y, x)`.
    pub fn from_fn(size: ImageSize, mut pixel: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        let mut data = Vec::with_capacity(size.pixels() * 3);
        for y in 0..size.height {
            for x in 0..size.width {
                data.extend_from_slice(&pixel(y, x));
            }
        }
        Self { size, data }
    }

    /// Height and width.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The interleaved bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The interleaved bytes, to write to.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The bytes without the size.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The colour at row `y`, column `x`.
    ///
    /// # Panics
    /// Panics if (y, x) lies outside the image, as slice indexing does.
    pub fn pixel(&self, y: usize, x: usize) -> [u8; 3] {
        let start = (y * self.size.width + x) * 3;
        [self.data[start], self.data[start + 1], self.data[start + 2]]
    }

    /// Gives the pixels that are 0 in `inside` the colour `rgb`.
    ///
    /// # Errors
    /// [`CoreError::MaskSize`] for a mask of another size.
    pub fn fill_outside(&mut self, inside: &Mask, rgb: [u8; 3]) -> Result<(), CoreError> {
        if inside.size != self.size {
            return Err(CoreError::MaskSize { image: self.size, mask: inside.size });
        }
        for (pixel, is_inside) in self.data.chunks_exact_mut(3).zip(&inside.data) {
            if *is_inside == 0 {
                pixel.copy_from_slice(&rgb);
            }
        }
        Ok(())
    }

    /// Sets the colour at row `y`, column `x`.
    ///
    /// # Panics
    /// Panics if (y, x) lies outside the image, as slice indexing does.
    pub fn set_pixel(&mut self, y: usize, x: usize, rgb: [u8; 3]) {
        let start = (y * self.size.width + x) * 3;
        self.data[start..start + 3].copy_from_slice(&rgb);
    }
}

/// A binary defect mask, row-major: 1 where the pixel is anomalous, 0 where it is normal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    size: ImageSize,
    data: Vec<u8>,
}

impl Mask {
    /// Wraps `data`, which must hold `height * width` bytes; every non-zero byte counts as
    /// anomalous.
    ///
    /// # Errors
    /// [`CoreError::BufferLength`] when the length differs.
    pub fn new(size: ImageSize, mut data: Vec<u8>) -> Result<Self, CoreError> {
        check_length(size, size.pixels(), data.len())?;
        for value in &mut data {
            *value = u8::from(*value != 0);
        }
        Ok(Self { size, data })
    }

    /// A mask without a defect.
    pub fn empty(size: ImageSize) -> Self {
        Self { size, data: vec![0; size.pixels()] }
    }

    /// A mask that is anomalous where `anomalous(y, x)` holds.
    pub fn from_fn(size: ImageSize, mut anomalous: impl FnMut(usize, usize) -> bool) -> Self {
        let mut data = Vec::with_capacity(size.pixels());
        for y in 0..size.height {
            for x in 0..size.width {
                data.push(u8::from(anomalous(y, x)));
            }
        }
        Self { size, data }
    }

    /// Height and width.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The values, each 0 or 1.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// True if the pixel at row `y`, column `x` is anomalous.
    ///
    /// # Panics
    /// Panics if (y, x) lies outside the mask, as slice indexing does.
    pub fn at(&self, y: usize, x: usize) -> bool {
        self.data[y * self.size.width + x] != 0
    }

    /// Marks the pixel at row `y`, column `x`.
    ///
    /// # Panics
    /// Panics if (y, x) lies outside the mask, as slice indexing does.
    pub fn set(&mut self, y: usize, x: usize, anomalous: bool) {
        self.data[y * self.size.width + x] = u8::from(anomalous);
    }

    /// Number of anomalous pixels.
    pub fn area(&self) -> usize {
        self.data.iter().map(|&v| usize::from(v)).sum()
    }

    /// Share of anomalous pixels in each cell of `stride` by `stride`, row by row, and the grid's
    /// (height, width); cells at the far edges may be smaller.
    pub fn shares(&self, stride: usize) -> (Vec<f64>, (usize, usize)) {
        let (height, width) = (self.size.height.div_ceil(stride), self.size.width.div_ceil(stride));
        let mut counts = vec![(0_u32, 0_u32); height * width];
        for (y, row) in self.data.chunks_exact(self.size.width).enumerate() {
            for (x, &value) in row.iter().enumerate() {
                let cell = &mut counts[y / stride * width + x / stride];
                cell.0 += u32::from(value);
                cell.1 += 1;
            }
        }
        let share = counts.into_iter().map(|(marked, all)| f64::from(marked) / f64::from(all)).collect();
        (share, (height, width))
    }

    /// True if no pixel is anomalous.
    pub fn is_empty(&self) -> bool {
        self.data.iter().all(|&v| v == 0)
    }

    /// The lengths of runs of equal pixels, row by row: normal, anomalous, normal and so on. The
    /// first is 0 for a mask that begins with an anomalous pixel.
    pub fn runs(&self) -> Vec<usize> {
        let (mut runs, mut value) = (vec![0], 0);
        for &pixel in &self.data {
            if pixel != value {
                runs.push(0);
                value = pixel;
            }
            if let Some(run) = runs.last_mut() {
                *run += 1;
            }
        }
        runs
    }

    /// The reverse of [`Mask::runs`].
    ///
    /// # Errors
    /// [`CoreError::BufferLength`] when the runs do not make up `size`.
    pub fn from_runs(size: ImageSize, runs: &[usize]) -> Result<Self, CoreError> {
        let total = runs.iter().fold(0_usize, |sum, &run| sum.saturating_add(run));
        check_length(size, size.pixels(), total)?;
        let mut data = Vec::with_capacity(total);
        for (index, &run) in runs.iter().enumerate() {
            data.resize(data.len() + run, (index % 2) as u8);
        }
        Ok(Self { size, data })
    }
}

/// A mask as text: its size and its runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMask {
    height: usize,
    width: usize,
    runs: Vec<usize>,
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ImageSize { height, width } = self.size;
        WrittenMask { height, width, runs: self.runs() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenMask { height, width, runs } = WrittenMask::deserialize(deserializer)?;
        let is_small = height.checked_mul(width).is_some_and(|pixels| pixels <= MAX_WRITTEN_PIXELS);
        if !is_small {
            return Err(D::Error::custom(format!("a mask of {height}x{width} pixels is too large")));
        }
        Self::from_runs(ImageSize::new(height, width), &runs).map_err(D::Error::custom)
    }
}

/// Pixels of a mask that is read from a text: a few bytes must not ask for all memory.
const MAX_WRITTEN_PIXELS: usize = 1 << 28;

pub(crate) fn check_length(size: ImageSize, expected: usize, actual: usize) -> Result<(), CoreError> {
    if expected == actual { Ok(()) } else { Err(CoreError::BufferLength { size, expected, actual }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_indexed_by_row_then_column() {
        let image = RgbImage::from_fn(ImageSize::new(2, 3), |y, x| [y as u8, x as u8, 9]);
        assert_eq!(image.pixel(1, 2), [1, 2, 9]);
        assert_eq!(image.data()[15..18], [1, 2, 9]);
    }

    #[test]
    fn pixels_outside_of_a_mask_are_filled() {
        let size = ImageSize::new(2, 2);
        let mut image = RgbImage::filled(size, [9; 3]);
        image.fill_outside(&Mask::from_fn(size, |y, x| y == x), [1, 2, 3]).unwrap();
        assert_eq!(image.data(), [9, 9, 9, 1, 2, 3, 1, 2, 3, 9, 9, 9]);
        let refused = image.fill_outside(&Mask::empty(ImageSize::new(2, 3)), [0; 3]);
        assert!(matches!(refused, Err(CoreError::MaskSize { .. })));
    }

    #[test]
    fn a_mask_is_pooled_to_shares() {
        let mask = Mask::from_fn(ImageSize::new(4, 6), |y, x| y < 2 && x < 3);
        let (share, grid) = mask.shares(2);
        assert_eq!(grid, (2, 3));
        assert_eq!(share, [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_buffer_of_the_wrong_length_is_refused() {
        assert!(matches!(
            RgbImage::new(ImageSize::new(2, 2), vec![0; 11]),
            Err(CoreError::BufferLength { expected: 12, actual: 11, .. })
        ));
        assert!(Mask::new(ImageSize::new(2, 2), vec![0; 5]).is_err());
    }

    #[test]
    fn a_mask_comes_back_from_its_runs() {
        for starts_inside in [false, true] {
            let mask = Mask::from_fn(ImageSize::new(3, 4), |y, x| (y + x >= 3) != starts_inside);
            let text = serde_json::to_string(&mask).unwrap();
            assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
        }
        assert_eq!(Mask::from_fn(ImageSize::new(1, 3), |_, x| x == 0).runs(), [0, 1, 2]);
        for text in [
            r#"{"height":2,"width":2,"runs":[3]}"#,
            r#"{"height":2,"width":2,"runs":[1,18446744073709551615]}"#,
            r#"{"height":4294967296,"width":4294967296,"runs":[0]}"#,
        ] {
            assert!(serde_json::from_str::<Mask>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_nonzero_mask_byte_is_anomalous() {
        let mask = Mask::new(ImageSize::new(1, 3), vec![0, 255, 7]).unwrap();
        assert_eq!(mask.data(), [0, 1, 1]);
        assert_eq!(mask.area(), 2);
        assert!(mask.at(0, 1) && !mask.is_empty());
    }
}
