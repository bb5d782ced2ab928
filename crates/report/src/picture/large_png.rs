//! PNG files of the size of a photograph, encoded for speed.

use std::path::Path;

use fmam_core::{ImageSize, Mask, RgbImage};
use image::ImageFormat;
use image::error::{EncodingError, ImageFormatHint};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use crate::ReportError;
use crate::error::write_whole;

/// Writes a picture of any size as PNG, a few times as fast as [`write_png`](crate::write_png) and
/// into a somewhat larger file, otherwise as that.
///
/// # Errors
/// [`ReportError::Encode`] for a picture without pixels, [`ReportError::Write`]; both name the
/// path.
pub fn write_large_png(path: &Path, picture: &RgbImage) -> Result<(), ReportError> {
    write(path, picture.size(), (ColorType::Rgb, BitDepth::Eight), picture.data(), &[])
}

/// The file of [`write_large_png`] as bytes.
///
/// # Errors
/// [`ReportError::Png`] for a picture without pixels.
pub fn encode_large_png(picture: &RgbImage) -> Result<Vec<u8>, ReportError> {
    in_memory(picture.size(), (ColorType::Rgb, BitDepth::Eight), picture.data(), &[])
}

/// As [`write`], as bytes.
pub(super) fn in_memory(
    size: ImageSize,
    format: (ColorType, BitDepth),
    data: &[u8],
    texts: &[(&str, String)],
) -> Result<Vec<u8>, ReportError> {
    encode(size, format, data, texts).map_err(|source| ReportError::Png { source: encoding(source) })
}

/// The error of the encoder.
fn encoding(error: Box<dyn std::error::Error + Send + Sync>) -> image::ImageError {
    image::ImageError::Encoding(EncodingError::new(ImageFormatHint::Exact(ImageFormat::Png), error))
}

/// Writes a mask as PNG of 8-bit grey, 255 where it is anomalous and 0 elsewhere, otherwise as
/// [`write_png`](crate::write_png).
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
    let png = encode(size, format, data, texts)
        .map_err(|error| ReportError::Encode { path: path.to_owned(), source: encoding(error) })?;
    write_whole(path, &png)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_masks_come_back() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("new/a.png");
        let picture =
            RgbImage::from_fn(ImageSize::new(40, 70), |y, x| [y as u8, (3 * x) as u8, (y * x) as u8]);
        write_large_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8().into_raw(), picture.data());
        assert_eq!(encode_large_png(&picture).unwrap(), std::fs::read(&path).unwrap());

        let mask = Mask::from_fn(ImageSize::new(3, 5), |y, x| (y, x) == (1, 4));
        write_mask_png(&path, &mask).unwrap();
        let image::DynamicImage::ImageLuma8(grey) = image::open(&path).unwrap() else { panic!("8-bit grey") };
        assert_eq!(grey.dimensions(), (5, 3));
        let expected: Vec<u8> = (0..15).map(|at| if at == 9 { 255 } else { 0 }).collect();
        assert_eq!(grey.into_raw(), expected);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("a.png");
        let refused = write_mask_png(&path, &Mask::empty(ImageSize::new(0, 0))).unwrap_err();
        assert!(matches!(&refused, ReportError::Encode { path: named, .. } if *named == path), "{refused}");
        assert!(!path.exists());
        let below_a_file = out.path().join("file/a.png");
        std::fs::write(out.path().join("file"), "x").unwrap();
        let refused = write_mask_png(&below_a_file, &Mask::empty(ImageSize::square(1))).unwrap_err();
        assert!(matches!(refused, ReportError::Write { .. }));
    }
}
