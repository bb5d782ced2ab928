use std::path::Path;

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, ImageReader, Limits, RgbImage,
    RgbaImage,
};

use super::decoder_limit::decoder_bytes;
use super::gif_frames::has_second_frame;
use super::header::ImageHeader;
use super::jpeg;
use super::stream::{Stream, in_memory};
use super::tiff_bands::TiffBands;
use super::values::Values;
use crate::told::tell_first_frame;
use crate::{DatasetError, PixelKind};

/// Decodes all pixels as they are stored: 16-bit numbers as the file has them, no orientation.
///
/// # Errors
/// [`DatasetError::Read`], [`DatasetError::Decode`] or [`DatasetError::Truncated`].
pub(super) fn decode_values(
    stream: Stream<'_>,
    header: &ImageHeader,
    path: &Path,
    limit: u64,
) -> Result<Values, DatasetError> {
    header.check_limit(path, limit)?;
    if header.numbers.is_float() || (header.has_tiff_bands && header.channels == 2) {
        let mut bands = TiffBands::open(stream, header, path, limit)?;
        let mut values = Values::none(header.numbers);
        while let Some((_, band)) = bands.next_band(path)? {
            values.append(band);
        }
        return Ok(values);
    }
    let decoded = decode_with_image(stream, header, path, limit)?;
    Ok(match decoded {
        DynamicImage::ImageLuma8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageRgb8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageRgba8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageLuma16(image) => Values::U16(as_stored(image.into_raw(), header)),
        DynamicImage::ImageLumaA16(image) => Values::U16(as_stored(image.into_raw(), header)),
        DynamicImage::ImageRgb16(image) => Values::U16(as_stored(image.into_raw(), header)),
        DynamicImage::ImageRgba16(image) => Values::U16(as_stored(image.into_raw(), header)),
        DynamicImage::ImageRgb32F(image) => Values::F32(image.into_raw()),
        DynamicImage::ImageRgba32F(image) => Values::F32(image.into_raw()),
        other => Values::U8(other.into_rgba8().into_raw()),
    })
}

/// The image in the types of the `image` crate, as it is stored. Grey floating-point numbers become
/// colours, since the crate has no type for them.
///
/// # Errors
/// As [`decode_values`]; [`DatasetError::PixelKind`] for floating-point numbers with alpha.
pub(super) fn decode_dynamic(
    stream: Stream<'_>,
    header: &ImageHeader,
    path: &Path,
    limit: u64,
) -> Result<DynamicImage, DatasetError> {
    let (width, height) = (header.stored.width as u32, header.stored.height as u32);
    let kind = || {
        let kind = PixelKind::Float { bits: header.bits() as u8 };
        DatasetError::PixelKind { path: path.to_owned(), kind }
    };
    let values = decode_values(stream, header, path, limit)?;
    let channels = values.channels(header.stored);
    let image = match (values, channels) {
        (Values::U8(raw), 1) => GrayImage::from_raw(width, height, raw).map(DynamicImage::from),
        (Values::U8(raw), 2) => GrayAlphaImage::from_raw(width, height, raw).map(DynamicImage::from),
        (Values::U8(raw), 3) => RgbImage::from_raw(width, height, raw).map(DynamicImage::from),
        (Values::U8(raw), _) => RgbaImage::from_raw(width, height, raw).map(DynamicImage::from),
        (Values::U16(raw), 1) => ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageLuma16),
        (Values::U16(raw), 2) => ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageLumaA16),
        (Values::U16(raw), 3) => ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgb16),
        (Values::U16(raw), _) => ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgba16),
        (Values::F32(raw), channels) => floats(raw, channels, width, height),
        (Values::F64(raw), channels) => {
            floats(raw.into_iter().map(|value| value as f32).collect(), channels, width, height)
        }
    };
    image.ok_or_else(kind)
}

fn decode_with_image(
    mut stream: Stream<'_>,
    header: &ImageHeader,
    path: &Path,
    limit: u64,
) -> Result<DynamicImage, DatasetError> {
    let read_error = |source| DatasetError::Read { path: path.to_owned(), source };
    let decode_error = |source| DatasetError::Decode { path: path.to_owned(), source };
    if header.format == ImageFormat::Gif {
        tell_first_frame(has_second_frame(&mut stream), path);
        stream.rewind().map_err(read_error)?;
    }
    tell_first_frame(header.has_more_frames(), path);
    let mut limits = Limits::default();
    limits.max_alloc = Some(decoder_bytes(limit));
    let decode = |stream: Stream<'_>| {
        let mut reader = ImageReader::with_format(stream, header.format);
        reader.limits(limits);
        reader.decode().map_err(decode_error)
    };
    if header.format != ImageFormat::Jpeg {
        return decode(stream);
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(read_error)?;
    let decoded = decode(in_memory(&bytes))?;
    if !jpeg::is_complete(&bytes) {
        return Err(DatasetError::Truncated { path: path.to_owned() });
    }
    Ok(decoded)
}

/// The numbers as a PNM file has them: the `image` crate scales them so that white is 65535. Alpha
/// stays scaled.
fn as_stored(mut values: Vec<u16>, header: &ImageHeader) -> Vec<u16> {
    if header.white != u16::MAX {
        let has_alpha = matches!(header.channels, 2 | 4);
        let colours = header.channels - usize::from(has_alpha);
        for pixel in values.chunks_exact_mut(header.channels) {
            for value in &mut pixel[..colours] {
                let scaled = u32::from(*value) * u32::from(header.white);
                *value = ((scaled + 32767) / 65535) as u16;
            }
        }
    }
    values
}

/// An image of one or three floating-point numbers a pixel.
fn floats(raw: Vec<f32>, channels: usize, width: u32, height: u32) -> Option<DynamicImage> {
    let colours = match channels {
        1 => raw.into_iter().flat_map(|grey| [grey; 3]).collect(),
        3 => raw,
        _ => return None,
    };
    ImageBuffer::from_raw(width, height, colours).map(DynamicImage::ImageRgb32F)
}
