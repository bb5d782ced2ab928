//! Image files of every format, from memory.

use std::io::Cursor;
use std::path::Path;

use ::image::{DynamicImage, ImageFormat};
use fmam_core::{ImageSize, Placing, Preparation, Reading, RgbImage, ValueRange};
use fmam_datasets::{
    DatasetError, ImageInput, decode_header, prepare_image, read_image_bytes, resize_image, training_depth,
};

use super::bytes::Seed;

/// Bytes that a decoded image may take, here and in the targets of rows and masks.
pub(super) const LIMIT: u64 = 1 << 20;

const NAME: &str = "fuzzed";

/// The image in `data`, with a range for files of floating-point numbers.
pub(super) fn with_range<T>(
    mut read: impl FnMut(&Reading) -> Result<T, DatasetError>,
) -> (Reading, Result<T, DatasetError>) {
    let plain = Reading { max_bytes: LIMIT, ..Reading::default() };
    let ranged = Reading { values: ValueRange::Between { low: -1.0, high: 2.0 }, ..plain };
    match read(&plain) {
        Err(DatasetError::NoValueRange { .. }) => (ranged, read(&ranged)),
        read => (plain, read),
    }
}

/// An accepted image has the size that its header states, keeps the limit of its bytes, is the same
/// when it is decoded again, and is prepared to the size of a detector.
pub fn image(data: &[u8]) -> bool {
    let header = decode_header(data, NAME);
    let _ = training_depth(1, LIMIT, |_| Some(ImageInput::Bytes(data, NAME)));
    let (reading, decoded) = with_range(|reading| read_image_bytes(data, NAME, reading));
    let Ok(decoded) = decoded else { return false };
    let header = header.expect("an image that is decoded has a header");
    assert_eq!(decoded.size(), header.size());
    assert_eq!(decoded.data().len(), 3 * decoded.size().pixels());
    assert!(header.bytes() <= LIMIT, "{} bytes", header.bytes());
    let again = read_image_bytes(data, NAME, &reading).expect("it was decoded before");
    assert!(again == decoded, "decoded twice, it differs");
    if decoded.size().pixels() > 0 {
        check_sizes(&decoded);
    }
    true
}

/// Brings an image to the size of a detector in every way.
fn check_sizes(decoded: &RgbImage) {
    let size = ImageSize::new(24, 40);
    let resized = resize_image(decoded.clone(), NAME, size).expect("a size with pixels");
    assert_eq!(resized.size(), size);
    let plain = Preparation::new(size);
    for placing in [Placing::Squeeze, Placing::KeepAspect] {
        let preparation = Preparation { placing, ..plain.clone() };
        let prepared = prepare_image(decoded.clone(), NAME, &preparation, None).expect("all pixels count");
        assert_eq!(prepared.image.size(), size);
        assert!(prepared.inside.is_none_or(|inside| inside.size() == size && !inside.is_empty()));
    }
}

/// Images of every format in a few pixels, and those that a reference reads.
pub(super) fn seeds() -> Vec<Seed> {
    let rgb = ::image::RgbImage::from_fn(7, 5, |x, y| ::image::Rgb([40 * x as u8, 50 * y as u8, 9]));
    let rgb = DynamicImage::from(rgb);
    let grey16 = ::image::ImageBuffer::from_fn(6, 4, |x, y| ::image::Luma([700_u16 * (x + y) as u16]));
    let grey16 = DynamicImage::from(grey16);
    let rgba = DynamicImage::from(rgb.to_rgba8());
    let encode = |image: &DynamicImage, format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let mut seeds = vec![
        ("rgb.png".to_owned(), encode(&rgb, ImageFormat::Png)),
        ("grey16.png".to_owned(), encode(&grey16, ImageFormat::Png)),
        ("rgba.png".to_owned(), encode(&rgba, ImageFormat::Png)),
        ("rgb.bmp".to_owned(), encode(&rgb, ImageFormat::Bmp)),
        ("rgb.jpg".to_owned(), encode(&rgb, ImageFormat::Jpeg)),
        ("rgb.tif".to_owned(), encode(&rgb, ImageFormat::Tiff)),
        ("grey16.tif".to_owned(), encode(&grey16, ImageFormat::Tiff)),
        ("rgb.webp".to_owned(), encode(&rgb, ImageFormat::WebP)),
        ("rgb.ppm".to_owned(), encode(&rgb, ImageFormat::Pnm)),
        ("rgb.gif".to_owned(), encode(&rgb, ImageFormat::Gif)),
    ];
    let floats: Vec<f32> = (0..12).map(|at| at as f32 / 10.0 - 0.1).collect();
    seeds.push(("float.tif".to_owned(), super::maps::tiff(4, 3, &floats)));
    let references = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/reference/images"));
    for name in ["exif6.jpg", "exif6.tif", "ycck.jpg", "cmyk_adobe.jpg", "alpha.webp", "first.gif", "l12.pgm"]
    {
        seeds.push((name.to_owned(), std::fs::read(references.join(name)).unwrap()));
    }
    seeds
}
