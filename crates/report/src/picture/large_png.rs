//! PNG files of the size of a photograph, encoded for speed.

use std::path::Path;

use fmam_core::{ImageSize, Mask, RgbImage};
use image::ImageFormat;
use image::error::{EncodingError, ImageFormatHint};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use crate::ReportError;
use crate::error::write_atomic;

/// Writes a picture of any size as PNG, atomically, a few times as fast as
/// [`write_png`](crate::write_png) and into a somewhat larger file. The folder of `path` is made
/// where it is missing.
///
/// # Errors
/// [`ReportError::Encode`] for a picture without pixels, [`ReportError::Write`]; both name the
/// path.
pub fn write_large_png(path: &Path, picture: &RgbImage) -> Result<(), ReportError> {
    write(path, picture.size(), (ColorType::Rgb, BitDepth::Eight), picture.data(), &[])
}

/// Writes a mask as PNG of 8-bit grey, 255 where it is anomalous and 0 elsewhere, atomically. The
/// folder of `path` is made where it is missing.
///
/// # Errors
/// As [`write_large_png`].
pub fn write_mask_png(path: &Path, mask: &Mask) -> Result<(), ReportError> {
    let grey: Vec<u8> = mask.data().iter().map(|value| value * 255).collect();
    write(path, mask.size(), (ColorType::Grayscale, BitDepth::Eight), &grey, &[])
}

/// `texts`: keyword and text of each text chunk, ASCII.
pub(super) fn write(
    path: &Path,
    size: ImageSize,
    format: (ColorType, BitDepth),
    data: &[u8],
    texts: &[(&str, String)],
) -> Result<(), ReportError> {
    let png = encode(size, format, data, texts).map_err(|error| ReportError::Encode {
        path: path.to_owned(),
        source: image::ImageError::Encoding(EncodingError::new(
            ImageFormatHint::Exact(ImageFormat::Png),
            error,
        )),
    })?;
    write_atomic(path, &png)
}

fn encode(
    size: ImageSize,
    (colour, depth): (ColorType, BitDepth),
    data: &[u8],
    texts: &[(&str, String)],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, u32::try_from(size.width)?, u32::try_from(size.height)?);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    for (keyword, text) in texts {
        encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    writer.finish()?;
    Ok(png)
}
