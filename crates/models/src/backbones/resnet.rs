//! ResNets with the tensor names of torchvision's checkpoints, and the reverse paths that mirror them.
//!
//! He et al. 2016, arXiv:1512.03385; the stride of a bottleneck is on its 3x3 convolution, as in torchvision. Wide
//! ResNet: Zagoruyko and Komodakis 2016, arXiv:1605.07146. Reverse path: Deng and Li, CVPR 2022, arXiv:2201.10703.

use fmam_ops::{Activation, Nonlinearity, max_pool2d};

use super::{Architecture, BackboneEntry, Decoder, Encoder, Weights, is_norm_tensor, is_number_in};
use crate::layers::{ConvBn, ConvShape, Norm};
use crate::{ModelError, Params, Preprocess};

pub(super) static RESNET18: BackboneEntry = BackboneEntry {
    name: "resnet18",
    summary: "ResNet-18, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File,
    architecture: &ResNet::basic([2, 2, 2, 2]),
};

pub(super) static RESNET34: BackboneEntry = BackboneEntry {
    name: "resnet34",
    summary: "ResNet-34, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File,
    architecture: &ResNet::basic([3, 4, 6, 3]),
};

pub(super) static RESNET50: BackboneEntry = BackboneEntry {
    name: "resnet50",
    summary: "ResNet-50, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File,
    architecture: &ResNet::bottleneck([3, 4, 6, 3], 1),
};

pub(super) static WIDE_RESNET50_2: BackboneEntry = BackboneEntry {
    name: "wide-resnet50-2",
    summary: "Wide ResNet-50-2, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File,
    architecture: &ResNet::bottleneck([3, 4, 6, 3], 2),
};

const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };

/// One member of the family.
struct ResNet {
    bottleneck: bool,
    /// Blocks of each layer.
    depths: [usize; 4],
    /// How many times wider than plain the 3x3 convolutions of a bottleneck are.
    widening: usize,
    channels: [usize; 3],
}

impl ResNet {
    const fn basic(depths: [usize; 4]) -> Self {
        Self { bottleneck: false, depths, widening: 1, channels: [64, 128, 256] }
    }

    const fn bottleneck(depths: [usize; 4], widening: usize) -> Self {
        Self { bottleneck: true, depths, widening, channels: [256, 512, 1024] }
    }

    /// Channels of layer 4, which only the embedding of the reverse path has.
    fn embedding_channels(&self) -> usize {
        2 * self.channels[2]
    }

    /// `depth` blocks, of which the first changes size and channels.
    fn layer(
        &self,
        params: &Params,
        (input, output): (usize, usize),
        depth: usize,
        resize: Resize,
    ) -> Result<Vec<Block>, ModelError> {
        (0..depth)
            .map(|i| {
                let (input, resize) = if i == 0 { (input, resize) } else { (output, Resize::Stride(1)) };
                self.block(&params.pp(i), (input, output), resize)
            })
            .collect()
    }

    fn block(
        &self,
        params: &Params,
        (input, output): (usize, usize),
        resize: Resize,
    ) -> Result<Block, ModelError> {
        let at =
            |index: usize| (params.pp(format_args!("conv{index}")), params.pp(format_args!("bn{index}")));
        let dense = |index, (input, output), kernel, norm| {
            let (conv, bn) = at(index);
            ConvBn::new(&conv, &bn, ConvShape::dense(input, output, kernel, 1), norm)
        };
        let resized = |index, channels, norm| {
            let (conv, bn) = at(index);
            resizing(&conv, &bn, channels, 3, resize, norm)
        };
        let branch = if self.bottleneck {
            let width = output / 4 * self.widening;
            let ends = (dense(1, (input, width), 1, RELU)?, dense(3, (width, output), 1, LINEAR)?);
            vec![ends.0, resized(2, (width, width), RELU)?, ends.1]
        } else {
            vec![resized(1, (input, output), RELU)?, dense(2, (output, output), 3, LINEAR)?]
        };
        let shortcut = if resize == Resize::Stride(1) && input == output {
            None
        } else {
            let params = params.pp(if resize == Resize::Double { "upsample" } else { "downsample" });
            Some(resizing(&params.pp(0), &params.pp(1), (input, output), 1, resize, LINEAR)?)
        };
        Ok(Block { branch, shortcut })
    }
}

impl Architecture for ResNet {
    fn channels(&self) -> &[usize] {
        &self.channels
    }

    fn strides(&self) -> &[usize] {
        &[4, 8, 16]
    }

