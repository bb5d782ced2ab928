//! Convolutions as operators of candle, with their gradients.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::cpu::dense::{self, DenseWeight};
use crate::cpu::depthwise;
use crate::cpu::host::{Host, elements, output};
use crate::cpu::input_gradient::{AdjointWeight, input_gradient};
use crate::cpu::panels::Epilogue;
use crate::cpu::target::{Target, computed};
use crate::geometry::Geometry;

/// 2-D convolution of `x`, `[N, H, W, C_in]`, to `[N, H', W', C_out]`.
pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, g: &Geometry, groups: usize) -> Result<Tensor> {
    by_groups(x, weight, g, groups, |x, weight, convolution| {
        x.contiguous()?.apply_op2(&weight.contiguous()?, convolution)
    })
}

/// Runs a convolution by `run`: as one, or, for several groups of several channels, which are rare,
/// as a dense one for each group.
pub(crate) fn by_groups(
    x: &Tensor,
    weight: &Tensor,
    g: &Geometry,
    groups: usize,
    run: impl Fn(&Tensor, &Tensor, Convolution) -> Result<Tensor>,
) -> Result<Tensor> {
    if let Some(convolution) = Convolution::of(*g, groups) {
        return run(x, weight, convolution);
    }
    let (ci, co) = (g.ci / groups, g.co / groups);
    let part = Convolution::Dense(Geometry { ci, co, ..*g });
    let parts = (0..groups)
        .map(|i| run(&x.narrow(3, i * ci, ci)?, &weight.narrow(0, i * co, co)?, part))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 3)?.contiguous()
}

/// Transposed 2-D convolution of `x`, `[N, H', W', C_out]` of the geometry, to `[N, H, W, C_in]`.
pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Convolution::Transposed(*g))
}

/// The form of a convolution, with the three products that training takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Convolution {
    Dense(Geometry),
    Depthwise(Geometry),
    /// The input gradient of the convolution with this geometry, whose input is the output here.
    Transposed(Geometry),
}

impl Convolution {
    /// The form of a convolution of `groups`. Several groups of several channels have none.
    pub(crate) fn of(g: Geometry, groups: usize) -> Option<Self> {
        match groups {
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
    pub(crate) fn forward(&self, x: &[f32], weight: &[f32], y: Target<'_>) {
        let none = &Epilogue::NONE;
        match self {
            Self::Dense(g) => dense::forward(x, &DenseWeight::new(weight, g), g, none, y),
            Self::Depthwise(g) => depthwise::forward(x, &depthwise::pack(weight, g), g, none, y),
            Self::Transposed(g) => input_gradient(x, &AdjointWeight::new(weight, g), g, none, y),
        }
    }

    /// Writes every element of `dx`.
    pub(crate) fn input_gradient(&self, grad: &[f32], weight: &[f32], dx: Target<'_>) {
        let none = &Epilogue::NONE;
        match self {
            Self::Dense(g) => input_gradient(grad, &AdjointWeight::new(weight, g), g, none, dx),
            Self::Depthwise(g) => depthwise::input_gradient(grad, &depthwise::pack(weight, g), g, dx),
            Self::Transposed(g) => dense::forward(grad, &DenseWeight::new(weight, g), g, none, dx),
        }
    }

    pub(crate) fn weight_gradient(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(g) => dense::unpack(dense::weight_gradient(x, grad, g), g),
            Self::Depthwise(g) => depthwise::unpack(&depthwise::weight_gradient(x, grad, g), g),
            Self::Transposed(g) => dense::unpack(dense::weight_gradient(grad, x, g), g),
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
        let (x, weight) = (elements(s1, l1)?, elements(s2, l2)?);
        output(computed(self.output_len(), |y| self.forward(x, weight, y)), self.output_shape())
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
            gradient(x, &|| computed(self.input_len(), |dx| self.input_gradient(&grad, &weight_host, dx)))?,
            gradient(weight, &|| self.weight_gradient(&x_host, &grad))?,
        ))
    }
}
