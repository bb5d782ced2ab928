use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use fmam_core::{ImageSize, Reading, RgbImage, SourceError};
use image::DynamicImage;
use image::metadata::Orientation;

use super::header::ImageHeader;
use super::levels::Levels;
use super::samples::decode_values;
use super::stream::{Stream, in_memory, open};
use crate::DatasetError;

/// Decodes an image file of any colour type to 8-bit RGB in the orientation that its EXIF data
/// state and, where `size` is given, resizes it to exactly that size without keeping the aspect
/// ratio. The file is read as [`Reading::default`] says; [`read_image`] takes another `Reading`.
///
/// The filter is bilinear and widened by the scale when shrinking, so that it does not alias. It is
/// Pillow's `BILINEAR`, with which nearly all published figures of the field were made, and agrees
/// with it within one level.
///
/// # Errors
/// As [`read_image`], and [`DatasetError::Resize`] for a size that the resizing library refuses.
pub fn load_image(path: &Path, size: Option<ImageSize>) -> Result<RgbImage, DatasetError> {
    let image = read_image(path, &Reading::default())?;
    let from = image.size();
    resize_image(image, path, size.unwrap_or(from))
}

/// Decodes the `bytes` of an image file as [`load_image`] does; `name` is the name of the image in
/// errors.
///
/// # Errors
/// As [`load_image`].
pub fn decode_image(
    bytes: &[u8],
    name: impl AsRef<Path>,
    size: Option<ImageSize>,
) -> Result<RgbImage, DatasetError> {
    let image = read_image_bytes(bytes, &name, &Reading::default())?;
    let from = image.size();
    resize_image(image, name, size.unwrap_or(from))
}

/// Decodes a PNG, JPEG, BMP, TIFF, WebP, PNM or GIF file to 8-bit RGB, in the orientation that its
/// EXIF data state and in its own size.
///
/// - Grey is repeated over the channels, CMYK becomes RGB as Pillow converts it.
/// - 16-bit values and floating-point numbers are scaled as [`Reading::values`] says, values beyond
///   the range are clamped, which a warning tells.
/// - Transparent pixels are laid over [`Reading::background`].
/// - Of several frames or pages the first is read, which a warning tells.
///
/// # Errors
/// [`DatasetError::NotAFile`], [`DatasetError::Read`], [`DatasetError::Decode`] or
/// [`DatasetError::Truncated`] for the file; [`DatasetError::TooLarge`] before a pixel is decoded;
/// [`DatasetError::PixelKind`] for pixels that are not read; [`DatasetError::NoValueRange`] and
/// [`DatasetError::NotANumber`] for floating-point numbers.
pub fn read_image(path: &Path, reading: &Reading) -> Result<RgbImage, DatasetError> {
    let mut stream = open(path)?;
    let header = ImageHeader::read(&mut stream, path)?;
    decode_rgb(stream, &header, path, reading)
}

/// Decodes the `bytes` of an image file as [`read_image`] does; `name` is the name of the image in
/// errors.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_bytes(
    bytes: &[u8],
    name: impl AsRef<Path>,
    reading: &Reading,
) -> Result<RgbImage, DatasetError> {
    let (mut stream, path) = (in_memory(bytes), name.as_ref());
    let header = ImageHeader::read(&mut stream, path)?;
    decode_rgb(stream, &header, path, reading)
}

