//! The sizes that a convolution has on an input.

use candle_core::{Result, Tensor};

use crate::conv2d_config::Conv2dConfig;
use crate::error::OpsError;

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
    /// The convolution with `weight` (`[C_out, C_in / groups, k_h, k_w]`) of an input of
    /// `(N, C, H, W)`.
    ///
    /// # Errors
    /// Fails if the two do not fit each other.
    pub(crate) fn of(
        config: &Conv2dConfig,
        (n, ci, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
    ) -> Result<Self> {
        let (co, ci_group, kh, kw) = weight.dims4()?;
        let stride = config.stride;
        let matches = stride > 0
            && config.groups > 0
            && ci_group * config.groups == ci
            && co % config.groups == 0
            && [h, w, ci, co, kh, kw].iter().all(|&size| size > 0);
        let padding = matches
            .then(|| (config.pad(h, kh), config.pad(w, kw)))
            .filter(|((top, bottom), (left, right))| h + top + bottom >= kh && w + left + right >= kw);
        let Some(((top, bottom), (left, right))) = padding else {
            let (weight, input) = (weight.dims().to_vec(), [n, ci, h, w]);
            return Err(OpsError::Convolution { weight, input, config: *config }.into());
        };
        let (oh, ow) = ((h + top + bottom - kh) / stride + 1, (w + left + right - kw) / stride + 1);
        Ok(Self { n, h, w, ci, oh, ow, co, kh, kw, stride, top, left })
    }

    /// The convolution whose input gradient is the transposed convolution with `weight`
    /// (`[C_in, C_out, k_h, k_w]`) of an input of `(N, C, H, W)`: its output is that input.
    ///
    /// # Errors
    /// Fails if the two do not fit each other.
    pub(crate) fn transposed(
        (n, ci, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (weight_in, co, kh, kw) = weight.dims4()?;
        let size =
            |s: usize, k: usize| ((s.max(1) - 1) * stride + k).checked_sub(2 * padding).filter(|&v| v > 0);
        let (shape, input) = (weight.dims().to_vec(), [n, ci, h, w]);
        let (Some(out_h), Some(out_w)) = (size(h, kh), size(w, kw)) else {
            return Err(OpsError::NothingLeft { weight: shape, input, stride, padding }.into());
        };
        if weight_in != ci || [stride, h, w, ci, co, kh, kw].contains(&0) {
            return Err(OpsError::TransposedConvolution { weight: shape, input, stride }.into());
        }
        let (top, left) = (padding, padding);
        Ok(Self { n, h: out_h, w: out_w, ci: co, oh: h, ow: w, co: ci, kh, kw, stride, top, left })
    }

    /// Refuses sizes whose elements a GPU's 32-bit indices cannot count: candle's CUDA kernels
    /// would leave the rest of the memory as it was. The largest tensors are the image, the result,
    /// and the matrix of all windows of one of `groups` groups.
    ///
    /// # Errors
    /// [`OpsError::TooManyElements`].
    pub(crate) fn check_indices(&self, op: &'static str, groups: usize) -> Result<()> {
        let count = |sizes: &[usize]| sizes.iter().fold(1_u64, |all, &size| all.saturating_mul(size as u64));
        let windows = count(&[self.n, self.oh, self.ow, self.kh, self.kw, self.ci / groups.max(1)]);
        let image = count(&[self.n, self.h, self.w, self.ci]);
        let result = count(&[self.n, self.oh, self.ow, self.co]);
        let elements = windows.max(image).max(result);
        if elements <= u64::from(u32::MAX) {
            Ok(())
        } else {
            Err(OpsError::TooManyElements { op, elements }.into())
        }
    }

    /// Number of products in the sum of one output value, if the convolution is dense.
    pub(crate) fn depth(&self) -> usize {
        self.kh * self.kw * self.ci
    }

    /// True if each window is one pixel, and each pixel a window.
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.kh, self.kw, self.stride, self.top, self.left) == (1, 1, 1, 0, 0)
            && (self.oh, self.ow) == (self.h, self.w)
    }

    /// True if the windows cover the image without a gap or an overlap and are larger than a
    /// pixel.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.stride > 1
            && (self.kh, self.kw, self.top, self.left) == (self.stride, self.stride, 0, 0)
            && (self.oh * self.stride, self.ow * self.stride) == (self.h, self.w)
    }

    /// True if the input gradient is itself a convolution of the output's gradient. With more zeros
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_past_32_bit_indices_are_refused() {
        let stem = |n, side| Geometry {
            n,
            h: side,
            w: side,
            ci: 64,
            oh: side,
            ow: side,
            co: 64,
            kh: 3,
            kw: 3,
            stride: 1,
            top: 1,
            left: 1,
        };
        // 16 x 512 x 512 x 9 x 64 is 2.4e9; twice the batch is past 2^32.
        stem(16, 512).check_indices("conv2d", 1).unwrap();
        let refusal = stem(32, 512).check_indices("conv2d", 1).unwrap_err().to_string();
        assert!(refusal.contains("4831838208 elements") && refusal.contains("smaller batch"), "{refusal}");
        // A depthwise convolution has a matrix of windows for each channel.
        stem(32, 512).check_indices("conv2d", 64).unwrap();
        stem(usize::MAX, 512).check_indices("conv2d", 64).unwrap_err();
    }
}
