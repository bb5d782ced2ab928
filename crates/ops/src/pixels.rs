//! From the pixels of images to the input of a network.

use candle_core::{DType, Device, Error, Result, Tensor};

use crate::cuda;
use crate::kernels::{Path, default_kernels};

/// Pixels as the input of a network: `(pixel / 255 - mean) / deviation` of each channel. A GPU gets
/// the bytes and computes the rest.
///
/// # Shapes and units
/// `pixels`: `N H W 3` bytes of `dims` (N, H, W). Gives `[N, 3, H, W]`, f32, channels last in
/// memory.
///
/// # Errors
/// Fails if the number of pixels is another.
pub fn normalized_pixels(
    pixels: &[u8],
    (n, h, w): (usize, usize, usize),
    [mean, deviation]: [[f32; 3]; 2],
    device: &Device,
) -> Result<Tensor> {
    let shape = (n, h, w, 3);
    if pixels.len() != n * h * w * 3 {
        return Err(Error::ShapeMismatch { buffer_size: pixels.len(), shape: shape.into() }.bt());
    }
    if default_kernels().path_of(DType::F32, device) == Path::Cuda {
        return cuda::normalized_pixels(pixels, shape, [mean, deviation], device);
    }
    let normalized = pixels
        .chunks_exact(3)
        .flat_map(|pixel| (0..3).map(move |c| (f32::from(pixel[c]) / 255.0 - mean[c]) / deviation[c]));
    Tensor::from_vec(normalized.collect::<Vec<_>>(), shape, device)?.permute((0, 3, 1, 2))
}
