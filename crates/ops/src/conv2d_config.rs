//! Settings of a convolution.

/// Zeros around the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As many on each side, as PyTorch has it.
    Symmetric(usize),
    /// TensorFlow's SAME: the output has `ceil(size / stride)` positions. Of an odd number of zeros
    /// the bottom and the right get one more.
    TfSame,
}

/// Settings of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Step in both directions, at least 1.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Groups of channels; as many as channels for a depthwise convolution.
    pub groups: usize,
}

impl Conv2dConfig {
    /// Stride 1, one group, `kernel / 2` zeros on each side: an odd kernel keeps the size.
    pub const fn same(kernel: usize) -> Self {
        Self { stride: 1, padding: Padding::Symmetric(kernel / 2), groups: 1 }
    }

    /// `(before, after)` zeros along one axis; stride and `size` are above 0.
    pub(crate) fn pad(&self, size: usize, kernel: usize) -> (usize, usize) {
        match self.padding {
            Padding::Symmetric(p) => (p, p),
            Padding::TfSame => {
                let out = size.div_ceil(self.stride);
                let total = ((out - 1) * self.stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }
}
