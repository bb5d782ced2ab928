use fmam_ops::{Activation, Nonlinearity, max_pool2d, nonlinearity};

use super::ConvBn;
use crate::ModelError;

/// A part of a network, from one activation to the next.
pub trait Block: Send + Sync {
    /// The activation behind the block.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError>;
}

/// Blocks of which each takes the result of the one before.
pub type Chain = Vec<Box<dyn Block>>;

/// A chain of `blocks` of one kind.
pub fn chain<B: Block + 'static>(blocks: impl IntoIterator<Item = B>) -> Chain {
    blocks.into_iter().map(|block| Box::new(block) as Box<dyn Block>).collect()
}

/// The result of the last of `blocks`, `x` itself without any.
///
/// # Errors
/// The errors of the blocks.
pub fn run(blocks: &[Box<dyn Block>], x: &Activation) -> Result<Activation, ModelError> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x))
}

impl Block for ConvBn {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        Self::forward(self, x)
    }
}

/// Layers that are computed together, where that is faster.
impl Block for Vec<ConvBn> {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        ConvBn::run(self, x, None)
    }
}

impl Block for Nonlinearity {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        Ok(nonlinearity(x, *self)?)
    }
}

/// The largest value of each square window.
pub struct MaxPool {
    /// Side of the window.
    pub kernel: usize,
    /// Pixels from window to window.
    pub stride: usize,
    /// Pixels around the input that no maximum takes.
    pub padding: usize,
}

impl Block for MaxPool {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        Ok(max_pool2d(x, self.kernel, self.stride, self.padding)?)
    }
}
