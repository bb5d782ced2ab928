//! Pooling.

use candle_core::Result;

use crate::activation::Activation;
use crate::error::OpsError;
use crate::kernels::Path;
use crate::{composed, cpu, cuda, trace};

/// Max pooling over square windows. Padding never wins; of equal values the first in row order gets
/// the gradient, as in PyTorch.
///
/// # Shapes and units
/// `x`: (N, C, H, W). Gives (N, C, (H + 2 padding - kernel) / stride + 1, ...).
///
/// # Errors
/// Fails if a window would be larger than the padded image, or `padding` exceeds half the kernel.
pub fn max_pool2d(x: &Activation, kernel: usize, stride: usize, padding: usize) -> Result<Activation> {
    let (_, _, h, w) = x.dims()?;
    if kernel == 0
        || stride == 0
        || 2 * padding > kernel
        || h + 2 * padding < kernel
        || w + 2 * padding < kernel
    {
        return Err(OpsError::Pooling { kernel, stride, padding, size: [h, w] }.into());
    }
    let max_pool2d = match x.path() {
        Path::Cpu => cpu::max_pool2d,
        Path::Cuda => cuda::max_pool2d,
        Path::Composed => composed::max_pool2d,
        Path::Traced => trace::max_pool2d,
    };
    Ok(x.with(max_pool2d(x.tensor(), kernel, stride, padding)?))
}
