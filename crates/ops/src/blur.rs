//! Smoothing of maps.

use candle_core::{D, Result, Tensor};

use crate::composed::half::{is_half, widened};
use crate::kernels::{Kernels, Path, default_kernels};
use crate::separable::Gaussian;
use crate::{composed, cpu, cuda, trace};

/// [`gaussian_blur_with`] the default kernels.
///
/// # Errors
/// Fails if `x` has fewer than two axes.
pub fn gaussian_blur(x: &Tensor, sigma: f64) -> Result<Tensor> {
    gaussian_blur_with(x, sigma, default_kernels())
}

/// Gaussian blur of the last two axes, as `scipy.ndimage.gaussian_filter` computes it by default:
/// the image is mirrored at the border with the edge pixel twice (`d c b a | a b c d`), and the
/// weights are cut at four standard deviations.
///
/// # Shapes and units
/// `x`: `[..., H, W]`; `sigma` in pixels, 0 leaves the image as it is. No gradient is recorded.
///
/// # Errors
/// Fails if `x` has fewer than two axes.
pub fn gaussian_blur_with(x: &Tensor, sigma: f64, kernels: Kernels) -> Result<Tensor> {
    if sigma <= 0.0 {
        return Ok(trace::traced::detach(x));
    }
    if is_half(x) {
        // Rounded to half precision, the weights would not add up to 1.
        return gaussian_blur_with(&widened(x)?, sigma, kernels)?.to_dtype(x.dtype());
    }
    x.dim(D::Minus2)?;
    let gaussian_blur = match kernels.path(x) {
        Path::Cpu => cpu::gaussian_blur,
        Path::Cuda => cuda::gaussian_blur,
        Path::Composed => composed::gaussian_blur,
        Path::Traced => trace::gaussian_blur,
    };
    gaussian_blur(x, &Gaussian::new(sigma))
}
