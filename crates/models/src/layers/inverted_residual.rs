use fmam_ops::{Activation, Conv2dConfig, Nonlinearity, Padding};

use super::{Block, ConvBn, ConvShape};
use crate::ModelError;

/// Shape and geometry of an inverted residual.
#[derive(Debug, Clone, Copy)]
pub struct InvertedShape {
    /// Channels in and out.
    pub channels: (usize, usize),
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Channels of the depthwise convolution per input channel.
    pub expansion: usize,
    /// Zeros around the input of a convolution with a kernel of a side.
    pub padding: fn(usize) -> Padding,
}

/// A convolution of an inverted residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 1x1, to the channels of the depthwise convolution.
    Expand,
    /// One kernel a channel.
    Depthwise,
    /// 1x1, to the channels of the result.
    Project,
}

/// Expansion by a 1x1 convolution, depthwise convolution, linear 1x1 projection; the input is added
/// where it has the output's shape. An expansion by 1 has no convolution.
///
/// # Source
/// Sandler et al. 2018, arXiv:1801.04381.
pub struct InvertedResidual {
    layers: Vec<ConvBn>,
    is_residual: bool,
}

impl InvertedResidual {
    /// `layer` makes one convolution with what follows it, under the names of the checkpoint.
    ///
    /// # Errors
    /// The errors of `layer`.
    pub fn new(
        shape: InvertedShape,
        mut layer: impl FnMut(Part, ConvShape) -> Result<ConvBn, ModelError>,
    ) -> Result<Self, ModelError> {
        let InvertedShape { channels: (input, output), kernel, stride, expansion, padding } = shape;
        let hidden = input * expansion;
        let conv = |channels, kernel, stride, groups| ConvShape {
            channels,
            kernel,
            config: Conv2dConfig { stride, padding: padding(kernel), groups },
        };
        let mut layers = Vec::with_capacity(3);
        if expansion != 1 {
            layers.push(layer(Part::Expand, conv((input, hidden), 1, 1, 1))?);
        }
        layers.push(layer(Part::Depthwise, conv((hidden, hidden), kernel, stride, hidden))?);
        layers.push(layer(Part::Project, conv((hidden, output), 1, 1, 1))?);
        Ok(Self { layers, is_residual: stride == 1 && input == output })
    }

    /// `first` and the block, which must not add its input, as one that computes them together.
    #[must_use]
    pub fn behind(mut self, first: ConvBn) -> Self {
        debug_assert!(!self.is_residual, "a block that adds its input stands alone");
        self.layers.insert(0, first);
        self
    }
}

impl Block for InvertedResidual {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        ConvBn::run(&self.layers, x, self.is_residual.then_some(Nonlinearity::Identity))
    }
}
