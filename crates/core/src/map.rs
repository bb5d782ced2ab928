use crate::image::check_length;
use crate::{CoreError, ImageSize};

/// One anomaly score per pixel, row-major; higher is more anomalous. The scale is the method's own.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyMap {
    size: ImageSize,
    data: Vec<f32>,
}

impl AnomalyMap {
    /// Wraps `data`, which must hold `height * width` values.
    ///
    /// # Errors
    /// [`CoreError::BufferLength`] when it does not.
    pub fn new(size: ImageSize, data: Vec<f32>) -> Result<Self, CoreError> {
        check_length(size, size.pixels(), data.len())?;
        Ok(Self { size, data })
    }

    /// Height and width.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The scores, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The scores without the size.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The score at row `y`, column `x`.
    ///
    /// # Panics
    /// Panics if (y, x) lies outside the map, as slice indexing does.
    pub fn at(&self, y: usize, x: usize) -> f32 {
        self.data[y * self.size.width + x]
    }

    /// The largest score, the image score of most methods. Negative infinity for a map without
    /// pixels.
    pub fn max(&self) -> f32 {
        self.data.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The smallest score. Infinity for a map without pixels.
    pub fn min(&self) -> f32 {
        self.data.iter().copied().fold(f32::INFINITY, f32::min)
    }
}
