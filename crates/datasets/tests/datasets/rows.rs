//! Decoding by rows gives the bytes of decoding at once.

use std::path::Path;

use fmam_core::{ImageSize, Reading, RgbImage};
use fmam_datasets::{DatasetError, open_rows, read_image};
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, Rgba};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use crate::miniature::Miniature;
use crate::peers::folder;

/// All rows of a file, `count` at a time.
fn joined(path: &Path, reading: &Reading, count: usize) -> RgbImage {
    let mut rows = open_rows(path, reading).unwrap();
    let (size, mut data, mut height) = (rows.size(), Vec::new(), 0);
    loop {
        let band = rows.next_rows(count).unwrap();
        assert_eq!(band.size(), ImageSize::new(count.min(size.height - height), size.width));
        height += band.size().height;
        data.extend_from_slice(band.data());
        if band.size().height == 0 {
            return RgbImage::new(size, data).unwrap();
        }
    }
}

#[track_caller]
fn same_by_rows(path: &Path, reading: &Reading) {
    let whole = read_image(path, reading).unwrap();
    for count in [1, 3, 8, 1000] {
        assert_eq!(joined(path, reading, count), whole, "{} by {count}", path.display());
    }
}

fn value(x: u32, y: u32, channel: u32) -> u16 {
    ((x * 7919 + y * y * 104_729 + channel * 31_337) % 65536) as u16
}

/// An image of every colour type.
fn every_type(width: u32, height: u32) -> Vec<(&'static str, DynamicImage)> {
    let deep = |x, y, channel| value(x, y, channel);
    let flat = |x, y, channel| (value(x, y, channel) >> 8) as u8;
    vec![
        ("l8", ImageBuffer::from_fn(width, height, |x, y| Luma([flat(x, y, 0)])).into()),
        ("la8", ImageBuffer::from_fn(width, height, |x, y| LumaA([0, 1].map(|c| flat(x, y, c)))).into()),
        ("rgb8", ImageBuffer::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| flat(x, y, c)))).into()),
        (
            "rgba8",
            ImageBuffer::from_fn(width, height, |x, y| Rgba([0, 1, 2, 3].map(|c| flat(x, y, c)))).into(),
        ),
        ("l16", ImageBuffer::from_fn(width, height, |x, y| Luma([deep(x, y, 0)])).into()),
        ("la16", ImageBuffer::from_fn(width, height, |x, y| LumaA([0, 1].map(|c| deep(x, y, c)))).into()),
        ("rgb16", ImageBuffer::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| deep(x, y, c)))).into()),
        (
            "rgba16",
            ImageBuffer::from_fn(width, height, |x, y| Rgba([0, 1, 2, 3].map(|c| deep(x, y, c)))).into(),
        ),
    ]
}

