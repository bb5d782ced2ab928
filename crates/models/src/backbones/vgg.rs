//! VGG-16 without batch normalisation, with the tensor names of torchvision's checkpoint, and a reverse path for it.
//!
//! Simonyan and Zisserman 2015, arXiv:1409.1556. Features are taken behind the second, third and fourth pooling, as
//! multiresolution distillation (Salehi et al., CVPR 2021) takes them behind each.

use fmam_ops::{Activation, Nonlinearity, max_pool2d};

use super::{Architecture, BackboneEntry, Decoder, Encoder, Weights, is_number_in};
use crate::layers::{ConvBn, ConvShape, Norm};
use crate::{ModelError, Params, Preprocess};

pub(super) static VGG16: BackboneEntry = BackboneEntry {
    name: "vgg16",
    summary: "VGG-16 to its fourth pooling; needs torchvision's weights",
    weights: Weights::File,
    architecture: &Vgg16,
};

/// Index, in torchvision's sequence, and output channels of the convolutions between one pooling and the next.
const STAGES: [&[(usize, usize)]; 4] = [
    &[(0, 64), (2, 64)],
    &[(5, 128), (7, 128)],
    &[(10, 256), (12, 256), (14, 256)],
    &[(17, 512), (19, 512), (21, 512)],
];

/// Convolutions behind the last one that features need.
const UNUSED: [&str; 3] = ["24", "26", "28"];

const CHANNELS: [usize; 3] = [128, 256, 512];
const RELU: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };

struct Vgg16;

impl Architecture for Vgg16 {
    fn channels(&self) -> &[usize] {
        &CHANNELS
    }

    fn strides(&self) -> &[usize] {
        &[4, 8, 16]
    }

    fn preprocess(&self) -> Preprocess {
        Preprocess { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }

    fn encoder(&self, params: &Params) -> Result<Box<dyn Encoder>, ModelError> {
        let (params, mut input) = (params.pp("features"), 3);
        let mut layer = |&(index, output): &(usize, usize)| {
            let shape = ConvShape::dense(input, output, 3, 1);
            input = output;
            ConvBn::biased(&params.pp(index), shape, Nonlinearity::Relu)
        };
        let stages = STAGES.iter().map(|stage| stage.iter().map(&mut layer).collect());
        Ok(Box::new(VggEncoder { stages: stages.collect::<Result<_, _>>()? }))
    }

    fn decoder(&self, params: &Params) -> Result<Box<dyn Decoder>, ModelError> {
        let [c1, c2, c3] = CHANNELS;
        let conv = |params: &Params, input, output, stride| {
            ConvBn::below(params, ConvShape::dense(input, output, 3, stride), RELU)
        };
        let fusion = params.pp("fusion");
        let embedding = params.pp("embedding");
        let up = |k: usize, input, output| {
            let params = params.pp("up").pp(k);
            let (double, bn) = (params.pp("double").pp("conv"), params.pp("double").pp("bn"));
            Ok::<_, ModelError>((
                ConvBn::doubling(&double, &bn, (input, output), RELU)?,
                [conv(&params.pp(0), output, output, 1)?, conv(&params.pp(1), output, output, 1)?],
            ))
        };
        Ok(Box::new(VggDecoder {
            finest: [conv(&fusion.pp(0), c1, c2, 2)?, conv(&fusion.pp(1), c2, c3, 2)?],
            middle: conv(&fusion.pp(2), c2, c3, 2)?,
            embedding: [conv(&embedding.pp(0), 3 * c3, c3, 2)?, conv(&embedding.pp(1), c3, c3, 1)?],
            stages: [up(2, c3, c3)?, up(1, c3, c2)?, up(0, c2, c1)?],
        }))
    }

    fn last_block(&self) -> String {
        "features.21".to_owned()
    }

    fn has_signed_features(&self) -> bool {
        false
    }

    fn is_unused_key(&self, key: &str) -> bool {
        match key.split('.').collect::<Vec<_>>()[..] {
            ["classifier", layer, "weight" | "bias"] => is_number_in(0..7, layer),
            ["features", layer, "weight" | "bias"] => UNUSED.contains(&layer),
            _ => false,
        }
    }
}

struct VggEncoder {
    stages: Vec<Vec<ConvBn>>,
}

impl Encoder for VggEncoder {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let mut x = images.clone();
        let mut scales = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            x = max_pool2d(&ConvBn::run(stage, &x, None)?, 2, 2, 0)?;
            scales.push(x.clone());
        }
        // The first pooling has stride 2, which no scale of a pyramid has.
        scales.remove(0);
        Ok(scales)
    }
}

/// Joins the scales as the ResNets' reverse path does, and mirrors the stages with two convolutions each.
struct VggDecoder {
    finest: [ConvBn; 2],
    middle: ConvBn,
    embedding: [ConvBn; 2],
    /// From the coarsest scale to the finest: what doubles the size, and what follows.
    stages: [(ConvBn, [ConvBn; 2]); 3],
}

impl Decoder for VggDecoder {
    fn forward(&self, scales: &[Activation]) -> Result<Vec<Activation>, ModelError> {
        let finest = ConvBn::run(&self.finest, &scales[0], None)?;
        let middle = self.middle.forward(&scales[1])?;
        let fused = Activation::cat(&[&finest, &middle, &scales[2]])?;
        let mut x = ConvBn::run(&self.embedding, &fused, None)?;
        let mut decoded = Vec::with_capacity(self.stages.len());
        for (double, layers) in &self.stages {
            x = ConvBn::run(layers, &double.forward(&x)?, None)?;
            decoded.push(x.clone());
        }
        decoded.reverse();
        Ok(decoded)
    }
}
