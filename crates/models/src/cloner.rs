use candle_core::Tensor;
use fmam_ops::{Kernels, Nonlinearity};

use crate::features::check_images;
use crate::layers::{Conv, ConvBn, ConvShape, Norm};
use crate::student::Student;
use crate::{FeaturePyramid, Init, ModelError, Params, Precision};

const NORM: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };

/// Channels of the cloner's own layers, as a part of the teacher's at the same scale, and at least
/// so many.
const NARROWER: usize = 2;
const LEAST: usize = 16;

/// A network that is smaller than the teacher whose features it imitates: at each halving of the
/// resolution one 3x3 convolution with stride 2, at each scale one more and a linear 1x1
/// convolution to the teacher's channels.
///
/// # Source
/// The cloner of Salehi et al., CVPR 2021, which is a narrower VGG with the teacher's channels at
/// the critical layers. Ours fits any backbone.
pub(crate) struct Cloner {
    scales: Vec<(Vec<ConvBn>, Conv)>,
    stride: usize,
    precision: Precision,
    kernels: Kernels,
}

impl Cloner {
    /// For a teacher with scales of `channels` at `strides`, which are powers of two.
    pub(crate) fn new(
        channels: &[usize],
        strides: &[usize],
        precision: Precision,
        params: &Params,
    ) -> Result<Self, ModelError> {
        let (mut input, mut reached) = (3, 1);
        let mut scales = Vec::with_capacity(channels.len());
        for (k, (&output, &stride)) in channels.iter().zip(strides).enumerate() {
            let params = params.pp("scales").pp(k);
            let width = (output / NARROWER).max(LEAST);
            let mut layers = Vec::new();
            let mut layer = |input: &mut usize, stride| {
                let params = params.pp("layers").pp(layers.len());
                let shape = ConvShape::dense(*input, width, 3, stride);
                layers.push(ConvBn::below(&params, shape, NORM)?);
                *input = width;
                Ok::<(), ModelError>(())
            };
            while reached < stride {
                layer(&mut input, 2)?;
                reached *= 2;
            }
            layer(&mut input, 1)?;
            let init = Init::kaiming_fan_out([output, width, 1, 1], 1);
            let shape = ConvShape::dense(width, output, 1, 1);
            scales.push((layers, Conv::new(&params.pp("output"), shape, init)?));
        }
        let (stride, kernels) = (strides.iter().copied().max().unwrap_or(1), params.kernels());
        Ok(Self { scales, stride, precision, kernels })
    }
}

impl Student for Cloner {
    fn forward(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError> {
        check_images(images, self.stride)?;
        let mut x = self.precision.activation(images, self.kernels)?;
        let mut features = Vec::with_capacity(self.scales.len());
        for (layers, output) in &self.scales {
            x = ConvBn::run(layers, &x, None)?;
            features.push(output.forward(&x)?);
        }
        FeaturePyramid::from_activations(&features)
    }
}