/// The upright image behind `header`.
pub(super) fn decode_rgb(
    stream: Stream<'_>,
    header: &ImageHeader,
    path: &Path,
    reading: &Reading,
) -> Result<RgbImage, DatasetError> {
    let values = decode_values(stream, header, path, reading.max_bytes)?;
    let channels = values.channels(header.stored);
    let mut levels = Levels::new(reading, header);
    let rgb = levels.rgb(values, channels, path)?;
    levels.tell(path);
    let (width, height) = (header.stored.width as u32, header.stored.height as u32);
    let rgb = match image::RgbImage::from_raw(width, height, rgb) {
        Some(stored) if header.orientation != Orientation::NoTransforms => {
            let mut upright = DynamicImage::from(stored);
            upright.apply_orientation(header.orientation);
            upright.into_rgb8().into_raw()
        }
        Some(stored) => stored.into_raw(),
        None => Vec::new(),
    };
    let size = header.size();
    RgbImage::new(size, rgb).map_err(|error| DatasetError::Resize {
        path: path.to_owned(),
        size,
        source: error.into(),
    })
}

/// Resizes an image to `size` with the filter of [`load_image`]; one that has the size already
/// comes back as it is. `name` is the name of the image in errors.
///
/// # Errors
/// [`DatasetError::NoPixels`] for an image or a size without pixels, [`DatasetError::Resize`] for a
/// size that the resizing library refuses.
pub fn resize_image(
    image: RgbImage,
    name: impl AsRef<Path>,
    size: ImageSize,
) -> Result<RgbImage, DatasetError> {
    let from = image.size();
    if from.pixels() == 0 || size.pixels() == 0 {
        return Err(DatasetError::NoPixels { path: name.as_ref().to_owned(), size: from, to: size });
    }
    if from == size {
        return Ok(image);
    }
    let resized = resize(image.data(), from, size).and_then(|data| Ok(RgbImage::new(size, data)?));
    resized.map_err(|source| DatasetError::Resize { path: name.as_ref().to_owned(), size, source })
}

/// Bytes of an intermediate image above which the order of the passes is chosen for memory.
const LARGE: usize = 256 << 20;

/// The resizing library shrinks or enlarges the height first. For a line of millions of pixels that
/// would take thousands of times the memory of the file.
fn is_width_first(from: ImageSize, to: ImageSize) -> bool {
    let height_first = from.width.saturating_mul(to.height);
    let width_first = to.width.saturating_mul(from.height);
    height_first > LARGE / 3 && width_first < height_first / 2
}

fn resize(data: &[u8], from: ImageSize, to: ImageSize) -> Result<Vec<u8>, SourceError> {
    if is_width_first(from, to) {
        let between = ImageSize::new(from.height, to.width);
        return resize_both(&resize_both(data, from, between)?, between, to);
    }
    resize_both(data, from, to)
}

fn resize_both(data: &[u8], from: ImageSize, to: ImageSize) -> Result<Vec<u8>, SourceError> {
    let source = ImageRef::new(from.width as u32, from.height as u32, data, PixelType::U8x3)?;
    let mut target = Image::new(to.width as u32, to.height as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    // `Resizer::resize` would compile the kernels of all thirteen pixel types: minutes.
    let (Some(source), Some(mut view)) = (source.typed_image::<U8x3>(), target.typed_image_mut()) else {
        return Err(ResizeError::PixelTypesAreDifferent.into());
    };
    Resizer::new().resize_typed(&source, &mut view, &options)?;
    Ok(target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thin_image_is_resized_without_a_large_intermediate_image() {
        let square = ImageSize::square(256);
        assert!(is_width_first(ImageSize::new(1, 4_000_000), square));
        for usual in [ImageSize::new(4_000_000, 1), ImageSize::new(12_000, 15_000), ImageSize::square(1024)] {
            assert!(!is_width_first(usual, square), "{usual}");
        }
    }

    #[test]
    fn the_order_of_the_passes_changes_at_most_one_level() {
        let (from, between, to) = (ImageSize::new(9, 50), ImageSize::new(9, 8), ImageSize::new(12, 8));
        let data: Vec<u8> = (0..3 * from.pixels()).map(|index| (index * index % 251) as u8).collect();
        let both = resize_both(&data, from, to).unwrap();
        let width_first = resize_both(&resize_both(&data, from, between).unwrap(), between, to).unwrap();
        assert!(both.iter().zip(&width_first).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}
