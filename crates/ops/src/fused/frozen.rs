//! A layer of a frozen network.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Result, Tensor};

use crate::activation::Activation;
use crate::conv::LayerKind;
use crate::conv2d_config::Conv2dConfig;
use crate::cpu::Convolution;
use crate::cpu::dense::{self, DenseWeight};
use crate::cpu::depthwise::{self, Plan};
use crate::cpu::host::Host;
use crate::cpu::input_gradient::{AdjointWeight, input_gradient};
use crate::cpu::panels::Epilogue;
use crate::cpu::target::Target;
use crate::fused::inference::{check_residual, infer};
use crate::fused::stage::{Kernel, Stage};
use crate::kernels::{Kernels, Path};
use crate::nonlinearity::Nonlinearity;
use crate::trace::traced;
use crate::{cuda, pointwise};

/// A convolution whose weight does not change any more, with the bias and the nonlinearity after
/// it. The weight is packed once for native kernels, where they can run. No gradient is recorded.
#[derive(Debug, Clone)]
pub struct FrozenConv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    /// The form for native kernels, where they take the weight.
    packed: Option<Packed>,
    /// Weight and bias in the type of the first activation whose type was another.
    rounded: OnceLock<(Tensor, Option<Tensor>)>,
    kind: LayerKind,
    nonlinearity: Nonlinearity,
}

#[derive(Debug, Clone)]
enum Packed {
    Host { weight: PackedWeight, bias: Option<Vec<f32>> },
    Device(Arc<cuda::FrozenWeight>),
}

#[derive(Debug, Clone)]
enum PackedWeight {
    Dense(DenseWeight),
    Depthwise(Vec<f32>),
    Transposed(AdjointWeight),
}

