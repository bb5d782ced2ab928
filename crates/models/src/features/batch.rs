use candle_core::{Device, Tensor};
use fmam_core::RgbImage;
use fmam_ops::{normalized_pixels, traced};

use crate::ModelError;

/// Stacks images into what a backbone takes.
///
/// # Shapes and units
/// Gives `[N, 3, H, W]` f32, scaled as `preprocess` says. In memory it is channels last, as the
/// images are, which is what the CPU operators want.
///
/// # Errors
/// [`ModelError::EmptyBatch`] when there is no image, [`ModelError::MixedSizes`] when they differ
/// in size.
pub fn to_batch(images: &[RgbImage], preprocess: Preprocess, device: &Device) -> Result<Tensor, ModelError> {
    let size = images.first().ok_or(ModelError::EmptyBatch)?.size();
    if let Some(other) = images.iter().find(|image| image.size() != size) {
        return Err(ModelError::MixedSizes { first: size, other: other.size() });
    }
    if device.is_cuda() {
        let bytes = images.iter().map(RgbImage::data).collect::<Vec<_>>().concat();
        let dims = (images.len(), size.height, size.width);
        return Ok(normalized_pixels(&bytes, dims, [preprocess.mean, preprocess.std], device)?);
    }
    let [red, green, blue] = preprocess.tables();
    let mut values = Vec::with_capacity(images.len() * size.pixels() * 3);
    for image in images {
        for pixel in image.data().chunks_exact(3) {
            values.extend_from_slice(&[
                red[usize::from(pixel[0])],
                green[usize::from(pixel[1])],
                blue[usize::from(pixel[2])],
            ]);
        }
    }
    let batch = Tensor::from_vec(values, (images.len(), size.height, size.width, 3), device)?;
    Ok(batch.permute((0, 3, 1, 2))?)
}

/// The scaling of pixel values before a backbone sees them: `(value / 255 - mean) / std` per
/// channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess {
    /// Mean of R, G, B on the 0..=1 scale.
    pub mean: [f32; 3],
    /// Standard deviation of R, G, B on the 0..=1 scale.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The scaling of ImageNet's pixels to mean 0 and deviation 1, as torchvision has it.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// From -1 to 1, as TensorFlow's networks take it.
    pub const SYMMETRIC: Self = Self { mean: [0.5; 3], std: [0.5; 3] };

    /// Pixels of values from 0 to 255 as the network's input, written down where a trace knows them.
    ///
    /// # Shapes and units
    /// `pixels`: `[N, 3, H, W]`, f32, red first. Gives as many.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for another number of channels.
    pub fn normalized(&self, pixels: &Tensor) -> Result<Tensor, ModelError> {
        let constant = |values: [f64; 3]| {
            Tensor::new(&values.map(|value| value as f32), pixels.device())?.reshape((1, 3, 1, 1))
        };
        let gain: [f64; 3] = std::array::from_fn(|c| 1.0 / (255.0 * f64::from(self.std[c])));
        let shift = std::array::from_fn(|c| -f64::from(self.mean[c]) / f64::from(self.std[c]));
        Ok(traced::add(&traced::mul(pixels, &constant(gain)?)?, &constant(shift)?)?)
    }

    /// The scaled value of each byte, per channel.
    fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|byte| {
                let value = byte as f64 / 255.0;
                ((value - f64::from(self.mean[channel])) / f64::from(self.std[channel])) as f32
            })
        })
    }
}

/// Checks that `images` is `[N, 3, H, W]` with N at least 1 and H and W multiples of `stride`.
pub(crate) fn check_images(images: &Tensor, stride: usize) -> Result<(), ModelError> {
    match *images.dims() {
        [n, 3, h, w] if n > 0 && h > 0 && w > 0 && h % stride == 0 && w % stride == 0 => Ok(()),
        _ => Err(ModelError::InputShape { stride, actual: images.dims().to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    const IMAGENET: Preprocess = Preprocess::IMAGENET;

    #[test]
    fn channels_come_first_and_are_scaled_each_by_its_own() {
        let image = |offset: u8| {
            RgbImage::from_fn(ImageSize::new(2, 3), move |y, x| [offset, 10 * y as u8, 100 + x as u8])
        };
        let batch = to_batch(&[image(0), image(255)], IMAGENET, &Device::Cpu).unwrap();
        assert_eq!(batch.dims(), [2, 3, 2, 3]);
        let at = |n: usize, c: usize, y: usize, x: usize| -> f32 {
            batch.get(n).and_then(|t| t.get(c)?.get(y)?.get(x)?.to_scalar()).unwrap()
        };
        let expected = |byte: f32, c: usize| (byte / 255.0 - IMAGENET.mean[c]) / IMAGENET.std[c];
        for (n, c, y, x, byte) in
            [(0, 0, 1, 2, 0.0), (1, 0, 0, 0, 255.0), (0, 1, 1, 0, 10.0), (1, 2, 0, 2, 102.0)]
        {
            assert!((at(n, c, y, x) - expected(byte, c)).abs() < 1e-6, "{n} {c} {y} {x}");
        }
    }

    #[test]
    fn no_image_and_images_of_two_sizes_are_refused() {
        let image = |side| RgbImage::filled(ImageSize::square(side), [0; 3]);
        assert!(matches!(to_batch(&[], IMAGENET, &Device::Cpu), Err(ModelError::EmptyBatch)));
        assert!(matches!(
            to_batch(&[image(4), image(5)], IMAGENET, &Device::Cpu),
            Err(ModelError::MixedSizes {
                first: ImageSize { height: 4, .. },
                other: ImageSize { height: 5, .. }
            })
        ));
    }
}
