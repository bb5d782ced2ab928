use fmam_ops::Activation;

use super::Chain;
use crate::ModelError;

/// The network from images (N, 3, H, W) to features, finest scale first.
pub(crate) trait Encoder: Send + Sync {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError>;
}

/// A chain whose results behind the blocks `taps`, counted from 0 and ascending, are the features.
pub(crate) struct TappedChain {
    pub(crate) blocks: Chain,
    pub(crate) taps: Vec<usize>,
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
