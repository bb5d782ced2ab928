//! ResNets with the tensor names of torchvision's checkpoints, and the reverse paths that mirror
//! them.
//!
//! He et al. 2016, arXiv:1512.03385; the stride of a bottleneck is on its 3x3 convolution, as in
//! torchvision. Wide ResNet: Zagoruyko and Komodakis 2016, arXiv:1605.07146. Reverse path: Deng and
//! Li, CVPR 2022, arXiv:2201.10703.

use fmam_ops::{Activation, Nonlinearity};

use super::spec::{BackboneSpec, PublishedWeights, Students, Weights};
use crate::layers::{
    Block, Chain, ConvBn, ConvShape, Encoder, Fusion, MaxPool, Norm, ReversePath, Stage, TappedChain, chain,
};
use crate::{ModelError, Params, Preprocess};

pub(super) static RESNET18: BackboneSpec = BackboneSpec {
    name: "resnet18",
    summary: "ResNet-18, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File(Some(PublishedWeights {
        title: "ResNet-18, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256: "f37072fd",
        ..TORCHVISION
    })),
    last_block: "layer3.1",
    unused_keys: &[
        "fc.{weight,bias}",
        "layer4.{0,1}.conv{1,2}.weight",
        "layer4.{0,1}.bn{1,2}.{weight,bias,running_mean,running_var}",
        "layer4.0.downsample.0.weight",
        "layer4.0.downsample.1.{weight,bias,running_mean,running_var}",
    ],
    encoder: |params| Network::basic([2, 2, 2, 2]).encoder(params),
    students: Students::Own(|params| Network::basic([2, 2, 2, 2]).reverse_path(params)),
    ..BASIC
};

pub(super) static RESNET34: BackboneSpec = BackboneSpec {
    name: "resnet34",
    summary: "ResNet-34, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File(Some(PublishedWeights {
        title: "ResNet-34, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/resnet34-b627a593.pth",
        sha256: "b627a593",
        ..TORCHVISION
    })),
    encoder: |params| Network::basic([3, 4, 6, 3]).encoder(params),
    students: Students::Own(|params| Network::basic([3, 4, 6, 3]).reverse_path(params)),
    ..BASIC
};

pub(super) static RESNET50: BackboneSpec = BackboneSpec {
    name: "resnet50",
    summary: "ResNet-50, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File(Some(PublishedWeights {
        title: "ResNet-50, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        sha256: "0676ba61",
        ..TORCHVISION
    })),
    encoder: |params| Network::bottleneck([3, 4, 6, 3], 1).encoder(params),
    students: Students::Own(|params| Network::bottleneck([3, 4, 6, 3], 1).reverse_path(params)),
    ..BOTTLENECK
};

pub(super) static WIDE_RESNET50_2: BackboneSpec = BackboneSpec {
    name: "wide-resnet50-2",
    summary: "Wide ResNet-50-2, layers 1 to 3; needs torchvision's weights",
    weights: Weights::File(Some(PublishedWeights {
        title: "WideResNet-50-2, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256: "95faca4d",
        ..TORCHVISION
    })),
    encoder: |params| Network::bottleneck([3, 4, 6, 3], 2).encoder(params),
    students: Students::Own(|params| Network::bottleneck([3, 4, 6, 3], 2).reverse_path(params)),
    ..BOTTLENECK
};

const TORCHVISION: PublishedWeights =
    PublishedWeights { title: "", url: "", sha256: "", licence: "BSD-3-Clause" };

/// ResNet-34, with the facts that ResNet-18 shares.
const BASIC: BackboneSpec = BackboneSpec {
    name: "",
    summary: "",
    channels: &Network::basic([0; 4]).channels,
    strides: &[4, 8, 16],
    preprocess: Preprocess::IMAGENET,
    weights: Weights::File(None),
    has_signed_features: false,
    largest_side: None,
    bf16_error: Some(2e-2),
    last_block: "layer3.5",
    unused_keys: &[
        "fc.{weight,bias}",
        "layer4.{0,1,2}.conv{1,2}.weight",
        "layer4.{0,1,2}.bn{1,2}.{weight,bias,running_mean,running_var}",
        "layer4.0.downsample.0.weight",
        "layer4.0.downsample.1.{weight,bias,running_mean,running_var}",
    ],
    idle_parameters: &[],
    encoder: |params| Network::basic([0; 4]).encoder(params),
    students: Students::None,
};

/// The facts that ResNet-50 and its wide form share.
const BOTTLENECK: BackboneSpec = BackboneSpec {
    channels: &Network::bottleneck([0; 4], 1).channels,
    unused_keys: &[
        "fc.{weight,bias}",
        "layer4.{0,1,2}.conv{1,2,3}.weight",
        "layer4.{0,1,2}.bn{1,2,3}.{weight,bias,running_mean,running_var}",
        "layer4.0.downsample.0.weight",
        "layer4.0.downsample.1.{weight,bias,running_mean,running_var}",
    ],
    ..BASIC
};

