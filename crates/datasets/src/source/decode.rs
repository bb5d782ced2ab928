use std::io::Cursor;
use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use fmam_core::{ImageSize, RgbImage, SourceError};
use image::{DynamicImage, ImageFormat, ImageReader};

use super::jpeg;
use crate::DatasetError;

/// Decodes a PNG, JPEG, BMP or TIFF file of any colour type to 8-bit RGB and, where `size` is
/// given, resizes it to exactly that size; the aspect ratio is not kept, as the field's protocols
/// have it.
///
/// Grey is repeated over the channels, 16-bit values are scaled to 8, transparency is dropped, and
/// an EXIF orientation is not applied, since masks are stored in the orientation of the pixels.
///
/// The filter is bilinear and widened by the scale when shrinking, so that it does not alias. It is
/// Pillow's `BILINEAR`, with which nearly all published figures of the field were made, and agrees
/// with it within one level.
///
/// # Errors
/// [`DatasetError::Read`], [`DatasetError::Decode`] or [`DatasetError::Truncated`] for the file,
/// [`DatasetError::Resize`] for a size that the resizing library refuses.
pub fn load_image(path: &Path, size: Option<ImageSize>) -> Result<RgbImage, DatasetError> {
    decode_image(&read(path)?, path, size)
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
    let path = name.as_ref();
    let decoded = decode(bytes, path)?.into_rgb8();
    let from = ImageSize::new(decoded.height() as usize, decoded.width() as usize);
    let resize_error = |source| DatasetError::Resize { path: path.to_owned(), size: from, source };
    let image = RgbImage::new(from, decoded.into_raw()).map_err(|error| resize_error(error.into()))?;
    resize_image(image, path, size.unwrap_or(from))
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

/// Compares the sizes that the headers of a mask and its image state.
pub(crate) fn check_mask_size(mask: &Path, image: &Path) -> Result<(), DatasetError> {
    let (of_mask, of_image) = (image_size(mask)?, image_size(image)?);
    if of_mask == of_image {
        return Ok(());
    }
    let (mask, image) = (mask.to_owned(), image.to_owned());
    Err(DatasetError::MaskSize { mask, mask_size: of_mask, image, image_size: of_image })
}

/// The size of an image file as its header states it; the pixels are not decoded.
///
/// # Errors
/// [`DatasetError::Read`] or [`DatasetError::Decode`] for the file.
pub fn image_size(path: &Path) -> Result<ImageSize, DatasetError> {
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let (width, height) =
        reader.into_dimensions().map_err(|source| DatasetError::Decode { path: path.to_owned(), source })?;
    Ok(ImageSize::new(height as usize, width as usize))
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })
}

pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<DynamicImage, DatasetError> {
    let read_error = |source| DatasetError::Read { path: path.to_owned(), source };
    let decode_error = |source| DatasetError::Decode { path: path.to_owned(), source };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(read_error)?;
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let decoded = reader.decode().map_err(decode_error)?;
    if is_jpeg && !jpeg::is_complete(bytes) {
        return Err(DatasetError::Truncated { path: path.to_owned() });
    }
    Ok(decoded)
}

fn resize(data: &[u8], from: ImageSize, to: ImageSize) -> Result<Vec<u8>, SourceError> {
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
