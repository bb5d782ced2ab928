//! Mask files, of defects and of regions of interest.

use std::io::Cursor;

use ::image::{DynamicImage, GrayImage, ImageFormat, Luma};
use fmam_core::{ImageSize, Preparation, RegionOfInterest, RgbImage};
use fmam_datasets::{DatasetError, Regions, image_header, load_mask, load_region, prepare_image};

use super::bytes::Seed;
use super::image::LIMIT;
use super::scratch::{scratch, write};

/// An accepted mask has a pixel of a defect and the size that is asked for. An accepted region has
/// a pixel, and a prepared image has its colour outside of it.
pub fn mask(data: &[u8]) -> bool {
    let folder = scratch();
    let path = write(&folder, "mask", data);
    let Ok(header) = image_header(&path) else { return false };
    if header.bytes() > LIMIT {
        return false;
    }
    let size = header.size();
    let mask = load_mask(&path, &path, size);
    let region = load_region(&path, LIMIT);
    if let Ok(mask) = &mask {
        assert!(mask.size() == size && !mask.is_empty());
        assert!(*mask == load_mask(&path, &path, size).unwrap(), "read twice, it differs");
        let small = load_mask(&path, &path, ImageSize::new(9, 5)).unwrap();
        assert_eq!(small.size(), ImageSize::new(9, 5));
    }
    if let Ok(region) = &region {
        assert_eq!(region.size(), size);
        check_region(region.clone(), size);
    }
    mask.is_ok() || region.is_ok()
}

fn check_region(region: fmam_core::Mask, size: ImageSize) {
    let regions = Regions::new(&RegionOfInterest::One(region), LIMIT);
    let Ok(Some(region)) = regions.of("image.png".as_ref(), size) else { return };
    assert!(!region.is_empty());
    let image = RgbImage::filled(size, [1, 2, 3]);
    let preparation = Preparation::new(ImageSize::new(16, 32));
    match prepare_image(image, "image.png", &preparation, Some(&region)) {
        Ok(prepared) => {
            let Some(inside) = prepared.inside else { return };
            for (y, x) in (0..16).flat_map(|y| (0..32).map(move |x| (y, x))) {
                let is_filled = prepared.image.pixel(y, x) == Preparation::FILL;
                assert!(inside.at(y, x) || is_filled, "a pixel outside shows: {y}, {x}");
            }
        }
        Err(DatasetError::EmptyRegion { .. }) => {}
        Err(error) => panic!("a region of the size of its image: {error:?}"),
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let encode = |image: &DynamicImage, format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let square = |value: u8| {
        GrayImage::from_fn(12, 10, |x, y| Luma([if (3..8).contains(&x) && y > 4 { value } else { 0 }]))
    };
    let soft = GrayImage::from_fn(12, 20, |x, y| Luma([(21 * x + y) as u8]));
    vec![
        ("white.png".to_owned(), encode(&square(255).into(), ImageFormat::Png)),
        ("index.bmp".to_owned(), encode(&square(1).into(), ImageFormat::Bmp)),
        ("white.jpg".to_owned(), encode(&square(255).into(), ImageFormat::Jpeg)),
        ("soft.tif".to_owned(), encode(&soft.into(), ImageFormat::Tiff)),
        ("white.gif".to_owned(), encode(&DynamicImage::from(square(255)).to_rgb8().into(), ImageFormat::Gif)),
    ]
}
