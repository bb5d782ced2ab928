//! Pixels as the input of a network.

use candle_core::{DType, Device, Result, Tensor};

use super::array::Array;
use super::gpu::Gpu;
use super::launch;
use super::runner::Runner;

/// `(pixel / 255 - mean) / deviation` of each channel of `pixels`, `[N, H, W, 3]`, as
/// `[N, 3, H, W]`.
pub(crate) fn normalized_pixels(
    pixels: &[u8],
    shape: (usize, usize, usize, usize),
    constants: [[f32; 3]; 2],
    device: &Device,
) -> Result<Tensor> {
    let constants = constants.map(|values| Tensor::new(&values, device));
    let [mean, deviation] = constants;
    let (mean, deviation) = (mean?, deviation?);
    debug_assert_eq!(mean.dtype(), DType::F32);
    let runner = Runner::of(&mean)?;
    let bytes = runner.upload(pixels)?;
    let constants = [&Array::of(&mean)?, &Array::of(&deviation)?];
    let y = launch::normalized_pixels(&runner, &bytes, constants, pixels.len())?;
    y.into_tensor(shape)?.permute((0, 3, 1, 2))
}
