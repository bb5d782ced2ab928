use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::conv::{compose_conv2d, is_depthwise};
use crate::conv_kernel::{self as dense, Epilogue};
use crate::depthwise_kernel as depthwise;
use crate::host::{Host, elements, is_native, output};
use crate::{Activation, Conv2dConfig, Nonlinearity};

/// A convolution whose weight does not change any more: bias and nonlinearity are fused into it and its weight
/// is packed once. It takes no part in gradients.
#[derive(Debug, Clone)]
pub struct FrozenConv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    packed: Option<Packed>,
    config: Conv2dConfig,
    nonlinearity: Nonlinearity,
}

#[derive(Debug, Clone)]
struct Packed {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    depthwise: bool,
}

impl FrozenConv2d {
    /// # Shapes and units
    /// `weight`: `[C_out, C_in / groups, k_h, k_w]`; `bias`: `[C_out]`.
    ///
    /// # Errors
    /// When `weight` is not of rank 4 or `bias` has another length than `C_out`.
    pub fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: Conv2dConfig,
        nonlinearity: Nonlinearity,
    ) -> Result<Self> {
        let weight = weight.detach().contiguous()?;
        let (co, ci, kh, kw) = weight.dims4()?;
        let bias = bias.map(|b| b.detach().contiguous()?.reshape(co)).transpose()?;
        let depthwise = is_depthwise(&config, &weight)?;
        let packed = if is_native(&weight) && (config.groups == 1 || depthwise) {
            let host = Host::new(&weight)?;
            // Only the weight's own shape matters to packing.
            let g = dense::Geometry {
                n: 0,
                h: 0,
                w: 0,
                ci,
                oh: 0,
                ow: 0,
                co,
                kh,
                kw,
                stride: 1,
                top: 0,
                left: 0,
            };
            let weight = if depthwise { depthwise::pack(&host, &g) } else { dense::pack(&host, &g) };
            let bias = bias.as_ref().map(|b| Host::new(b).map(|b| b.to_vec())).transpose()?;
            Some(Packed { weight, bias, depthwise })
        } else {
            None
        };
        Ok(Self { weight, bias, packed, config, nonlinearity })
    }

    /// # Shapes and units
    /// `x`: (N, C_in, H, W). Gives (N, C_out, H', W'), detached.
    ///
    /// # Errors
    /// When the channels of `x` do not fit the weight.
    pub fn forward(&self, x: &Activation) -> Result<Activation> {
        let g = self.config.geometry(x.dims()?, &self.weight)?;
        if let (Some(packed), true) = (&self.packed, x.channels_last()) {
            let op = Fused { packed, g, nonlinearity: self.nonlinearity };
            return x.with(x.tensor().contiguous()?.apply_op1_no_bwd(&op)?);
        }
        let x = x.detach();
        let y = if x.channels_last() {
            crate::conv2d(&x, &self.weight, &self.config)?
        } else {
            x.with(compose_conv2d(x.tensor(), &self.weight, &self.config, &g)?)?
        };
        let y = match &self.bias {
            None => y,
            Some(b) if y.channels_last() => y.with(y.tensor().broadcast_add(b)?)?,
            Some(b) => y.with(y.tensor().broadcast_add(&b.reshape((1, g.co, 1, 1))?)?)?,
        };
        crate::nonlinearity(&y, self.nonlinearity)
    }
}

struct Fused<'a> {
    packed: &'a Packed,
    g: dense::Geometry,
    nonlinearity: Nonlinearity,
}

impl CustomOp1 for Fused<'_> {
    fn name(&self) -> &'static str {
        "frozen_conv2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = &self.g;
        let x = elements(storage, layout)?;
        let epilogue = Epilogue { bias: self.packed.bias.as_deref(), nonlinearity: self.nonlinearity };
        let y = if self.packed.depthwise {
            depthwise::forward(x, &self.packed.weight, g, &epilogue)
        } else {
            dense::forward(x, &self.packed.weight, g, &epilogue)
        };
        output(y, (g.n, g.oh, g.ow, g.co))
    }
}
