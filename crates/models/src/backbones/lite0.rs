//! EfficientNet-Lite0 up to stride 16, with the tensor names of its PyTorch port, and a light
//! reverse path.
//!
//! Tan and Le 2019, arXiv:1905.11946; the Lite variants drop squeeze-and-excitation and use ReLU6.
//! Blocks are inverted residuals. Both have linear outputs: features are signed.

use fmam_ops::{Conv2dConfig, Nonlinearity, Padding};

use super::spec::{BackboneSpec, Students, Weights};
use crate::layers::{
    Chain, ConvBn, ConvShape, Encoder, Fusion, InvertedResidual, InvertedShape, Norm, Part, ReversePath,
    Stage, TappedChain, chain,
};
use crate::{ModelError, Params, Preprocess};

/// Through a link of this crate, so that its package has the file.
const PUBLISHED: &[u8] = include_bytes!("../../weights/efficientnet_lite0.safetensors");
const _: () = assert!(
    PUBLISHED.len() > 1 << 20,
    "links were checked out as text files: `git config core.symlinks true`, then check out again"
);

pub(super) static LITE0: BackboneSpec = BackboneSpec {
    name: "efficientnet-lite0",
    summary: "EfficientNet-Lite0 to stride 16; ImageNet weights are embedded",
    channels: &CHANNELS,
    strides: &[4, 8, 16],
    preprocess: Preprocess::SYMMETRIC,
    weights: Weights::Embedded(PUBLISHED),
    has_signed_features: true,
    largest_side: None,
    bf16_error: Some(5e-2),
    last_block: "_blocks.10",
    unused_keys: &[
        "_conv_head.weight",
        "_fc.{weight,bias}",
        "_bn1.{weight,bias,running_mean,running_var}",
        "_blocks.{11,12,13,14,15}.{_expand,_depthwise,_project}_conv.weight",
        "_blocks.{11,12,13,14,15}._bn{0,1,2}.{weight,bias,running_mean,running_var}",
    ],
    // The published network has the biases of the blocks; the separable convolutions of the reverse
    // path have biases of the same kind.
    idle_parameters: &[
        "_blocks.0._bn2.bias",
        "_blocks.5._bn2.bias",
        "_blocks.6._bn2.bias",
        "_blocks.7._bn2.bias",
        "fusion.0.0.bn1.bias",
        "fusion.0.1.bn1.bias",
        "fusion.1.0.bn1.bias",
    ],
    encoder,
    students: Students::Own(reverse_path),
};

const RELU6: Norm = Norm { epsilon: 1e-3, nonlinearity: Nonlinearity::Relu6 };
const LINEAR: Norm = Norm { epsilon: 1e-3, nonlinearity: Nonlinearity::Identity };
const CHANNELS: [usize; 3] = [24, 40, 112];

/// Kernel, stride, expansion and output channels of blocks 0 to 10.
const BLOCKS: [(usize, usize, usize, usize); 11] = [
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (3, 1, 6, 24),
    (5, 2, 6, 40),
    (5, 1, 6, 40),
    (3, 2, 6, 80),
    (3, 1, 6, 80),
    (3, 1, 6, 80),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
    (5, 1, 6, 112),
];

/// The blocks whose outputs are features.
const TAPS: [usize; 3] = [2, 4, 10];

fn encoder(params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
    let stem = ConvBn::new(&params.pp("_conv_stem"), &params.pp("_bn0"), same(3, 32, 3, 2, 1), RELU6)?;
    // The first block runs together with the stem, whose large result then exists in parts only.
    let mut stem = Some(stem);
    let mut blocks: Chain = Vec::new();
    let mut input = 32;
    for (i, &(kernel, stride, expansion, output)) in BLOCKS.iter().enumerate() {
        let params = params.pp("_blocks").pp(i);
        let block = inverted(&params, (input, output), kernel, stride, expansion)?;
        blocks.push(Box::new(stem.take().into_iter().fold(block, InvertedResidual::behind)));
        input = output;
    }
    Ok(Box::new(TappedChain { blocks, taps: TAPS.to_vec() }))
}

/// Channels of the one-class embedding.
const EMBEDDED: usize = 192;

/// Expansion of the reverse path's inverted residuals; the encoder's is 6.
const DECODER_EXPANSION: usize = 4;

