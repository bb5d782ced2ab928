//! The geometry of convolutions: settings, and the numbers that follow from them for an input.

use candle_core::{Error, Result, Tensor};

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
    fn pad(&self, size: usize, kernel: usize) -> (usize, usize) {
        match self.padding {
            Padding::Symmetric(p) => (p, p),
            Padding::TfSame => {
                let out = size.div_ceil(self.stride);
                let total = ((out - 1) * self.stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }

    /// The geometry of `weight` (`[C_out, C_in / groups, k_h, k_w]`) on an input of `(N, C, H, W)`.
    ///
    /// # Errors
    /// When the two do not fit each other.
    pub(crate) fn geometry(
        &self,
        (n, ci, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
    ) -> Result<Geometry> {
        let (co, ci_group, kh, kw) = weight.dims4()?;
        let matches = self.stride > 0
            && self.groups > 0
            && ci_group * self.groups == ci
            && co % self.groups == 0
            && [h, w, ci, co, kh, kw].iter().all(|&size| size > 0);
        let padding = matches
            .then(|| (self.pad(h, kh), self.pad(w, kw)))
            .filter(|((top, bottom), (left, right))| h + top + bottom >= kh && w + left + right >= kw);
        let Some(((top, bottom), (left, right))) = padding else {
            return Err(Error::Msg(format!(
                "conv2d: weight {:?} does not fit input {:?} with {self:?}",
                weight.dims(),
                [n, ci, h, w]
            ))
            .bt());
        };
        let oh = (h + top + bottom - kh) / self.stride + 1;
        let ow = (w + left + right - kw) / self.stride + 1;
        Ok(Geometry { n, h, w, ci, oh, ow, co, kh, kw, stride: self.stride, top, left })
    }
}

/// Sizes of a convolution's input, output and kernel. `top` and `left` zeros stand before the
/// image; the number of those after the image follows from the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) ci: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) co: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) stride: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
}

impl Geometry {
    /// The convolution whose input gradient is the transposed convolution with `weight`
    /// (`[C_in, C_out, k_h, k_w]`) of an input of `(N, C, H, W)`: its output is that input.
    ///
    /// # Errors
    /// When the two do not fit each other.
    pub(crate) fn transposed(
        (n, ci, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (weight_in, co, kh, kw) = weight.dims4()?;
        let size =
            |s: usize, k: usize| ((s.max(1) - 1) * stride + k).checked_sub(2 * padding).filter(|&v| v > 0);
        let (Some(out_h), Some(out_w)) = (size(h, kh), size(w, kw)) else {
            return Err(Error::Msg(format!("conv_transpose2d: padding {padding} leaves nothing")).bt());
        };
        if weight_in != ci || [stride, h, w, ci, co, kh, kw].contains(&0) {
            return Err(Error::Msg(format!(
                "conv_transpose2d: weight {:?} does not fit input {:?}",
                weight.dims(),
                [n, ci, h, w]
            ))
            .bt());
        }
        let (top, left) = (padding, padding);
        Ok(Self { n, h: out_h, w: out_w, ci: co, oh: h, ow: w, co: ci, kh, kw, stride, top, left })
    }

    /// Number of products in the sum of one output value, if the convolution is dense.
    pub(crate) fn depth(&self) -> usize {
        self.kh * self.kw * self.ci
    }

    /// Whether each window is one pixel, and each pixel a window.
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.kh, self.kw, self.stride, self.top, self.left) == (1, 1, 1, 0, 0)
            && (self.oh, self.ow) == (self.h, self.w)
    }

    /// Whether the windows cover the image without a gap or an overlap, and are larger than a
    /// pixel.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.stride > 1
            && (self.kh, self.kw, self.top, self.left) == (self.stride, self.stride, 0, 0)
            && (self.oh * self.stride, self.ow * self.stride) == (self.h, self.w)
    }

    /// Whether the input gradient is itself a convolution of the output's gradient. With more zeros
    /// than a kernel reaches, the padding of that convolution would be negative.
    pub(crate) fn has_adjoint(&self) -> bool {
        self.stride == 1 && self.top < self.kh && self.left < self.kw
    }

    /// The convolution that gives the input gradient of one of stride 1.
    pub(crate) fn adjoint(&self) -> Self {
        Self {
            h: self.oh,
            w: self.ow,
            ci: self.co,
            oh: self.h,
            ow: self.w,
            co: self.ci,
            top: self.kh - 1 - self.top,
            left: self.kw - 1 - self.left,
            ..*self
        }
    }
}
