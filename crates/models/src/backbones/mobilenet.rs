//! MobileNetV2 with the tensor names of torchvision's checkpoint, tapped behind the last blocks of
//! strides 4, 8 and 16.
//!
//! Sandler et al. 2018, arXiv:1801.04381. The projections of the blocks are linear: features are
//! signed.

use fmam_ops::{Nonlinearity, Padding};

use super::spec::{BackboneSpec, PublishedWeights, Students, Weights};
use crate::layers::{
    Chain, ConvBn, ConvShape, Encoder, InvertedResidual, InvertedShape, Norm, Part, TappedChain,
};
use crate::{ModelError, Params, Preprocess};

pub(super) static MOBILENET_V2: BackboneSpec = BackboneSpec {
    name: "mobilenet-v2",
    summary: "MobileNetV2 to stride 16; needs torchvision's weights",
    channels: &[24, 32, 96],
    strides: &[4, 8, 16],
    preprocess: Preprocess::IMAGENET,
    weights: Weights::File(Some(PublishedWeights {
        title: "MobileNetV2, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        sha256: "b0353104",
        licence: "BSD-3-Clause",
    })),
    has_signed_features: true,
    largest_side: None,
    bf16_error: Some(2e-2),
    last_block: "features.13",
    unused_keys: &[
        "features.{14,15,16,17}.conv.{0,1}.0.weight",
        "features.{14,15,16,17}.conv.{0,1}.1.{weight,bias,running_mean,running_var}",
        "features.{14,15,16,17}.conv.2.weight",
        "features.{14,15,16,17}.conv.3.{weight,bias,running_mean,running_var}",
        "features.18.0.weight",
        "features.18.1.{weight,bias,running_mean,running_var}",
        "classifier.1.{weight,bias}",
    ],
    // Biases of linear projections of which only the expansion of the next block, or a chain of
    // residual blocks that ends in one, takes the result.
    idle_parameters: &[
        "features.1.conv.2.bias",
        "features.7.conv.3.bias",
        "features.8.conv.3.bias",
        "features.9.conv.3.bias",
        "features.10.conv.3.bias",
    ],
    encoder,
    students: Students::Mirrored,
};

const RELU6: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu6 };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };

/// Expansion, output channels, number of blocks, and stride of the first, up to stride 16.
const STAGES: [(usize, usize, usize, usize); 5] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)];

/// The last blocks of strides 4, 8 and 16, by their places in torchvision's sequence.
const TAPS: [usize; 3] = [3, 6, 13];

fn encoder(params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
    let params = params.pp("features");
    let mut input = 32;
    let stem = params.pp(0);
    let stem = ConvBn::new(&stem.pp(0), &stem.pp(1), ConvShape::dense(3, input, 3, 2), RELU6)?;
    // The first block runs together with the stem, whose large result then exists in parts only.
    let mut stem = Some(stem);
    let mut blocks: Chain = Vec::new();
    for (expansion, output, depth, first_stride) in STAGES {
        for i in 0..depth {
            let shape = InvertedShape {
                channels: (input, output),
                kernel: 3,
                stride: if i == 0 { first_stride } else { 1 },
                expansion,
                padding: |kernel| Padding::Symmetric(kernel / 2),
            };
            let block = inverted(&params.pp(blocks.len() + 1).pp("conv"), shape)?;
            blocks.push(Box::new(stem.take().into_iter().fold(block, InvertedResidual::behind)));
            input = output;
        }
    }
    // The stem is the first of torchvision's sequence, and has no place of its own here.
    Ok(Box::new(TappedChain { blocks, taps: TAPS.map(|place| place - 1).to_vec() }))
}

/// A block whose expansion, where there is one, and depthwise convolution are pairs of a
/// convolution and its normalisation, followed by the projection and its own.
fn inverted(params: &Params, shape: InvertedShape) -> Result<InvertedResidual, ModelError> {
    let depthwise = usize::from(shape.expansion != 1);
    InvertedResidual::new(shape, |part, shape| {
        let (conv, bn, norm) = match part {
            Part::Expand => (params.pp(0).pp(0), params.pp(0).pp(1), RELU6),
            Part::Depthwise => (params.pp(depthwise).pp(0), params.pp(depthwise).pp(1), RELU6),
            Part::Project => (params.pp(depthwise + 1), params.pp(depthwise + 2), LINEAR),
        };
        ConvBn::new(&conv, &bn, shape, norm)
    })
}
