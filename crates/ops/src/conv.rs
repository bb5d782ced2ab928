use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Tensor};

use crate::Activation;
use crate::conv_kernel::{self as dense, Geometry};
use crate::depthwise_kernel as depthwise;
use crate::host::{Host, elements, output};

/// Zeros around the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As many on each side, as PyTorch has it.
    Symmetric(usize),
    /// TensorFlow's SAME: the output has `ceil(size / stride)` positions, and where the zeros cannot be shared
    /// equally the bottom and the right get one more.
    TfSame,
}

/// Geometry of a convolution.
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

    /// `(before, after)` zeros along one axis.
    fn pad(&self, size: usize, kernel: usize) -> (usize, usize) {
        match self.padding {
            Padding::Symmetric(p) => (p, p),
            Padding::TfSame => {
                let out = size.div_ceil(self.stride);
                let total = ((out.max(1) - 1) * self.stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }

    /// Works out the geometry of `weight` (`[C_out, C_in / groups, k_h, k_w]`) on `x` (`(N, C, H, W)`).
    pub(crate) fn geometry(
        &self,
        (n, ci, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
    ) -> Result<Geometry> {
        let (co, ci_group, kh, kw) = weight.dims4()?;
        let ((top, bottom), (left, right)) = (self.pad(h, kh), self.pad(w, kw));
        let fits = self.stride > 0
            && self.groups > 0
            && ci_group * self.groups == ci
            && co % self.groups.max(1) == 0
            && kh > 0
            && kw > 0
            && h + top + bottom >= kh
            && w + left + right >= kw;
        if !fits {
            return Err(Error::Msg(format!(
                "conv2d: weight {:?} does not fit input {:?} with {self:?}",
                weight.dims(),
                [n, ci, h, w]
            ))
            .bt());
        }
        let oh = (h + top + bottom - kh) / self.stride + 1;
        let ow = (w + left + right - kw) / self.stride + 1;
        Ok(Geometry { n, h, w, ci, oh, ow, co, kh, kw, stride: self.stride, top, left })
    }

    fn is_depthwise(&self, g: &Geometry) -> bool {
        self.groups > 1 && self.groups == g.ci && self.groups == g.co
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
    if config.groups == 1 {
        let (input, weight) = (x.tensor().contiguous()?, weight.contiguous()?);
        return x.with(input.apply_op2(&weight, Dense(g))?);
    }
    if config.is_depthwise(&g) {
        let (input, weight) = (x.tensor().contiguous()?, weight.contiguous()?);
        return x.with(input.apply_op2(&weight, Depthwise(g))?);
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
    let (n, ci, h, w) = x.dims()?;
    let (weight_in, co, kh, kw) = weight.dims4()?;
    let size = |s: usize, k: usize| ((s.max(1) - 1) * stride + k).checked_sub(2 * padding).filter(|&v| v > 0);
    let (Some(out_h), Some(out_w)) = (size(h, kh), size(w, kw)) else {
        return Err(Error::Msg(format!("conv_transpose2d: padding {padding} leaves nothing")).bt());
    };
    if weight_in != ci || stride == 0 {
        return Err(Error::Msg(format!(
            "conv_transpose2d: weight {:?} does not fit input {:?}",
            weight.dims(),
            [n, ci, h, w]
        ))
        .bt());
    }
    if !x.channels_last() {
        return x.with(x.tensor().conv_transpose2d(weight, padding, 0, stride, 1)?);
    }
    // Seen as the convolution whose input gradient this is: its input is our output.
    let g = Geometry {
        n,
        h: out_h,
        w: out_w,
        ci: co,
        oh: h,
        ow: w,
        co: ci,
        kh,
        kw,
        stride,
        top: padding,
        left: padding,
    };
    x.with(x.tensor().contiguous()?.apply_op2(&weight.contiguous()?, Transposed(g))?)
}

/// candle's own convolution, asked in the way in which its gradient is right: zeros are padded beforehand and
/// rows and columns that no window reaches are cut, so that the size of the input gradient is never ambiguous.
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
    x.contiguous()?.conv2d(weight, 0, config.stride, 1, config.groups)
}

struct Dense(Geometry);

impl CustomOp2 for Dense {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.0;
        let packed = dense::pack(elements(s2, l2)?, g);
        output(dense::forward(elements(s1, l1)?, &packed, g, &dense::NO_EPILOGUE), (g.n, g.oh, g.ow, g.co))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = &self.0;
        let grad = grad.contiguous()?;
        let grad_host = Host::new(&grad)?;
        let dx = x
            .track_op()
            .then(|| {
                let packed = dense::pack(&Host::new(weight)?, g);
                Tensor::from_vec(dense::input_gradient(&grad_host, &packed, g), x.shape(), x.device())
            })
            .transpose()?;
        let dw = weight
            .track_op()
            .then(|| {
                let packed = dense::weight_gradient(&Host::new(x)?, &grad_host, g);
                Tensor::from_vec(dense::unpack(&packed, g), weight.shape(), x.device())
            })
            .transpose()?;
        Ok((dx, dw))
    }
}

struct Transposed(Geometry);

impl CustomOp2 for Transposed {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.0;
        let packed = dense::pack(elements(s2, l2)?, g);
        output(dense::input_gradient(elements(s1, l1)?, &packed, g), (g.n, g.h, g.w, g.ci))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = &self.0;
        let grad = grad.contiguous()?;
        let grad_host = Host::new(&grad)?;
        let dx = x
            .track_op()
            .then(|| {
                let packed = dense::pack(&Host::new(weight)?, g);
                let dx = dense::forward(&grad_host, &packed, g, &dense::NO_EPILOGUE);
                Tensor::from_vec(dx, x.shape(), x.device())
            })
            .transpose()?;
        let dw = weight
            .track_op()
            .then(|| {
                let packed = dense::weight_gradient(&grad_host, &Host::new(x)?, g);
                Tensor::from_vec(dense::unpack(&packed, g), weight.shape(), x.device())
            })
            .transpose()?;
        Ok((dx, dw))
    }
}

struct Depthwise(Geometry);

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.0;
        let packed = depthwise::pack(elements(s2, l2)?, g);
        let y = depthwise::forward(elements(s1, l1)?, &packed, g, &dense::NO_EPILOGUE);
        output(y, (g.n, g.oh, g.ow, g.co))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = &self.0;
        let grad = grad.contiguous()?;
        let grad_host = Host::new(&grad)?;
        let dx = x
            .track_op()
            .then(|| {
                let packed = depthwise::pack(&Host::new(weight)?, g);
                Tensor::from_vec(depthwise::input_gradient(&grad_host, &packed, g), x.shape(), x.device())
            })
            .transpose()?;
        let dw = weight
            .track_op()
            .then(|| {
                let packed = depthwise::weight_gradient(&Host::new(x)?, &grad_host, g);
                Tensor::from_vec(depthwise::unpack(&packed, g), weight.shape(), x.device())
            })
            .transpose()?;
        Ok((dx, dw))
    }
}

pub(crate) fn is_depthwise(config: &Conv2dConfig, weight: &Tensor) -> Result<bool> {
    let (co, ci_group, ..) = weight.dims4()?;
    Ok(config.groups > 1 && ci_group == 1 && co == config.groups)
}
