//! A backbone: three convolutions of random weights, at strides 4, 8 and 16.

use fmam_core::Seed;
use fmam_models::layers::{Chain, ConvBn, ConvShape, Encoder, Norm, TappedChain};
use fmam_models::{BackboneSpec, ModelError, Params, Preprocess, Students, Weights};
use fmam_ops::Nonlinearity;

pub static NARROW: BackboneSpec = BackboneSpec {
    name: "narrow",
    summary: "four random convolutions, to show how a backbone is written",
    channels: &[8, 8, 8],
    strides: &[4, 8, 16],
    preprocess: Preprocess::IMAGENET,
    weights: Weights::Seeded(Seed::new(1)),
    has_signed_features: false,
    largest_side: None,
    bf16_error: None,
    last_block: "3",
    unused_keys: &[],
    idle_parameters: &[],
    encoder,
    students: Students::Mirrored,
};

fn encoder(params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
    let norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
    let mut blocks: Chain = Vec::new();
    for (index, input) in [3, 8, 8, 8].into_iter().enumerate() {
        let shape = ConvShape::dense(input, 8, 3, 2);
        blocks.push(Box::new(ConvBn::below(&params.pp(index), shape, norm)?));
    }
    Ok(Box::new(TappedChain { blocks, taps: vec![1, 2, 3] }))
}
