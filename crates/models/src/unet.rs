use candle_core::Tensor;
use fmam_ops::{Activation, Kernels, Nonlinearity};

use crate::features::check_images;
use crate::layers::{Conv, ConvBn, ConvShape, Norm};
use crate::{Init, ModelError, Params};

const NORM: Norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };

/// Halvings of the resolution.
const DEPTH: usize = 4;

/// A U-Net from image to image: at each resolution two 3x3 convolutions on the way down and two on
/// the way up, where what was there on the way down joins in; channels double as the resolution
/// halves.
///
/// # Source
/// Ronneberger et al. 2015, arXiv:1505.04597. Deviations: zeros at the borders, so that sizes are
/// kept, batch normalisation, and convolutions with stride 2 in place of pooling.
#[derive(Debug)]
pub struct UNet {
    down: Vec<[ConvBn; 2]>,
    /// From the coarsest to the finest.
    up: Vec<(ConvBn, [ConvBn; 2])>,
    output: Conv,
    kernels: Kernels,
}

impl UNet {
    /// Sides of images must be multiples of this.
    pub const STRIDE: usize = 1 << DEPTH;

    /// A network with `width` channels at full resolution.
    ///
    /// # Errors
    /// As [`Params::get`].
    pub fn new(width: usize, params: &Params) -> Result<Self, ModelError> {
        let conv = |params: &Params, input, output, stride| {
            ConvBn::below(params, ConvShape::dense(input, output, 3, stride), NORM)
        };
        let pair = |params: &Params, input, output, stride| {
            Ok::<_, ModelError>([
                conv(&params.pp(0), input, output, stride)?,
                conv(&params.pp(1), output, output, 1)?,
            ])
        };
        let down = (0..=DEPTH).map(|k| {
            let params = params.pp("down").pp(k);
            if k == 0 { pair(&params, 3, width, 1) } else { pair(&params, width << (k - 1), width << k, 2) }
        });
        let up = (0..DEPTH).rev().map(|k| {
            let (params, channels) = (params.pp("up").pp(k), width << k);
            let (conv, bn) = (params.pp("double").pp("conv"), params.pp("double").pp("bn"));
            let double = ConvBn::doubling(&conv, &bn, (2 * channels, channels), NORM)?;
            Ok((double, pair(&params, 2 * channels, channels, 1)?))
        });
        let init = Init::kaiming_fan_out([3, width, 1, 1], 1);
        let (down, up) = (down.collect::<Result<_, ModelError>>()?, up.collect::<Result<_, ModelError>>()?);
        Ok(Self {
            down,
            up,
            output: Conv::new(&params.pp("output"), ConvShape::dense(width, 3, 1, 1), init)?,
            kernels: params.kernels(),
        })
    }

    /// # Shapes and units
    /// `images`: `[N, 3, H, W]`, H and W multiples of [`UNet::STRIDE`]. Gives the same shape.
    ///
    /// # Errors
    /// [`ModelError::InputShape`] for another shape.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, ModelError> {
        check_images(images, Self::STRIDE)?;
        let mut x = Activation::from_nchw_with(images, self.kernels)?;
        let mut skips = Vec::with_capacity(self.down.len());
        for layers in &self.down {
            x = ConvBn::run(layers, &x, None)?;
            skips.push(x.clone());
        }
        skips.pop();
        for ((double, layers), skip) in self.up.iter().zip(skips.iter().rev()) {
            x = ConvBn::run(layers, &Activation::cat(&[skip, &double.forward(&x)?])?, None)?;
        }
        Ok(self.output.forward(&x)?.to_nchw()?)
    }
}
