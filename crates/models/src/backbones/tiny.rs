//! A small network of random weights, for smoke tests: quick to run, its features mean little.

use fmam_core::Seed;
use fmam_ops::{Activation, Nonlinearity, nonlinearity};

use super::{Architecture, BackboneEntry, Decoder, Encoder, Weights};
use crate::layers::{ConvBn, ConvShape, Norm};
use crate::{ModelError, Params, Preprocess};

pub(super) static ENTRY: BackboneEntry = BackboneEntry {
    name: "tiny",
    summary: "a few random filters at strides 4, 8 and 16, for smoke tests",
    weights: Weights::Seeded(Seed::new(0x7e57)),
    architecture: &Tiny,
};

const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };
const CHANNELS: [usize; 3] = [8, 12, 16];
const EMBEDDED: usize = 16;

struct Tiny;

impl Architecture for Tiny {
    fn channels(&self) -> &[usize] {
        &CHANNELS
    }

    fn strides(&self) -> &[usize] {
        &[4, 8, 16]
    }

    fn preprocess(&self) -> Preprocess {
        Preprocess { mean: [0.5; 3], std: [0.5; 3] }
    }

    fn encoder(&self, params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
        let [c1, c2, c3] = CHANNELS;
        Ok(Box::new(TinyEncoder {
            stem: conv(&params.pp("stem"), (3, c1), 2, RELU)?,
            stages: [
                conv(&params.pp("stages").pp(0), (c1, c1), 2, LINEAR)?,
                conv(&params.pp("stages").pp(1), (c1, c2), 2, LINEAR)?,
                conv(&params.pp("stages").pp(2), (c2, c3), 2, LINEAR)?,
            ],
        }))
    }

    fn decoder(&self, params: &Params) -> Result<Box<dyn Decoder>, ModelError> {
        let [c1, c2, c3] = CHANNELS;
        let fusion = params.pp("fusion");
        let up = |i: usize, channels| {
            let params = params.pp("up").pp(i);
            ConvBn::doubling(&params.pp("conv"), &params.pp("bn"), channels, RELU)
        };
        let out = |i: usize, channels| conv(&params.pp("out").pp(i), (channels, channels), 1, LINEAR);
        Ok(Box::new(TinyDecoder {
            fusion: [
                conv(&fusion.pp(0), (c1, c2), 2, RELU)?,
                conv(&fusion.pp(1), (2 * c2, c3), 2, RELU)?,
                conv(&fusion.pp(2), (2 * c3, EMBEDDED), 2, RELU)?,
            ],
            stages: [
                (up(2, (EMBEDDED, c3))?, out(2, c3)?),
                (up(1, (c3, c2))?, out(1, c2)?),
                (up(0, (c2, c1))?, out(0, c1)?),
            ],
        }))
    }

    fn last_block(&self) -> String {
        "stages.2".to_owned()
    }

    fn has_signed_features(&self) -> bool {
        true
    }

    fn is_unused_key(&self, _key: &str) -> bool {
        false
    }
}

fn conv(
    params: &Params,
    (input, output): (usize, usize),
    stride: usize,
    norm: Norm,
) -> Result<ConvBn, ModelError> {
    ConvBn::below(params, ConvShape::dense(input, output, 3, stride), norm)
}

/// Features are taken before the nonlinearity: they are signed, as those of EfficientNet-Lite0.
struct TinyEncoder {
    stem: ConvBn,
    stages: [ConvBn; 3],
}

impl Encoder for TinyEncoder {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let mut x = self.stem.forward(images)?;
        let mut scales = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let scale = stage.forward(&x)?;
            x = nonlinearity(&scale, Nonlinearity::Relu)?;
            scales.push(scale);
        }
        Ok(scales)
    }
}

/// Joins one scale after the other on the way down to stride 32, and gives one after the other on the way up.
struct TinyDecoder {
    fusion: [ConvBn; 3],
    stages: [(ConvBn, ConvBn); 3],
}

impl Decoder for TinyDecoder {
    fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError> {
        let mut x = self.fusion[0].forward(&scales[0])?;
        for (conv, scale) in self.fusion[1..].iter().zip(&scales[1..]) {
            x = conv.forward(&Activation::cat(&[&x, scale])?)?;
        }
        let mut decoded = Vec::with_capacity(self.stages.len());
        for (up, out) in &self.stages {
            x = up.forward(&x)?;
            decoded.push(out.forward(&x)?);
        }
        decoded.reverse();
        Ok(decoded)
    }
}
