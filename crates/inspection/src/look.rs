//! Measures of one image.

use fmam_core::{ImageSize, RgbImage};

use crate::Trait;
use crate::thumbnail::Thumbnail;

/// The traits of an image, and its thumbnail.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    brightness: f32,
    contrast: f32,
    sharpness: f32,
    red_green: f32,
    blue_green: f32,
    original: Option<ImageSize>,
    thumbnail: Thumbnail,
}

impl Look {
    /// The look of `image`, which was resized from the size `original` where that is known. All
    /// images of a profile have one size after resizing: sharpness depends on it.
    pub fn of(image: &RgbImage, original: Option<ImageSize>) -> Self {
        let size = image.size();
        let n = size.pixels().max(1) as f64;
        let mut sums = [0_u64; 3];
        // Thousandths of a grey level: luma of ITU-R BT.601.
        let mut grey = Vec::with_capacity(size.pixels());
        for pixel in image.data().chunks_exact(3) {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            for (sum, value) in sums.iter_mut().zip([r, g, b]) {
                *sum += u64::from(value);
            }
            grey.push(299 * r + 587 * g + 114 * b);
        }
        let [red, green, blue] = sums.map(|sum| sum as f64 / n);
        let brightness = grey.iter().map(|&value| u64::from(value)).sum::<u64>() as f64 / (1000.0 * n);
        let from_mean = |value: u32| f64::from(value) / 1000.0 - brightness;
        let variance = grey.iter().map(|&value| from_mean(value).powi(2)).sum::<f64>() / n;
        // One squared grey level in each denominator: an image of one colour has finite traits.
        let sharpness = (laplacian_energy(&grey, size) / (variance + 1.0)).sqrt();
        Self {
            brightness: brightness as f32,
            contrast: variance.sqrt() as f32,
            sharpness: sharpness as f32,
            red_green: ((red - green) / (brightness + 1.0)) as f32,
            blue_green: ((blue - green) / (brightness + 1.0)) as f32,
            original: original.filter(|size| size.pixels() > 0),
            thumbnail: Thumbnail::of(&grey, size),
        }
    }

    /// The value of a trait that needs no other image; `None` for [`Trait::Position`], and for the
    /// traits of an original whose size is unknown.
    pub fn value(&self, of: Trait) -> Option<f32> {
        let original = |measure: fn(ImageSize) -> f32| self.original.map(measure);
        match of {
            Trait::Brightness => Some(self.brightness),
            Trait::Contrast => Some(self.contrast),
            Trait::Sharpness => Some(self.sharpness),
            Trait::Size => original(|size| size.pixels() as f32),
            Trait::Aspect => original(|size| (size.width as f64 / size.height as f64) as f32),
            Trait::RedGreen => Some(self.red_green),
            Trait::BlueGreen => Some(self.blue_green),
            Trait::Position => None,
        }
    }

    pub(crate) fn thumbnail(&self) -> &Thumbnail {
        &self.thumbnail
    }
}

/// Mean square of the discrete Laplacian (the four neighbours minus four times the pixel), in
/// squared grey levels, over the pixels that have four neighbours; 0 where none has.
fn laplacian_energy(grey: &[u32], size: ImageSize) -> f64 {
    let ImageSize { height, width } = size;
    if height < 3 || width < 3 {
        return 0.0;
    }
    let mut energy = 0.0;
    for y in 1..height - 1 {
        let row = |y: usize| &grey[y * width..(y + 1) * width];
        let (above, at, below) = (row(y - 1), row(y), row(y + 1));
        for x in 1..width - 1 {
            let [up, left, here, right, down] =
                [above[x], at[x - 1], at[x], at[x + 1], below[x]].map(f64::from);
            energy += ((up + left + right + down - 4.0 * here) / 1000.0).powi(2);
        }
    }
    energy / ((height - 2) * (width - 2)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(look: &Look, traits: &[Trait]) -> Vec<f32> {
        traits.iter().map(|&of| look.value(of).unwrap()).collect()
    }

    #[test]
    fn traits_by_hand() {
        // Columns of 100 and 200: mean 150, deviation 50.
        let stripes = |y: usize, x: usize| if y < 8 && x % 2 == 1 { [200; 3] } else { [100; 3] };
        let look = Look::of(&RgbImage::from_fn(ImageSize::new(8, 8), stripes), Some(ImageSize::new(30, 60)));
        assert_eq!(values(&look, &[Trait::Brightness, Trait::Contrast]), [150.0, 50.0]);
        // Every Laplacian is 200 or -200.
        let sharpness = (40_000_f64 / 2501.0).sqrt() as f32;
        assert_eq!(values(&look, &[Trait::Sharpness]), [sharpness]);
        assert_eq!(values(&look, &[Trait::Size, Trait::Aspect]), [1800.0, 2.0]);
        assert_eq!(values(&look, &[Trait::RedGreen, Trait::BlueGreen]), [0.0, 0.0]);
        assert_eq!(look.value(Trait::Position), None);

        let red = Look::of(&RgbImage::filled(ImageSize::square(4), [200, 100, 50]), None);
        let brightness = 0.299 * 200.0 + 0.587 * 100.0 + 0.114 * 50.0;
        assert!((red.value(Trait::Brightness).unwrap() - brightness).abs() < 1e-4);
        assert!((red.value(Trait::RedGreen).unwrap() - 100.0 / (brightness + 1.0)).abs() < 1e-6);
        assert!((red.value(Trait::BlueGreen).unwrap() + 50.0 / (brightness + 1.0)).abs() < 1e-6);
        assert_eq!((red.value(Trait::Contrast), red.value(Trait::Size)), (Some(0.0), None));
    }

    #[test]
    fn sharpness_does_not_follow_the_contrast() {
        let wave = |amplitude: f64, period: f64| {
            let image = RgbImage::from_fn(ImageSize::square(64), |_, x| {
                [(128.0 + amplitude * (std::f64::consts::TAU * x as f64 / period).sin()) as u8; 3]
            });
            Look::of(&image, None).value(Trait::Sharpness).unwrap()
        };
        assert!((wave(100.0, 8.0) / wave(50.0, 8.0) - 1.0).abs() < 0.05);
        assert!(wave(100.0, 8.0) > 3.0 * wave(100.0, 16.0));
    }

    #[test]
    fn images_of_few_pixels_have_finite_traits() {
        for size in [ImageSize::new(0, 0), ImageSize::new(1, 1), ImageSize::new(2, 5)] {
            let look = Look::of(&RgbImage::filled(size, [9, 9, 9]), Some(ImageSize::new(0, 7)));
            let known: Vec<f32> = Trait::ALL.iter().filter_map(|&of| look.value(of)).collect();
            assert!(known.len() == 5 && known.iter().all(|value| value.is_finite()), "{look:?}");
        }
    }
}
