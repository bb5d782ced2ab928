use fmam_ops::{Activation, Nonlinearity};

use super::{Chain, ConvBn, ConvShape, Norm, chain, run};
use crate::{ModelError, Params};

/// The network of the reverse student, from features to features of the same shapes: fusion of the
/// scales, an embedding at half the resolution of the coarsest, and stages that lead back to each
/// scale.
///
/// # Source
/// Deng and Li, CVPR 2022, arXiv:2201.10703.
pub struct ReversePath {
    /// The way from all scales to the input of the embedding.
    pub fusion: Fusion,
    /// The narrow middle, at half the resolution of the coarsest scale.
    pub embedding: Chain,
    /// The stages that give the scales, coarsest first.
    pub stages: Vec<Stage>,
}

/// The way from all scales to one activation.
pub enum Fusion {
    /// The chains bring every scale but the coarsest, finest first, to the size of the coarsest;
    /// all are concatenated.
    Joined(Vec<Chain>),
    /// `first` takes the finest scale; each of `rest` takes the next scale, concatenated to the
    /// result of the chain before.
    Stepwise {
        /// Takes the finest scale.
        first: Chain,
        /// One for each further scale.
        rest: Vec<Chain>,
    },
}

/// One step up in resolution.
pub struct Stage {
    /// The chain from the stage before, whose result the next stage takes.
    pub up: Chain,
    /// The chain from that result to the decoded scale; empty where they are the same.
    pub output: Chain,
}

const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };

impl ReversePath {
    /// The reverse path for scales of `channels`, finest first, each of half the resolution of the
    /// one before. It ends in a linear layer at each scale where features are signed, else in a
    /// ReLU.
    ///
    /// Fusion halves each scale by 3x3 convolutions of stride 2, each to the channels of the next
    /// scale. The embedding is a convolution of stride 2 and one of stride 1, with the channels of
    /// the coarsest scale. A stage doubles the size by a transposed convolution and has two
    /// convolutions.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn mirroring(channels: &[usize], is_signed: bool, params: &Params) -> Result<Self, ModelError> {
        let conv = |params: &Params, (input, output), stride, norm| {
            ConvBn::below(params, ConvShape::dense(input, output, 3, stride), norm)
        };
        let coarsest = channels.last().copied().unwrap_or_default();
        let fusion = params.pp("fusion");
        let mut count = 0;
        let mut reductions = Vec::with_capacity(channels.len());
        for k in 1..channels.len() {
            let mut layers = Vec::with_capacity(channels.len() - k);
            for pair in channels[k - 1..].windows(2) {
                layers.push(conv(&fusion.pp(count), (pair[0], pair[1]), 2, RELU)?);
                count += 1;
            }
            reductions.push(chain([layers]));
        }
        let embedding = params.pp("embedding");
        let embedding = vec![
            conv(&embedding.pp(0), (channels.len() * coarsest, coarsest), 2, RELU)?,
            conv(&embedding.pp(1), (coarsest, coarsest), 1, RELU)?,
        ];
        let last = if is_signed { LINEAR } else { RELU };
        let mut input = coarsest;
        let mut stages = Vec::with_capacity(channels.len());
        for (k, &output) in channels.iter().enumerate().rev() {
            let params = params.pp("up").pp(k);
            let (double, bn) = (params.pp("double").pp("conv"), params.pp("double").pp("bn"));
            let double = ConvBn::doubling(&double, &bn, (input, output), RELU)?;
            let layers = vec![
                conv(&params.pp(0), (output, output), 1, RELU)?,
                conv(&params.pp(1), (output, output), 1, last)?,
            ];
            stages.push(Stage { up: vec![Box::new(double), Box::new(layers)], output: Vec::new() });
            input = output;
        }
        Ok(Self { fusion: Fusion::Joined(reductions), embedding: chain([embedding]), stages })
    }

    /// The decoded scales, finest first, of `scales`, finest first: as many as the path was made
    /// for.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another shape.
    pub fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError> {
        let mut x = run(&self.embedding, &self.fusion.forward(scales)?)?;
        let mut decoded = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            x = run(&stage.up, &x)?;
            decoded.push(run(&stage.output, &x)?);
        }
        decoded.reverse();
        Ok(decoded)
    }
}

impl Fusion {
    fn forward(&self, scales: &[Activation]) -> Result<Activation, ModelError> {
        match self {
            Self::Joined(reductions) => {
                let reduced = reductions.iter().zip(scales).map(|(chain, scale)| run(chain, scale));
                let reduced = reduced.collect::<Result<Vec<_>, _>>()?;
                let all: Vec<_> = reduced.iter().chain(&scales[reductions.len()..]).collect();
                Ok(Activation::cat(&all)?)
            }
            Self::Stepwise { first, rest } => {
                let start = run(first, &scales[0])?;
                rest.iter()
                    .zip(&scales[1..])
                    .try_fold(start, |x, (chain, scale)| run(chain, &Activation::cat(&[&x, scale])?))
            }
        }
    }
}