    fn preprocess(&self) -> Preprocess {
        Preprocess { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }

    fn encoder(&self, params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
        let stem = ConvBn::new(&params.pp("conv1"), &params.pp("bn1"), ConvShape::dense(3, 64, 7, 2), RELU)?;
        let [c1, c2, c3] = self.channels;
        let layer = |index: usize, channels, resize| {
            self.layer(&params.pp(format_args!("layer{index}")), channels, self.depths[index - 1], resize)
        };
        let layers = [
            layer(1, (64, c1), Resize::Stride(1))?,
            layer(2, (c1, c2), Resize::Stride(2))?,
            layer(3, (c2, c3), Resize::Stride(2))?,
        ];
        Ok(Box::new(ResNetEncoder { stem, layers }))
    }

    fn decoder(&self, params: &Params) -> Result<Box<dyn Decoder>, ModelError> {
        let [c1, c2, c3] = self.channels;
        let embedded = self.embedding_channels();
        let reduce = |scale: usize, step: usize, input, output| {
            let params = params.pp("fusion").pp(scale).pp(step);
            ConvBn::below(&params, ConvShape::dense(input, output, 3, 2), RELU)
        };
        let up = |index: usize, channels| {
            let params = params.pp(format_args!("layer{index}"));
            self.layer(&params, channels, self.depths[index - 1], Resize::Double)
        };
        Ok(Box::new(ResNetDecoder {
            finest: [reduce(0, 0, c1, c2)?, reduce(0, 1, c2, c3)?],
            middle: reduce(1, 0, c2, c3)?,
            embedding: self.layer(
                &params.pp("embedding"),
                (3 * c3, embedded),
                self.depths[3],
                Resize::Stride(2),
            )?,
            layers: [up(3, (embedded, c3))?, up(2, (c3, c2))?, up(1, (c2, c1))?],
        }))
    }

    fn last_block(&self) -> String {
        format!("layer3.{}", self.depths[2] - 1)
    }

    fn has_signed_features(&self) -> bool {
        false
    }

    fn is_unused_key(&self, key: &str) -> bool {
        let convolutions = if self.bottleneck { 1..4 } else { 1..3 };
        let is_layer = |prefix, name: &str| {
            name.strip_prefix(prefix).is_some_and(|index| is_number_in(convolutions.clone(), index))
        };
        match key.split('.').collect::<Vec<_>>()[..] {
            ["fc", "weight" | "bias"] | ["layer4", "0", "downsample", "0", "weight"] => true,
            ["layer4", "0", "downsample", "1", tensor] => is_norm_tensor(tensor),
            ["layer4", block, layer, tensor] if is_number_in(0..self.depths[3], block) => {
                (is_layer("conv", layer) && tensor == "weight")
                    || (is_layer("bn", layer) && is_norm_tensor(tensor))
            }
            _ => false,
        }
    }
}

/// What a block does to height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resize {
    Stride(usize),
    Double,
}

/// A convolution of side `kernel` with a stride, or the 2x2 transposed convolution that doubles the size.
fn resizing(
    conv: &Params,
    bn: &Params,
    (input, output): (usize, usize),
    kernel: usize,
    resize: Resize,
    norm: Norm,
) -> Result<ConvBn, ModelError> {
    match resize {
        Resize::Stride(stride) => {
            ConvBn::new(conv, bn, ConvShape::dense(input, output, kernel, stride), norm)
        }
        Resize::Double => ConvBn::doubling(conv, bn, (input, output), norm),
    }
}

/// `relu(branch(x) + shortcut(x))`; without a shortcut, that is the identity.
struct Block {
    branch: Vec<ConvBn>,
    shortcut: Option<ConvBn>,
}

impl Block {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        match &self.shortcut {
            None => ConvBn::run(&self.branch, x, Some(Nonlinearity::Relu)),
            Some(shortcut) => ConvBn::run_with(&self.branch, x, &shortcut.forward(x)?, Nonlinearity::Relu),
        }
    }
}

fn run(blocks: &[Block], x: &Activation) -> Result<Activation, ModelError> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x))
}

struct ResNetEncoder {
    stem: ConvBn,
    layers: [Vec<Block>; 3],
}

impl Encoder for ResNetEncoder {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let mut x = max_pool2d(&self.stem.forward(images)?, 3, 2, 1)?;
        let mut scales = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            x = run(layer, &x)?;
            scales.push(x.clone());
        }
        Ok(scales)
    }
}

/// Fusion brings the scales to the coarsest one's size by 3x3 convolutions of stride 2 and joins them; the embedding is
/// one more layer of the encoder's kind, of stride 2; the decoder's layers are the encoder's backwards, each beginning
/// with a transposed convolution where the encoder's has its stride.
///
/// Parameters in millions and multiply-accumulates in G for a 256x256 image, of the encoder to layer 3 and of this:
///
/// | network | encoder | | decoder | |
/// | --- | --- | --- | --- | --- |
/// | resnet18 | 2.8 | 1.8 | 15.4 | 2.5 |
/// | resnet34 | 8.2 | 4.0 | 25.5 | 4.9 |
/// | resnet50 | 8.5 | 4.3 | 49.8 | 10.0 |
/// | wide-resnet50-2 | 24.9 | 12.0 | 93.4 | 18.5 |
struct ResNetDecoder {
    finest: [ConvBn; 2],
    middle: ConvBn,
    embedding: Vec<Block>,
    /// Layers 3, 2 and 1.
    layers: [Vec<Block>; 3],
}

impl Decoder for ResNetDecoder {
    fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError> {
        let finest = self.finest[1].forward(&self.finest[0].forward(&scales[0])?)?;
        let middle = self.middle.forward(&scales[1])?;
        let mut x = run(&self.embedding, &Activation::cat(&[&finest, &middle, &scales[2]])?)?;
        let mut decoded = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            x = run(layer, &x)?;
            decoded.push(x.clone());
        }
        decoded.reverse();
        Ok(decoded)
    }
}