const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
const LINEAR: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Identity };

/// One member of the family.
struct Network {
    bottleneck: bool,
    /// Blocks of each layer.
    depths: [usize; 4],
    /// Width of a bottleneck's 3x3 convolutions, relative to the plain network.
    widening: usize,
    channels: [usize; 3],
}

impl Network {
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
    ) -> Result<Chain, ModelError> {
        (0..depth)
            .map(|i| {
                let (input, resize) = if i == 0 { (input, resize) } else { (output, Resize::Stride(1)) };
                Ok(Box::new(self.block(&params.pp(i), (input, output), resize)?) as Box<dyn Block>)
            })
            .collect()
    }

    fn block(
        &self,
        params: &Params,
        (input, output): (usize, usize),
        resize: Resize,
    ) -> Result<Residual, ModelError> {
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
        Ok(Residual { branch, shortcut })
    }

    fn encoder(&self, params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
        let stem = ConvBn::new(&params.pp("conv1"), &params.pp("bn1"), ConvShape::dense(3, 64, 7, 2), RELU)?;
        let mut blocks: Chain = vec![Box::new(stem), Box::new(MaxPool { kernel: 3, stride: 2, padding: 1 })];
        let mut taps = Vec::with_capacity(self.channels.len());
        let mut input = 64;
        for (i, output) in self.channels.into_iter().enumerate() {
            let params = params.pp(format_args!("layer{}", i + 1));
            let resize = Resize::Stride(if i == 0 { 1 } else { 2 });
            blocks.extend(self.layer(&params, (input, output), self.depths[i], resize)?);
            taps.push(blocks.len() - 1);
            input = output;
        }
        Ok(Box::new(TappedChain { blocks, taps }))
    }

    /// Fusion brings the scales to the size of the coarsest by 3x3 convolutions of stride 2 and
    /// joins them; the embedding is one more layer of the encoder's kind, of stride 2; the
    /// decoder's layers are the encoder's backwards, each with a transposed convolution in place of
    /// the stride.
    ///
    /// Parameters in millions and multiply-accumulates in G for a 256x256 image, of the encoder to
    /// layer 3 and of the reverse path:
    ///
    /// | network | encoder | | reverse path | |
    /// | --- | --- | --- | --- | --- |
    /// | resnet18 | 2.8 | 1.8 | 15.4 | 2.5 |
    /// | resnet34 | 8.2 | 4.0 | 25.5 | 4.9 |
    /// | resnet50 | 8.5 | 4.3 | 49.8 | 10.0 |
    /// | wide-resnet50-2 | 24.9 | 12.0 | 93.4 | 18.5 |
    fn reverse_path(&self, params: &Params) -> Result<ReversePath, ModelError> {
        let [c1, c2, c3] = self.channels;
        let embedded = self.embedding_channels();
        let reduce = |scale: usize, step: usize, input, output| {
            let params = params.pp("fusion").pp(scale).pp(step);
            ConvBn::below(&params, ConvShape::dense(input, output, 3, 2), RELU)
        };
        let up = |index: usize, channels| -> Result<Stage, ModelError> {
            let params = params.pp(format_args!("layer{index}"));
            let up = self.layer(&params, channels, self.depths[index - 1], Resize::Double)?;
            Ok(Stage { up, output: Vec::new() })
        };
        let finest = chain([reduce(0, 0, c1, c2)?, reduce(0, 1, c2, c3)?]);
        let middle = chain([reduce(1, 0, c2, c3)?]);
        Ok(ReversePath {
            fusion: Fusion::Joined(vec![finest, middle]),
            embedding: self.layer(
                &params.pp("embedding"),
                (3 * c3, embedded),
                self.depths[3],
                Resize::Stride(2),
            )?,
            stages: vec![up(3, (embedded, c3))?, up(2, (c3, c2))?, up(1, (c2, c1))?],
        })
    }
}

/// The change of height and width by a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resize {
    Stride(usize),
    Double,
}

/// A convolution of side `kernel` with a stride, or the 2x2 transposed convolution that doubles the
/// size.
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
struct Residual {
    branch: Vec<ConvBn>,
    shortcut: Option<ConvBn>,
}

impl Block for Residual {
    fn forward(&self, x: &Activation) -> Result<Activation, ModelError> {
        match &self.shortcut {
            None => ConvBn::run(&self.branch, x, Some(Nonlinearity::Relu)),
            Some(shortcut) => ConvBn::run_with(&self.branch, x, &shortcut.forward(x)?, Nonlinearity::Relu),
        }
    }
}