impl FrozenConv2d {
    /// # Shapes and units
    /// `weight`: `[C_out, C_in / groups, k_h, k_w]`; `bias`: `[C_out]`.
    ///
    /// # Errors
    /// Fails if `weight` is not of rank 4, does not fit `config`, or `bias` has another length than
    /// `C_out`.
    pub fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: Conv2dConfig,
        nonlinearity: Nonlinearity,
    ) -> Result<Self> {
        let (co, ci, kh, kw) = weight.dims4()?;
        // Packing depends on the shape of the weight alone: any image will do.
        let dims = (1, ci * config.groups, kh, kw);
        Self::pack(weight, bias.map(|b| (b, co)), LayerKind::Conv(config), dims, nonlinearity)
    }

    /// A transposed convolution.
    ///
    /// # Shapes and units
    /// `weight`: `[C_in, C_out, k_h, k_w]`; `bias`: `[C_out]`; see [`crate::conv_transpose2d`].
    ///
    /// # Errors
    /// Fails if `weight` is not of rank 4 or `bias` has another length than `C_out`.
    pub fn transposed(
        weight: &Tensor,
        bias: Option<&Tensor>,
        (stride, padding): (usize, usize),
        nonlinearity: Nonlinearity,
    ) -> Result<Self> {
        let (ci, co, ..) = weight.dims4()?;
        // An input so large that something is left when the padding is cut.
        let dims = (1, ci, 1 + 2 * padding, 1 + 2 * padding);
        let kind = LayerKind::Transposed { stride, padding };
        Self::pack(weight, bias.map(|b| (b, co)), kind, dims, nonlinearity)
    }

    /// `dims` is an input that fits; `bias` comes with the number of its channels.
    fn pack(
        weight: &Tensor,
        bias: Option<(&Tensor, usize)>,
        kind: LayerKind,
        dims: (usize, usize, usize, usize),
        nonlinearity: Nonlinearity,
    ) -> Result<Self> {
        let weight = weight.detach().contiguous()?;
        let bias = bias.map(|(b, co)| b.detach().contiguous()?.reshape(co)).transpose()?;
        let packed = match (kind.convolution(dims, &weight)?.0, Kernels::Native.path(&weight)) {
            (Some(convolution), Path::Cuda) => {
                let frozen = cuda::FrozenWeight::new(&weight, bias.as_ref(), &convolution)?;
                Some(Packed::Device(Arc::new(frozen)))
            }
            (Some(convolution), Path::Cpu) => {
                let host = Host::new(&weight)?;
                let weight = match &convolution {
                    Convolution::Dense(g) => PackedWeight::Dense(DenseWeight::new(&host, g)),
                    Convolution::Depthwise(g) => PackedWeight::Depthwise(depthwise::pack(&host, g)),
                    Convolution::Transposed(g) => PackedWeight::Transposed(AdjointWeight::new(&host, g)),
                };
                let bias = bias.as_ref().map(|b| Host::new(b).map(|b| b.to_vec())).transpose()?;
                Some(Packed::Host { weight, bias })
            }
            _ => None,
        };
        Ok(Self { weight, bias, packed, rounded: OnceLock::new(), kind, nonlinearity })
    }

    /// # Shapes and units
    /// `x`: (N, C_in, H, W). Gives (N, C_out, H', W'), detached.
    ///
    /// # Errors
    /// Fails if the channels of `x` do not fit the weight.
    pub fn forward(&self, x: &Activation) -> Result<Activation> {
        self.run(x, None, self.nonlinearity)
    }

    /// The end of a residual block in one pass: `nonlinearity(self.forward(x) + residual)`.
    ///
    /// # Shapes and units
    /// As [`FrozenConv2d::forward`]; `residual` has the result's shape.
    ///
    /// # Errors
    /// Fails if a shape does not fit.
    pub fn forward_add(
        &self,
        x: &Activation,
        residual: &Activation,
        nonlinearity: Nonlinearity,
    ) -> Result<Activation> {
        if self.nonlinearity == Nonlinearity::Identity {
            self.run(x, Some(residual), nonlinearity)
        } else {
            pointwise::add_nonlinearity(&self.forward(x)?, &residual.detach(), nonlinearity)
        }
    }

    /// The layer for an input of `dims` (N, C, H, W) as a stage of a chain, if its rows can be
    /// computed alone.
    pub(crate) fn stage(&self, dims: (usize, usize, usize, usize)) -> Result<Option<Stage<'_>>> {
        let (Some(convolution), _) = self.kind.convolution(dims, &self.weight)? else { return Ok(None) };
        let Some(Packed::Host { weight, bias }) = &self.packed else { return Ok(None) };
        let (kernel, geometry) = match (weight, convolution) {
            (PackedWeight::Dense(DenseWeight::Direct(panels)), Convolution::Dense(g)) => {
                (if g.is_pointwise() { Kernel::Pointwise(panels) } else { Kernel::Dense(panels) }, g)
            }
            (PackedWeight::Depthwise(packed), Convolution::Depthwise(g)) => {
                (Kernel::Depthwise(packed, Plan::of_output(&g)), g)
            }
            _ => return Ok(None),
        };
        let (bias, nonlinearity) = (bias.as_deref(), self.nonlinearity);
        Ok(Some(Stage { kernel, geometry, bias, nonlinearity }))
    }

    fn run(
        &self,
        x: &Activation,
        residual: Option<&Activation>,
        nonlinearity: Nonlinearity,
    ) -> Result<Activation> {
        let (convolution, dims) = self.kind.convolution(x.dims()?, &self.weight)?;
        match (&self.packed, convolution, x.path()) {
            (Some(Packed::Host { weight, bias }), Some(convolution), Path::Cpu) => {
                return infer("frozen_conv2d", x, residual, dims, |x, residual, y| {
                    let epilogue = Epilogue { bias: bias.as_deref(), residual, nonlinearity };
                    weight.run(x, &convolution, &epilogue, y);
                });
            }
            (Some(Packed::Device(frozen)), Some(convolution), Path::Cuda) => {
                check_residual(x, residual, dims)?;
                let residual = residual.map(Activation::tensor);
                return Ok(x.with(frozen.run(x.tensor(), &convolution, residual, nonlinearity)?));
            }
            _ => check_residual(x, residual, dims)?,
        }
        let x = x.detach();
        let (weight, bias) = self.parameters(x.dtype())?;
        let y = self.kind.apply(&x, &weight)?;
        let y = match &bias {
            None => y,
            Some(b) => y.with(traced::add(y.tensor(), &y.per_channel(b)?)?),
        };
        match residual {
            None => pointwise::nonlinearity(&y, nonlinearity),
            Some(r) => pointwise::add_nonlinearity(&y, &r.detach(), nonlinearity),
        }
    }

    /// Weight and bias in the type of an activation. They are rounded once, since activations keep
    /// their type through a network.
    fn parameters(&self, dtype: DType) -> Result<(Tensor, Option<Tensor>)> {
        if dtype == self.weight.dtype() {
            return Ok((self.weight.clone(), self.bias.clone()));
        }
        if let Some(rounded) = self.rounded.get().filter(|(weight, _)| weight.dtype() == dtype) {
            return Ok(rounded.clone());
        }
        let bias = self.bias.as_ref().map(|bias| bias.to_dtype(dtype)).transpose()?;
        let rounded = (self.weight.to_dtype(dtype)?, bias);
        // Another thread may have been first, with the same values.
        let _ = self.rounded.set(rounded.clone());
        Ok(rounded)
    }
}

impl PackedWeight {
    /// Writes every element of `y`.
    fn run(&self, x: &[f32], convolution: &Convolution, epilogue: &Epilogue<'_>, y: Target<'_>) {
        let (Convolution::Dense(g) | Convolution::Depthwise(g) | Convolution::Transposed(g)) = convolution;
        match self {
            Self::Dense(weight) => dense::forward(x, weight, g, epilogue, y),
            Self::Depthwise(weight) => depthwise::forward(x, weight, g, epilogue, y),
            Self::Transposed(weight) => input_gradient(x, weight, g, epilogue, y),
        }
    }
}
