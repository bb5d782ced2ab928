//! VGG-16 without batch normalisation, with the tensor names of torchvision's checkpoint.
//!
//! Simonyan and Zisserman 2015, arXiv:1409.1556. Features are taken behind the second, third and
//! fourth pooling, as multiresolution distillation (Salehi et al., CVPR 2021) takes them behind
//! each.

use fmam_ops::Nonlinearity;

use super::spec::{BackboneSpec, PublishedWeights, Students, Weights};
use crate::layers::{Chain, ConvBn, ConvShape, Encoder, MaxPool, TappedChain};
use crate::{ModelError, Params, Preprocess};

pub(super) static VGG16: BackboneSpec = BackboneSpec {
    name: "vgg16",
    summary: "VGG-16 to its fourth pooling; needs torchvision's weights",
    channels: &[128, 256, 512],
    strides: &[4, 8, 16],
    preprocess: Preprocess::IMAGENET,
    weights: Weights::File(Some(PublishedWeights {
        title: "VGG-16, torchvision IMAGENET1K_V1",
        url: "https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256: "397923af",
        licence: "BSD-3-Clause",
    })),
    has_signed_features: false,
    largest_side: None,
    bf16_error: Some(2e-2),
    last_block: "features.21",
    unused_keys: &["classifier.{0,1,2,3,4,5,6}.{weight,bias}", "features.{24,26,28}.{weight,bias}"],
    idle_parameters: &[],
    encoder,
    students: Students::Mirrored,
};

/// Index, in torchvision's sequence, and output channels of the convolutions between one pooling
/// and the next.
const STAGES: [&[(usize, usize)]; 4] = [
    &[(0, 64), (2, 64)],
    &[(5, 128), (7, 128)],
    &[(10, 256), (12, 256), (14, 256)],
    &[(17, 512), (19, 512), (21, 512)],
];

fn encoder(params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
    let (params, mut input) = (params.pp("features"), 3);
    let mut layer = |&(index, output): &(usize, usize)| {
        let shape = ConvShape::dense(input, output, 3, 1);
        input = output;
        ConvBn::biased(&params.pp(index), shape, Nonlinearity::Relu)
    };
    let mut blocks = Chain::with_capacity(2 * STAGES.len());
    for stage in STAGES {
        blocks.push(Box::new(stage.iter().map(&mut layer).collect::<Result<Vec<_>, _>>()?));
        blocks.push(Box::new(MaxPool { kernel: 2, stride: 2, padding: 0 }));
    }
    // The first pooling has stride 2, which no scale of a pyramid has.
    Ok(Box::new(TappedChain { blocks, taps: vec![3, 5, 7] }))
}
