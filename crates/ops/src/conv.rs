use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::Activation;
use crate::cpu::dense::{self, DenseWeight};
use crate::cpu::depthwise;
use crate::cpu::host::{Host, elements, output, zeros};
use crate::cpu::input_gradient::{AdjointWeight, input_gradient};
use crate::cpu::panels::Epilogue;
use crate::geometry::{Conv2dConfig, Geometry};
use crate::half::multipliable;

/// (N, C, H, W).
type Dims = (usize, usize, usize, usize);

/// Either kind of convolution with its geometry.
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
    /// The kernels for `weight` on an input of `dims` (N, C, H, W), where there are some, and the result's dimensions.
    pub(crate) fn convolution(&self, dims: Dims, weight: &Tensor) -> Result<(Option<Convolution>, Dims)> {
        match *self {
            Self::Conv(config) => {
                let g = config.geometry(dims, weight)?;
                Ok((Convolution::of(g, &config), (g.n, g.co, g.oh, g.ow)))
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

/// 2-D convolution (cross-correlation) without bias.
///
/// # Shapes and units
/// `x`: (N, C_in, H, W); `weight`: `[C_out, C_in / groups, k_h, k_w]`. Gives (N, C_out, H', W').
///
/// # Errors
/// When the shapes do not fit each other.
pub fn conv2d(x: &Activation, weight: &Tensor, config: &Conv2dConfig) -> Result<Activation> {
    let g = config.geometry(x.dims()?, weight)?;
    if !x.channels_last() {
        return x.with(compose_conv2d(x.tensor(), weight, config, &g)?);
    }
    if let Some(convolution) = Convolution::of(g, config) {
        let (input, weight) = (x.tensor().contiguous()?, weight.contiguous()?);
        return x.with(input.apply_op2(&weight, convolution)?);
    }
    // Grouped convolutions occur in none of our networks: one dense convolution a group.
    let (per_in, per_out) = (g.ci / config.groups, g.co / config.groups);
    let single = Conv2dConfig { groups: 1, ..*config };
    let parts = (0..config.groups)
        .map(|i| {
            let part = x.with(x.tensor().narrow(3, i * per_in, per_in)?.contiguous()?)?;
            conv2d(&part, &weight.narrow(0, i * per_out, per_out)?, &single)
        })
        .collect::<Result<Vec<_>>>()?;
    Activation::cat(&parts.iter().collect::<Vec<_>>())
}

/// Transposed 2-D convolution without bias: the gradient of [`conv2d`] with respect to its input, as an operator.
///
/// # Shapes and units
/// `x`: (N, C_in, H, W); `weight`: `[C_in, C_out, k_h, k_w]`, `padding` zeros are cut from each side of the result:
/// (N, C_out, (H - 1) stride + k_h - 2 padding, ...).
///
/// # Errors
/// When the shapes do not fit each other.
pub fn conv_transpose2d(
    x: &Activation,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Activation> {
    let g = Geometry::transposed(x.dims()?, weight, stride, padding)?;
    if !x.channels_last() {
        let (input, dtype) = (x.tensor(), x.dtype());
        let weight = multipliable(&weight.to_dtype(dtype)?)?;
        let y = multipliable(input)?.conv_transpose2d(&weight, padding, 0, stride, 1)?;
        return x.with(y.to_dtype(dtype)?);
    }
    x.with(x.tensor().contiguous()?.apply_op2(&weight.contiguous()?, Convolution::Transposed(g))?)
}

/// candle's own convolution, asked in the way in which its gradient is right: zeros are padded beforehand and
/// rows and columns that no window reaches are cut, so that the size of the input gradient is never ambiguous. The
/// weight is rounded to the type of `x`, whose result it has; its gradient comes back in its own.
pub(crate) fn compose_conv2d(
    x: &Tensor,
    weight: &Tensor,
    config: &Conv2dConfig,
    g: &Geometry,
) -> Result<Tensor> {
    let fit = |x: Tensor, axis: usize, before: usize, size: usize, out: usize, kernel: usize| {
        let reach = (out - 1) * config.stride + kernel;
        let x = x.pad_with_zeros(axis, before, reach.saturating_sub(before + size))?;
        x.narrow(axis, 0, reach)
    };
    let x = fit(x.clone(), 2, g.top, g.h, g.oh, g.kh)?;
    let x = fit(x, 3, g.left, g.w, g.ow, g.kw)?;
    let dtype = x.dtype();
    let weight = multipliable(&weight.to_dtype(dtype)?)?;
    multipliable(&x.contiguous()?)?.conv2d(&weight, 0, config.stride, 1, config.groups)?.to_dtype(dtype)
}

/// The three products of training, each for one of the forms that a convolution takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Convolution {
    Dense(Geometry),
    Depthwise(Geometry),
    /// The geometry is that of the convolution whose input gradient this is: its input is our output.
    Transposed(Geometry),
}

impl Convolution {
    /// The form for `weight`, unless it has several groups of several channels.
    pub(crate) fn of(g: Geometry, config: &Conv2dConfig) -> Option<Self> {
        match config.groups {
            1 => Some(Self::Dense(g)),
            groups if groups == g.ci && groups == g.co => Some(Self::Depthwise(g)),
            _ => None,
        }
    }

    /// `[N, H, W, C]` of the result.
    pub(crate) fn output_shape(&self) -> (usize, usize, usize, usize) {
        match self {
            Self::Dense(g) | Self::Depthwise(g) => (g.n, g.oh, g.ow, g.co),
            Self::Transposed(g) => (g.n, g.h, g.w, g.ci),
        }
    }

    /// `[N, H, W, C]` of the input.
    fn input_shape(&self) -> (usize, usize, usize, usize) {
        match self {
            Self::Dense(g) | Self::Depthwise(g) => (g.n, g.h, g.w, g.ci),
            Self::Transposed(g) => (g.n, g.oh, g.ow, g.co),
        }
    }

    /// Number of elements of the result.
    pub(crate) fn output_len(&self) -> usize {
        let (n, h, w, c) = self.output_shape();
        n * h * w * c
    }

    /// Number of elements of the input.
    pub(crate) fn input_len(&self) -> usize {
        let (n, h, w, c) = self.input_shape();
        n * h * w * c
    }

    /// Writes every element of `y`.
    pub(crate) fn forward(&self, x: &[f32], weight: &[f32], y: &mut [f32]) {
        let none = &Epilogue::NONE;
        match self {
            Self::Dense(g) => dense::forward(x, &DenseWeight::new(weight, g), g, none, y),
            Self::Depthwise(g) => depthwise::forward(x, &depthwise::pack(weight, g), g, none, y),
            Self::Transposed(g) => input_gradient(x, &AdjointWeight::new(weight, g), g, none, y),
        }
    }

    /// Writes every element of `dx`.
    pub(crate) fn input_gradient(&self, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
        let none = &Epilogue::NONE;
        match self {
            Self::Dense(g) => input_gradient(grad, &AdjointWeight::new(weight, g), g, none, dx),
            Self::Depthwise(g) => depthwise::input_gradient(grad, &depthwise::pack(weight, g), g, dx),
            Self::Transposed(g) => dense::forward(grad, &DenseWeight::new(weight, g), g, none, dx),
        }
    }

    pub(crate) fn weight_gradient(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(g) => dense::unpack(&dense::weight_gradient(x, grad, g), g),
            Self::Depthwise(g) => depthwise::unpack(&depthwise::weight_gradient(x, grad, g), g),
            Self::Transposed(g) => dense::unpack(&dense::weight_gradient(grad, x, g), g),
        }
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "conv2d",
            Self::Depthwise(_) => "depthwise_conv2d",
            Self::Transposed(_) => "conv_transpose2d",
        }
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut y = zeros(self.output_len());
        self.forward(elements(s1, l1)?, elements(s2, l2)?, &mut y);
        output(y, self.output_shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_host, weight_host, grad) = (Host::new(x)?, Host::new(weight)?, Host::new(&grad)?);
        let gradient = |of: &Tensor, compute: &dyn Fn() -> Vec<f32>| {
            of.track_op().then(|| Tensor::from_vec(compute(), of.shape(), of.device())).transpose()
        };
        Ok((
            gradient(x, &|| {
                let mut dx = zeros(self.input_len());
                self.input_gradient(&grad, &weight_host, &mut dx);
                dx
            })?,
            gradient(weight, &|| self.weight_gradient(&x_host, &grad))?,
        ))
    }
}