/// Fusion brings the scales to the size of the coarsest by separable convolutions, joins them and
/// mixes them to 112 channels; two inverted residuals embed them in 192 channels at stride 32;
/// three stages decode 112, 40 and 24 channels at strides 16, 8 and 4.
///
/// The reverse path has 0.89 M parameters and, for a 256x256 image, 0.18 G multiply-accumulates;
/// the encoder has 0.70 M and 0.32 G.
fn reverse_path(params: &Params) -> Result<ReversePath, ModelError> {
    let [c1, c2, c3] = CHANNELS;
    let fusion = params.pp("fusion");
    let reduce =
        |scale: usize, step: usize, input, output| separable(&fusion.pp(scale).pp(step), input, output);
    let join = fusion.pp("join");
    let join = ConvBn::new(&join.pp("conv"), &join.pp("bn"), same(3 * c3, c3, 1, 1, 1), RELU6)?;
    let embedding = params.pp("embedding");
    let embedding: Chain = vec![
        Box::new(join),
        Box::new(inverted(&embedding.pp(0), (c3, EMBEDDED), 5, 2, 6)?),
        Box::new(inverted(&embedding.pp(1), (EMBEDDED, EMBEDDED), 5, 1, 3)?),
    ];
    let stage = |scale: usize, (input, output), kernel, depth: usize| -> Result<Stage, ModelError> {
        let params = params.pp("decoder").pp(scale);
        let double = ConvBn::doubling(&params.pp("up"), &params.pp("bn"), (input, output), RELU6)?;
        let mut up: Chain = vec![Box::new(double)];
        for i in 0..depth {
            let params = params.pp("blocks").pp(i);
            up.push(Box::new(inverted(&params, (output, output), kernel, 1, DECODER_EXPANSION)?));
        }
        Ok(Stage { up, output: Vec::new() })
    };
    Ok(ReversePath {
        fusion: Fusion::Joined(vec![
            chain([reduce(0, 0, c1, c2)?, reduce(0, 1, c2, c3)?]),
            chain([reduce(1, 0, c2, c3)?]),
        ]),
        embedding,
        // The finest stage is the most expensive, so it has one block only.
        stages: vec![stage(2, (EMBEDDED, c3), 5, 2)?, stage(1, (c3, c2), 5, 2)?, stage(0, (c2, c1), 3, 1)?],
    })
}

/// A convolution with TensorFlow's SAME padding.
fn same(input: usize, output: usize, kernel: usize, stride: usize, groups: usize) -> ConvShape {
    ConvShape {
        channels: (input, output),
        kernel,
        config: Conv2dConfig { stride, padding: Padding::TfSame, groups },
    }
}

fn inverted(
    params: &Params,
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
    expansion: usize,
) -> Result<InvertedResidual, ModelError> {
    let shape = InvertedShape { channels, kernel, stride, expansion, padding: |_| Padding::TfSame };
    InvertedResidual::new(shape, |part, shape| {
        let (conv, bn, norm) = match part {
            Part::Expand => ("_expand_conv", "_bn0", RELU6),
            Part::Depthwise => ("_depthwise_conv", "_bn1", RELU6),
            Part::Project => ("_project_conv", "_bn2", LINEAR),
        };
        ConvBn::new(&params.pp(conv), &params.pp(bn), shape, norm)
    })
}

/// Depthwise 3x3 convolution of stride 2 and linear 1x1 convolution.
fn separable(params: &Params, input: usize, output: usize) -> Result<Vec<ConvBn>, ModelError> {
    let layer = |conv, bn, shape, norm| ConvBn::new(&params.pp(conv), &params.pp(bn), shape, norm);
    Ok(vec![
        layer("depthwise", "bn1", same(input, input, 3, 2, input), LINEAR)?,
        layer("pointwise", "bn2", same(input, output, 1, 1, 1), RELU6)?,
    ])
}

#[cfg(test)]
mod tests {
    use fmam_ops::Activation;
    use serde::Deserialize;

    use super::*;
    use crate::checkpoint::tensor_file;
    use crate::reference::{Features, image};

    #[derive(Deserialize)]
    struct Fixture {
        features: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        input_shape: Vec<usize>,
        #[serde(flatten)]
        features: Features,
    }

    // Sizes that are no multiple of the strides tell TensorFlow's padding from PyTorch's at every
    // stage.
    #[test]
    fn odd_sizes_are_padded_as_tensorflow_does() {
        let Weights::Embedded(bytes) = LITE0.weights else { panic!("no embedded weights") };
        let tensors = tensor_file::from_bytes(bytes).unwrap();
        let params = Params::frozen(tensors, "embedded", &candle_core::Device::Cpu);
        let encoder = encoder(&params).unwrap();
        let shape = [1, 3, 67, 93];
        let scales = encoder.forward(&Activation::from_nchw(&image(&shape)).unwrap()).unwrap();
        let fixture: Fixture = fmam_testkit::read_fixture("backbones/efficientnet-lite0.json");
        for (name, actual) in ["block2", "block4", "block10"].into_iter().zip(&scales) {
            let expected = |case: &&Case| case.input_shape == shape && case.features.scale == name;
            let expected = fixture.features.iter().find(expected).unwrap();
            expected.features.assert_match_to(1e-4, LITE0.name, &actual.to_nchw().unwrap());
        }
    }
}
