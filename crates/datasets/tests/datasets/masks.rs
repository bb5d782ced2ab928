//! The values of mask files, and their resizing.

use fmam_core::ImageSize;
use fmam_datasets::{DatasetError, load_mask};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, Rgb32FImage, RgbImage, Rgba};

use crate::miniature::Miniature;

/// The pixels of a mask file of one row, as they are read.
fn read(name: &str, mask: &DynamicImage) -> Result<Vec<u8>, DatasetError> {
    let mini = Miniature::new();
    mini.image("image.png", mask.width(), 1, 0);
    mask.save(mini.path(name)).unwrap();
    let size = ImageSize::new(1, mask.width() as usize);
    load_mask(&mini.path(name), &mini.path("image.png"), size).map(|mask| mask.data().to_vec())
}

fn grey(values: &[u8]) -> DynamicImage {
    GrayImage::from_vec(values.len() as u32, 1, values.to_vec()).unwrap().into()
}

fn grey_16(values: &[u16]) -> DynamicImage {
    ImageBuffer::<Luma<u16>, _>::from_vec(values.len() as u32, 1, values.to_vec()).unwrap().into()
}

#[test]
fn every_pixel_that_is_not_0_is_anomalous() {
    for values in
        [[0, 255, 0, 255], [0, 1, 0, 1], [0, 60, 200, 0], [0, 127, 128, 255], [3, 0, 2, 1], [9, 9, 9, 9]]
    {
        let expected = values.map(|value| u8::from(value > 0));
        assert_eq!(read("mask.png", &grey(&values)).unwrap(), expected, "{values:?}");
        assert_eq!(read("mask.bmp", &grey(&values)).unwrap(), expected, "{values:?}");
        // A 16-bit file has these values in its lower 8 bits; the upper 8 are all 0.
        let wide = values.map(u16::from);
        assert_eq!(read("mask.png", &grey_16(&wide)).unwrap(), expected, "{values:?}");
        assert_eq!(read("mask.tiff", &grey_16(&wide)).unwrap(), expected, "{values:?}");
    }
    assert_eq!(read("mask.png", &grey_16(&[0, 65535, 257, 0])).unwrap(), [0, 1, 1, 0]);
    // Fifteen classes.
    let classes: Vec<u8> = (0..16).collect();
    assert_eq!(read("mask.png", &grey(&classes)).unwrap()[..3], [0, 1, 1]);
}

#[test]
fn class_indices_near_the_end_of_the_range_are_anomalous() {
    let classes = [0, 50, 100, 150, 200, 250];
    assert_eq!(read("mask.png", &grey(&classes)).unwrap(), [0, 1, 1, 1, 1, 1]);
    let sixteen: Vec<u8> = (0..17).map(|k| (15 * k) as u8).collect();
    assert_eq!(read("mask.png", &grey(&sixteen)).unwrap().iter().filter(|&&v| v == 1).count(), 16);
}

#[test]
fn black_is_normal_and_every_colour_anomalous() {
    let colours = [[0, 0, 0], [100, 0, 0], [0, 0, 1], [255, 255, 255]];
    let row = RgbImage::from_fn(4, 1, |x, _| Rgb(colours[x as usize]));
    assert_eq!(read("mask.png", &row.into()).unwrap(), [0, 1, 1, 1]);
    let floats = Rgb32FImage::from_fn(4, 1, |x, _| Rgb([[0.0, 1.0, 0.25, 0.0][x as usize]; 3]));
    assert_eq!(read("mask.tiff", &floats.into()).unwrap(), [0, 1, 1, 0]);
}

