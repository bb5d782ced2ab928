//! A small network of random weights, for smoke tests: quick to run, its features mean little.

use fmam_core::Seed;
use fmam_ops::Nonlinearity;

use super::spec::{BackboneSpec, Students, Weights};
use crate::layers::{
    Block, Chain, ConvBn, ConvShape, Encoder, Fusion, Norm, ReversePath, Stage, TappedChain, chain,
};
use crate::{ModelError, Params, Preprocess};

pub(super) static TINY: BackboneSpec = BackboneSpec {
    name: "tiny",
    summary: "a few random filters at strides 4, 8 and 16, for smoke tests",
    channels: &CHANNELS,
    strides: &[4, 8, 16],
    preprocess: Preprocess::SYMMETRIC,
    weights: Weights::Seeded(Seed::new(0x7e57)),
    has_signed_features: true,
    largest_side: None,
    bf16_error: Some(1e-2),
    last_block: "stages.2",
    unused_keys: &[],
    idle_parameters: &[],
    encoder,
    students: Students::Own(reverse_path),
};

const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };
const CHANNELS: [usize; 3] = [8, 12, 16];
const EMBEDDED: usize = 16;

/// Features are taken before the nonlinearity: they are signed, as those of EfficientNet-Lite0.
fn encoder(params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
    let [c1, c2, c3] = CHANNELS;
    let stage = |i: usize, channels| conv(&params.pp("stages").pp(i), channels, 2, LINEAR);
    let relu = || Box::new(Nonlinearity::Relu) as Box<dyn Block>;
    let blocks: Chain = vec![
        Box::new(conv(&params.pp("stem"), (3, c1), 2, RELU)?),
        Box::new(stage(0, (c1, c1))?),
        relu(),
        Box::new(stage(1, (c1, c2))?),
        relu(),
        Box::new(stage(2, (c2, c3))?),
    ];
    Ok(Box::new(TappedChain { blocks, taps: vec![1, 3, 5] }))
}

/// Joins one scale after the other on the way down to stride 32, and gives one after the other on
/// the way up.
fn reverse_path(params: &Params) -> Result<ReversePath, ModelError> {
    let [c1, c2, c3] = CHANNELS;
    let fuse = |i: usize, channels| -> Result<Chain, ModelError> {
        Ok(chain([conv(&params.pp("fusion").pp(i), channels, 2, RELU)?]))
    };
    let stage = |i: usize, (input, output)| -> Result<Stage, ModelError> {
        let up = params.pp("up").pp(i);
        let up = ConvBn::doubling(&up.pp("conv"), &up.pp("bn"), (input, output), RELU)?;
        let out = conv(&params.pp("out").pp(i), (output, output), 1, LINEAR)?;
        Ok(Stage { up: chain([up]), output: chain([out]) })
    };
    Ok(ReversePath {
        fusion: Fusion::Stepwise {
            first: fuse(0, (c1, c2))?,
            rest: vec![fuse(1, (2 * c2, c3))?, fuse(2, (2 * c3, EMBEDDED))?],
        },
        embedding: Vec::new(),
        stages: vec![stage(2, (EMBEDDED, c3))?, stage(1, (c3, c2))?, stage(0, (c2, c1))?],
    })
}

fn conv(
    params: &Params,
    (input, output): (usize, usize),
    stride: usize,
    norm: Norm,
) -> Result<ConvBn, ModelError> {
    ConvBn::below(params, ConvShape::dense(input, output, 3, stride), norm)
}
