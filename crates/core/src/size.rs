use serde::{Deserialize, Serialize};

/// Height and width of an image in pixels; height first everywhere, as tensors have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// `height` rows by `width` columns.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// A square of `side` by `side` pixels.
    pub const fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }

    /// Number of pixels.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }
}

impl std::fmt::Display for ImageSize {
    /// Writes `HEIGHTxWIDTH`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}
