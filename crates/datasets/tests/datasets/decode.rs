//! Colour types, resizing, damaged files.

use std::error::Error;

use fmam_core::ImageSize;
use fmam_datasets::{DatasetError, decode_image, load_image, resize_image, resize_mask};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};

use crate::miniature::Miniature;

#[test]
fn every_colour_type_becomes_8_bit_rgb() {
    let mini = Miniature::new();
    let files: [(&str, DynamicImage, [u8; 3]); 7] = [
        ("l8.png", GrayImage::from_pixel(3, 2, Luma([70])).into(), [70; 3]),
        ("la8.png", ImageBuffer::from_pixel(3, 2, LumaA([70_u8, 255])).into(), [70; 3]),
        ("l16.png", ImageBuffer::from_pixel(3, 2, Luma([70 * 257_u16])).into(), [70; 3]),
        ("rgb8.bmp", RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])).into(), [1, 2, 3]),
        ("rgba8.png", ImageBuffer::from_pixel(3, 2, Rgba([1_u8, 2, 3, 255])).into(), [1, 2, 3]),
        ("rgb16.tiff", ImageBuffer::from_pixel(3, 2, Rgb([257_u16, 514, 771])).into(), [1, 2, 3]),
        ("l8.jpg", GrayImage::from_pixel(3, 2, Luma([70])).into(), [70; 3]),
    ];
    for (name, image, colour) in files {
        image.save(mini.path(name)).unwrap();
        let loaded = load_image(&mini.path(name), None).unwrap();
        assert_eq!(loaded.size(), ImageSize::new(2, 3), "{name}");
        assert_eq!(loaded.pixel(1, 2), colour, "{name}");
    }
}

#[test]
fn the_content_counts_not_the_extension() {
    let mini = Miniature::new();
    mini.image("a.bmp", 5, 4, 1);
    std::fs::rename(mini.path("a.bmp"), mini.path("a.png")).unwrap();
    assert_eq!(load_image(&mini.path("a.png"), None).unwrap().size(), ImageSize::new(4, 5));
}

/// The image of the Pillow script below.
fn pattern() -> RgbImage {
    RgbImage::from_fn(7, 5, |x, y| {
        Rgb([0, 1, 2].map(|c: u32| ((31 * y + 17 * x * x + 7 * c * x + 40 * c) % 256) as u8))
    })
}

/// The expected values are the first of what Pillow 13.0 gives by
/// ```python
/// pixel = lambda y, x, c: (31*y + 17*x*x + 7*c*x + 40*c) % 256
/// a = np.array([[[pixel(y, x, c) for c in range(3)] for x in range(7)] for y in range(5)], np.uint8)
/// np.array(Image.fromarray(a).resize((width, height), Image.BILINEAR)).reshape(-1)
/// ```
#[test]
fn resizing_is_that_of_pillow() {
    let mini = Miniature::new();
    pattern().save(mini.path("a.png")).unwrap();
    let shrunk = [53, 99, 143, 124, 147, 123, 138, 140, 93, 115, 161, 167, 142, 132, 125, 125, 104, 138];
    let enlarged = [
        0, 40, 80, 11, 56, 101, 40, 90, 140, 87, 142, 141, 153, 214, 19, 46, 113, 122, 101, 173, 103, 146,
        223, 45, 100, 182, 8, 14, 54, 94, 25, 70, 115, 54, 104, 154, 101, 156, 155, 167, 228, 33, 60, 127,
        136,
    ];
    for (size, expected) in [(ImageSize::new(2, 3), &shrunk[..]), (ImageSize::new(8, 9), &enlarged[..])] {
        let resized = load_image(&mini.path("a.png"), Some(size)).unwrap();
        assert_eq!(resized.size(), size);
        for (k, (&actual, &expected)) in resized.data().iter().zip(expected).enumerate() {
            assert!(actual.abs_diff(expected) <= 1, "{size}, element {k}: {actual}, Pillow {expected}");
        }
    }
}

#[test]
fn bytes_and_pixels_become_what_the_file_becomes() {
    let mini = Miniature::new();
    mini.image("a.png", 5, 4, 3);
    let path = mini.path("a.png");
    let size = ImageSize::new(3, 7);
    let of_file = load_image(&path, Some(size)).unwrap();
    assert_eq!(decode_image(&std::fs::read(&path).unwrap(), "memory", Some(size)).unwrap(), of_file);
    let whole = load_image(&path, None).unwrap();
    assert_eq!(resize_image(whole, "memory", size).unwrap(), of_file);
    let error = decode_image(b"no image", "upload 7", Some(size)).unwrap_err();
    assert!(error.to_string().contains("upload 7"), "{error}");
    let empty = fmam_core::RgbImage::filled(ImageSize::new(0, 3), [0; 3]);
    assert!(matches!(resize_image(empty, "x", size), Err(DatasetError::NoPixels { .. })));
    let mask = fmam_core::Mask::from_fn(ImageSize::new(2, 4), |_, x| x < 2);
    assert_eq!(resize_mask(&mask, ImageSize::new(1, 2)).data(), [1, 0]);
}

#[test]
fn a_truncated_file_of_any_format_is_an_error_that_names_it() {
    let mini = Miniature::new();
    // Noise, so that the files are long and a cut anywhere loses pixels.
    let noise = RgbImage::from_fn(64, 64, |x, y| {
        Rgb([0, 1, 2].map(|c: u32| ((x * 7919 + y * y * 104_729 + c * 31) % 251) as u8))
    });
    for name in ["a.png", "a.jpg", "a.bmp", "a.tiff"] {
        noise.save(mini.path(name)).unwrap();
        assert!(load_image(&mini.path(name), None).is_ok(), "{name}");
        let bytes = std::fs::read(mini.path(name)).unwrap();
        for part in [bytes.len() / 20, bytes.len() / 2, bytes.len() * 9 / 10] {
            mini.write(name, &bytes[..part]);
            let error = load_image(&mini.path(name), None).expect_err(name);
            assert!(
                matches!(error, DatasetError::Decode { .. } | DatasetError::Truncated { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn a_file_that_is_no_image_is_an_error_that_names_it_and_says_why() {
    let mini = Miniature::new();
    mini.write("page.png", b"<html>404 Not Found</html>");
    let error = load_image(&mini.path("page.png"), None).unwrap_err();
    assert!(matches!(error, DatasetError::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("page.png") && error.source().is_some());
    let absent = load_image(&mini.path("absent.png"), None).unwrap_err();
    assert!(matches!(absent, DatasetError::Read { .. }), "{absent:?}");
}
