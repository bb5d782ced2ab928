use fmam_ops::Activation;

use super::Chain;
use crate::ModelError;

/// The network from images (N, 3, H, W) to features, finest scale first.
pub trait Encoder: Send + Sync {
    /// The features of `images`, finest scale first.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError>;
}

/// A chain whose results behind the blocks `taps`, counted from 0 and ascending, are the features.
pub struct TappedChain {
    /// The blocks, in their order.
    pub blocks: Chain,
    /// The places of the blocks whose results are features.
    pub taps: Vec<usize>,
}

impl Encoder for TappedChain {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let mut x = images.clone();
        let mut scales = Vec::with_capacity(self.taps.len());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if self.taps.contains(&i) {
                scales.push(x.clone());
            }
        }
        Ok(scales)
    }
}