#[test]
fn every_colour_type_and_odd_sizes_are_the_same_by_rows() {
    let mini = Miniature::new();
    let twelve =
        Reading { values: "12-bit".parse().unwrap(), background: [9, 99, 199], ..Reading::default() };
    for (width, height) in [(1, 1), (7, 5), (64, 17), (3, 40)] {
        for (name, image) in every_type(width, height) {
            for extension in ["png", "tif", "bmp", "jpg"] {
                let path = mini.path(&format!("{name}.{extension}"));
                // The encoder does not state that the fourth sample is alpha.
                if extension == "tif" && name.starts_with("rgba") {
                    continue;
                }
                // A format without the colour type has no file.
                if image.save(&path).is_ok() {
                    same_by_rows(&path, &Reading::default());
                    same_by_rows(&path, &twelve);
                }
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

#[test]
fn every_file_of_the_fixtures_is_the_same_by_rows() {
    let reading = Reading { background: [1, 2, 3], ..Reading::default() };
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if fmam_datasets::has_image_extension(&path) {
            same_by_rows(&path, &reading);
            files += 1;
        }
    }
    assert!(files > 20);
}

#[test]
fn strips_of_numbers_of_each_kind_are_the_same_by_rows() {
    let mini = Miniature::new();
    let path = mini.path("a.tif");
    let range = Reading { values: "-1,2".parse().unwrap(), ..Reading::default() };
    let numbers: Vec<f32> = (0..3 * 11 * 23).map(|index| (index % 97) as f32 / 30.0 - 1.2).collect();
    for rows_per_strip in [1, 4, 23] {
        let mut file = std::fs::File::create(&path).unwrap();
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        let mut image = encoder.new_image::<colortype::RGB32Float>(11, 23).unwrap();
        image.rows_per_strip(rows_per_strip).unwrap();
        image.write_data(&numbers).unwrap();
        same_by_rows(&path, &range);
        let error = open_rows(&path, &Reading::default()).err().unwrap();
        assert!(matches!(error, DatasetError::NoValueRange { .. }), "{error:?}");
    }
    let mut file = std::fs::File::create(&path).unwrap();
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<colortype::Gray64Float>(2, 2, &[0.0, 0.5, f64::NAN, 1.0]).unwrap();
    let mut rows = open_rows(&path, &range).unwrap();
    let error = rows.next_rows(2).unwrap_err();
    assert!(error.to_string().contains("a.tif") && error.to_string().contains("NaN"), "{error}");
}

/// A grey TIFF file in tiles of 16 pixels, without compression.
fn tiled(width: u16, height: u16, pixel: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let (across, down) = (usize::from(width).div_ceil(16), usize::from(height).div_ceil(16));
    let (count, tile_bytes) = (across * down, 256_u32);
    let entries: [(Tag, u16, u32, u32); 11] = [
        (Tag::ImageWidth, 3, 1, width.into()),
        (Tag::ImageLength, 3, 1, height.into()),
        (Tag::BitsPerSample, 3, 1, 8),
        (Tag::Compression, 3, 1, 1),
        (Tag::PhotometricInterpretation, 3, 1, 1),
        (Tag::SamplesPerPixel, 3, 1, 1),
        (Tag::TileWidth, 3, 1, 16),
        (Tag::TileLength, 3, 1, 16),
        (Tag::TileOffsets, 4, count as u32, 8 + 2 + 11 * 12 + 4),
        (Tag::TileByteCounts, 4, count as u32, 8 + 2 + 11 * 12 + 4 + 4 * count as u32),
        (Tag::SampleFormat, 3, 1, 1),
    ];
    let mut file = b"II*\0\x08\0\0\0\x0b\0".to_vec();
    for (tag, kind, length, value) in entries {
        file.extend(tag.to_u16().to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(length.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    let pixels = file.len() as u32 + 8 * count as u32;
    (0..count as u32).for_each(|tile| file.extend((pixels + tile * tile_bytes).to_le_bytes()));
    (0..count).for_each(|_| file.extend(tile_bytes.to_le_bytes()));
    for tile in 0..count {
        let (top, left) = (tile / across * 16, tile % across * 16);
        file.extend((0..256).map(|index| pixel(top + index / 16, left + index % 16)));
    }
    file
}

#[test]
fn tiles_are_joined_row_by_row() {
    let mini = Miniature::new();
    let pixel = |y: usize, x: usize| ((31 * y + 17 * x * x) % 256) as u8;
    for (width, height) in [(50, 37), (32, 16), (5, 40), (33, 3)] {
        mini.write("tiles.tif", &tiled(width, height, pixel));
        let path = mini.path("tiles.tif");
        let size = ImageSize::new(height.into(), width.into());
        let expected = RgbImage::from_fn(size, |y, x| [pixel(y, x); 3]);
        assert_eq!(read_image(&path, &Reading::default()).unwrap(), expected);
        same_by_rows(&path, &Reading::default());
    }
}

#[test]
fn the_limit_is_that_of_the_rows_which_are_held() {
    let mini = Miniature::new();
    let image = image::RgbImage::from_fn(40, 300, |x, y| Rgb([x as u8, y as u8, 3]));
    let few = Reading { max_bytes: 4 * 3 * 40, ..Reading::default() };
    image.save(mini.path("a.png")).unwrap();
    let mut file = std::fs::File::create(mini.path("a.tif")).unwrap();
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    let mut strips = encoder.new_image::<colortype::RGB8>(40, 300).unwrap();
    strips.rows_per_strip(4).unwrap();
    strips.write_data(image.as_raw()).unwrap();
    for name in ["a.tif", "a.png"] {
        let path = mini.path(name);
        assert!(matches!(read_image(&path, &few), Err(DatasetError::TooLarge { .. })), "{name}");
        let mut rows = open_rows(&path, &few).unwrap();
        let error = rows.next_rows(5).unwrap_err();
        assert!(error.to_string().contains(name) && error.to_string().contains("limit"), "{error}");
        assert_eq!(joined(&path, &few, 4), read_image(&path, &Reading::default()).unwrap(), "{name}");
    }
    image.save(mini.path("strip.tif")).unwrap();
    let tiny = Reading { max_bytes: 100, ..Reading::default() };
    assert!(matches!(open_rows(&mini.path("strip.tif"), &tiny), Err(DatasetError::TooLarge { .. })));
}

#[test]
fn a_truncated_file_is_an_error_of_a_later_row() {
    let mini = Miniature::new();
    let noise = image::RgbImage::from_fn(64, 64, |x, y| Rgb([0, 1, 2].map(|c| (value(x, y, c) >> 8) as u8)));
    for name in ["a.png", "a.tif"] {
        noise.save(mini.path(name)).unwrap();
        let bytes = std::fs::read(mini.path(name)).unwrap();
        mini.write(name, &bytes[..bytes.len() / 2]);
        let fault = match open_rows(&mini.path(name), &Reading::default()) {
            Ok(mut rows) => (0..64).find_map(|_| rows.next_rows(1).err()).unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(fault.contains(name), "{fault}");
    }
}

/// The fuzz target `rows` found it: the pixels were all there, and nobody read on to the checksum.
#[test]
fn a_png_file_is_whole_by_rows_where_it_is_at_once() {
    let mini = Miniature::new();
    let small = image::RgbaImage::from_fn(7, 5, |x, y| Rgba([0, 1, 2, 3].map(|c| value(x, y, c) as u8)));
    small.save(mini.path("a.png")).unwrap();
    let bytes = std::fs::read(mini.path("a.png")).unwrap();
    let path = mini.path("b.png");
    let is_whole_by_rows = || {
        let Ok(mut rows) = open_rows(&path, &Reading::default()) else { return false };
        (0..5).all(|_| rows.next_rows(1).is_ok())
    };
    let mut n_refused = 0;
    let mut check = |bytes: &[u8], what: &str| {
        mini.write("b.png", bytes);
        let at_once = read_image(&path, &Reading::default()).is_ok();
        assert_eq!(is_whole_by_rows(), at_once, "{what}");
        n_refused += usize::from(!at_once);
    };
    for length in 0..bytes.len() {
        check(&bytes[..length], &format!("{length} of {} bytes", bytes.len()));
        let mut flipped = bytes.clone();
        flipped[length] ^= 0x10;
        check(&flipped, &format!("byte {length} is another"));
    }
    assert!(n_refused > bytes.len(), "{n_refused}");
}