/// A PNG file of four pixels whose palette is black, black, dark red and blue.
#[test]
fn a_palette_is_read_by_its_colours() {
    let mini = Miniature::new();
    mini.image("image.png", 4, 1, 0);
    let file = std::fs::File::create(mini.path("mask.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 255]);
    encoder.write_header().unwrap().write_image_data(&[0, 1, 2, 3]).unwrap();
    let mask = load_mask(&mini.path("mask.png"), &mini.path("image.png"), ImageSize::new(1, 4)).unwrap();
    assert_eq!(mask.data(), [0, 0, 1, 1]);
}

#[test]
fn transparent_pixels_are_normal() {
    let (white, clear) = (Rgba([255, 255, 255, 255_u8]), Rgba([255, 255, 255, 0]));
    let row = ImageBuffer::from_fn(3, 1, |x, _| if x == 1 { white } else { clear });
    assert_eq!(read("mask.png", &row.into()).unwrap(), [0, 1, 0]);
    let row = ImageBuffer::from_fn(3, 1, |x, _| LumaA([9_u8, if x == 1 { 128 } else { 0 }]));
    assert_eq!(read("mask.png", &row.into()).unwrap(), [0, 1, 0]);
    // Black strokes on a transparent background mark nothing.
    let row = ImageBuffer::from_fn(3, 1, |x, _| LumaA([0_u8, if x == 1 { 255 } else { 0 }]));
    assert!(matches!(read("mask.png", &row.into()), Err(DatasetError::BlankMask { .. })));
}

#[test]
fn soft_edges_are_cut_at_half_of_the_range() {
    let soft: Vec<u8> = (0..18).map(|k| 15 * k).collect();
    let expected: Vec<u8> = soft.iter().map(|&value| u8::from(value > 127)).collect();
    assert_eq!(read("mask.png", &grey(&soft)).unwrap(), expected);
    // White need not be at the very end.
    assert_eq!(
        read("mask.png", &grey(&soft.iter().map(|&v| v.min(250)).collect::<Vec<_>>())).unwrap(),
        expected
    );
    let wide: Vec<u16> = soft.iter().map(|&value| 257 * u16::from(value)).collect();
    assert_eq!(read("mask.png", &grey_16(&wide)).unwrap(), expected);
    let float = Rgb32FImage::from_fn(18, 1, |x, _| Rgb([f32::from(soft[x as usize]) / 255.0; 3]));
    assert_eq!(read("mask.tiff", &float.into()).unwrap(), expected);
}

#[test]
fn a_compressed_mask_does_not_grow_by_its_ringing() {
    let mask = GrayImage::from_fn(32, 32, |x, y| {
        Luma([if (9..20).contains(&x) && (7..15).contains(&y) { 255 } else { 0 }])
    });
    let mini = Miniature::new();
    mini.image("image.png", 32, 32, 0);
    mask.save(mini.path("mask.jpg")).unwrap();
    let load =
        |name: &str| load_mask(&mini.path(name), &mini.path("image.png"), ImageSize::square(32)).unwrap();
    let pixels = image::open(mini.path("mask.jpg")).unwrap().into_luma8();
    assert!(pixels.as_raw().iter().filter(|&&value| value > 0).count() > 11 * 8, "no ringing to test with");
    assert_eq!(load("mask.jpg").area(), 11 * 8);
    pixels.save(mini.path("again.png")).unwrap();
    assert_eq!(load("again.png").area(), 11 * 8);
}

#[test]
fn values_that_do_not_tell_are_listed() {
    let many: Vec<u8> = (0..20).map(|k| 5 * k).collect();
    for (mask, words) in [
        (grey(&many), "has the values 0, 5, 10, 15, 20, 25, 30, 35 and more,"),
        // Soft edges in the lower 8 of 16 bits.
        (grey_16(&(0..20).map(|k| 12 * k).collect::<Vec<_>>()), "0, 12, 24"),
        // Which of the two is the background?
        (grey(&[60, 200, 200, 60]), "has the values 60, 200,"),
    ] {
        let error = read("mask.png", &mask).unwrap_err();
        assert!(matches!(error, DatasetError::MaskValues { .. }), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains("mask.png"), "{error}");
    }
}

#[test]
fn a_mask_without_a_defect_is_refused() {
    for mask in [grey(&[0; 4]), grey_16(&[0; 4])] {
        let error = read("mask.png", &mask).unwrap_err();
        assert!(
            matches!(&error, DatasetError::BlankMask { mask } if mask.ends_with("mask.png")),
            "{error:?}"
        );
        assert!(error.to_string().contains("not 0"), "{error}");
    }
}

#[test]
fn a_defect_may_vanish_in_resizing() {
    let mini = Miniature::new();
    mini.image("image.png", 4, 4, 0);
    let dot = GrayImage::from_fn(4, 4, |x, y| Luma([if (x, y) == (1, 1) { 255 } else { 0 }]));
    dot.save(mini.path("mask.png")).unwrap();
    let load = |side| load_mask(&mini.path("mask.png"), &mini.path("image.png"), ImageSize::square(side));
    assert_eq!((load(4).unwrap().area(), load(2).unwrap().area()), (1, 0));
}
