//! 2-D convolutions.

use candle_core::{Result, Tensor};

use crate::activation::Activation;
use crate::conv2d_config::Conv2dConfig;
use crate::cpu::Convolution;
use crate::geometry::Geometry;
use crate::kernels::Path;
use crate::{composed, cpu, cuda, trace};

/// 2-D convolution (cross-correlation) without bias.
///
/// # Shapes and units
/// `x`: (N, C_in, H, W); `weight`: `[C_out, C_in / groups, k_h, k_w]`. Gives (N, C_out, H', W').
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn conv2d(x: &Activation, weight: &Tensor, config: &Conv2dConfig) -> Result<Activation> {
    let geometry = Geometry::of(config, x.dims()?, weight)?;
    let conv2d = match x.path() {
        Path::Cpu => cpu::conv2d,
        Path::Cuda => cuda::conv2d,
        Path::Composed => composed::conv2d,
        Path::Traced => trace::conv2d,
    };
    Ok(x.with(conv2d(x.tensor(), weight, &geometry, config.groups)?))
}

/// Transposed 2-D convolution without bias: the gradient of [`conv2d`] with respect to its input,
/// as an operator.
///
/// # Shapes and units
/// `x`: (N, C_in, H, W); `weight`: `[C_in, C_out, k_h, k_w]`. `padding` zeros are cut from each
/// side of the result, (N, C_out, (H - 1) stride + k_h - 2 padding, ...).
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn conv_transpose2d(
    x: &Activation,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Activation> {
    let geometry = Geometry::transposed(x.dims()?, weight, stride, padding)?;
    let conv_transpose2d = match x.path() {
        Path::Cpu => cpu::conv_transpose2d,
        Path::Cuda => cuda::conv_transpose2d,
        Path::Composed => composed::conv_transpose2d,
        Path::Traced => trace::conv_transpose2d,
    };
    Ok(x.with(conv_transpose2d(x.tensor(), weight, &geometry)?))
}

/// (N, C, H, W).
type Dims = (usize, usize, usize, usize);

/// Either kind of convolution with its settings.
#[derive(Debug, Clone, Copy)]
pub enum LayerKind {
    /// As [`conv2d`].
    Conv(Conv2dConfig),
    /// As [`conv_transpose2d`].
    Transposed {
        /// Step in both directions.
        stride: usize,
        /// Zeros cut from each side of the result.
        padding: usize,
    },
}

impl LayerKind {
    /// The form of the convolution with `weight` on an input of `dims`, unless native kernels have
    /// none, and the result's dimensions.
    pub(crate) fn convolution(&self, dims: Dims, weight: &Tensor) -> Result<(Option<Convolution>, Dims)> {
        match *self {
            Self::Conv(config) => {
                let g = Geometry::of(&config, dims, weight)?;
                Ok((Convolution::of(g, config.groups), (g.n, g.co, g.oh, g.ow)))
            }
            Self::Transposed { stride, padding } => {
                let g = Geometry::transposed(dims, weight, stride, padding)?;
                Ok((Some(Convolution::Transposed(g)), (g.n, g.ci, g.h, g.w)))
            }
        }
    }

    pub(crate) fn apply(&self, x: &Activation, weight: &Tensor) -> Result<Activation> {
        match self {
            Self::Conv(config) => conv2d(x, weight, config),
            Self::Transposed { stride, padding } => conv_transpose2d(x, weight, *stride, *padding),
        }
    }
}
