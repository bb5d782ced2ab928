//! Image files that are read row by row: strips and tiles of large images.

use fmam_core::RgbImage;
use fmam_datasets::{DatasetError, image_size, open_rows, read_image};

use super::bytes::Seed;
use super::image::with_range;
use super::scratch::{scratch, write};

/// The rows of an accepted image are those of the image that is decoded at once.
pub fn rows(data: &[u8]) -> bool {
    let folder = scratch();
    let path = write(&folder, "image", data);
    let (reading, whole) = with_range(|reading| read_image(&path, reading));
    let rows = open_rows(&path, &reading).map(|mut rows| {
        let mut pixels = Vec::new();
        let size = rows.size();
        // An image that is read by rows may be larger than one that is decoded at once.
        while pixels.len() < 4 << 20 {
            let band = rows.next_rows(1 + data.len() % 7)?;
            assert_eq!(band.size().width, size.width);
            if band.size().height == 0 {
                break;
            }
            pixels.extend_from_slice(band.data());
        }
        Ok::<_, fmam_core::SourceError>((size, pixels))
    });
    match (whole, rows) {
        (Ok(whole), Ok(Ok((size, pixels)))) => {
            assert_eq!((whole.size(), image_size(&path).unwrap()), (size, size));
            assert!(RgbImage::new(size, pixels).unwrap() == whole, "the rows differ from the image");
            true
        }
        // Only a limit may keep a file from being decoded at once whose rows can be read.
        (Err(DatasetError::TooLarge { .. }), Ok(Ok(_))) => true,
        (Ok(_), rows) => panic!("decoded at once, not by rows: {:?}", rows.map(|rows| rows.map(drop))),
        (Err(whole), Ok(Ok(_))) => panic!("decoded by rows, not at once: {whole:?}"),
        (Err(_), Err(_) | Ok(Err(_))) => false,
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let by_rows = |name: &str| name.ends_with(".png") || name.ends_with(".tif");
    super::image::seeds().into_iter().filter(|(name, _)| by_rows(name)).collect()
}
