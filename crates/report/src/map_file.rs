//! Anomaly maps as files for other programs.

use std::error::Error;
use std::io::Cursor;
use std::path::Path;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use fmam_core::{AnomalyMap, ImageSize};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;

use crate::{ReportError, write_atomic};

/// Writes a map as a TIFF file of one 32-bit float a pixel, which the evaluation code of MVTec AD reads (Pillow and OpenCV
/// do too). `size` is that of the original image, to which the map is brought bilinearly: that code compares with the original
/// ground truth.
///
/// # Errors
/// [`ReportError::MapFile`] for a map or a `size` without pixels or too large for the format, [`ReportError::Write`]; both name the path.
pub fn write_map(path: &Path, map: &AnomalyMap, size: ImageSize) -> Result<(), ReportError> {
    let refused = |actual| ReportError::MapFile { path: path.to_owned(), size: actual };
    let [from, to] = [map.size(), size].map(|size| {
        let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
        side(size.width).zip(side(size.height)).ok_or_else(|| refused(size))
    });
    let (from, to) = (from?, to?);
    let (width, height) = to;
    let values = if size == map.size() {
        map.data().to_vec()
    } else {
        resized(map.data(), from, to).map_err(|_| refused(size))?
    };
    let mut file = Cursor::new(Vec::new());
    let written = TiffEncoder::new(&mut file)
        .and_then(|mut tiff| tiff.write_image::<Gray32Float>(width, height, &values));
    written.map_err(|_| refused(size))?;
    write_atomic(path, file.get_ref())
}

/// Values of `from`, width and height, brought to `to` bilinearly.
fn resized(values: &[f32], from: (u32, u32), to: (u32, u32)) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let source = Image::from_vec_u8(from.0, from.1, bytes, PixelType::F32)?;
    let mut target = Image::new(to.0, to.1, PixelType::F32);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options)?;
    let (values, _) = target.buffer().as_chunks();
    Ok(values.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use tiff::decoder::{Decoder, DecodingResult};

    use super::*;

    fn read(path: &Path) -> ((u32, u32), Vec<f32>) {
        let mut decoder = Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
        let DecodingResult::F32(values) = decoder.read_image().unwrap() else { panic!("not of floats") };
        (decoder.dimensions().unwrap(), values)
    }

    #[test]
    fn a_map_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screw/test/good/000.tiff");
        let size = ImageSize::new(2, 3);
        let map = AnomalyMap::new(size, vec![0.0, -1.5, 1e-30, 3.25, 1e30, 0.1]).unwrap();
        write_map(&path, &map, size).unwrap();
        assert_eq!(read(&path), ((3, 2), map.data().to_vec()));
    }

    #[test]
    fn a_map_is_brought_to_the_size_of_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tiff");
        let map = AnomalyMap::new(ImageSize::new(1, 2), vec![-1.0, 3.0]).unwrap();
        write_map(&path, &map, ImageSize::new(2, 4)).unwrap();
        let ((width, height), values) = read(&path);
        assert_eq!((width, height), (4, 2));
        for row in values.chunks(4) {
            for (value, expected) in row.iter().zip([-1.0, 0.0, 2.0, 3.0]) {
                assert!((value - expected).abs() < 1e-6, "{values:?}");
            }
        }
        assert!(matches!(write_map(&path, &map, ImageSize::new(0, 4)), Err(ReportError::MapFile { .. })));
    }
}
