//! Depths, floating-point numbers, transparency, orientation, limits: files of every kind that a
//! camera or a program writes.

use std::io::Cursor;
use std::path::Path;

use fmam_core::{ImageSize, Mask, Reading, ValueRange};
use fmam_datasets::{
    Choice, DatasetError, ImageInput, PixelKind, choices_told, image_header, image_size, load_image,
    load_mask, read_image, read_image_bytes, training_depth,
};
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, GrayImage, ImageBuffer, ImageEncoder, ImageFormat, Luma, LumaA, Rgb,
    RgbImage, Rgba,
};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use crate::miniature::Miniature;
use crate::notices::told;

fn reading(range: &str) -> Reading {
    Reading { values: range.parse().unwrap(), ..Reading::default() }
}

/// A grey 16-bit file of one row.
fn deep(mini: &Miniature, name: &str, values: &[u16]) {
    let image = ImageBuffer::<Luma<u16>, _>::from_vec(values.len() as u32, 1, values.to_vec()).unwrap();
    image.save(mini.path(name)).unwrap();
}

/// A TIFF file of one row.
fn tiff_row<C: colortype::ColorType>(path: &Path, width: u32, values: &[C::Inner])
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut file = std::fs::File::create(path).unwrap();
    TiffEncoder::new(&mut file).unwrap().write_image::<C>(width, 1, values).unwrap();
}

fn greys(image: &fmam_core::RgbImage) -> Vec<u8> {
    assert!(image.data().chunks(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    image.data().iter().copied().step_by(3).collect()
}

#[test]
fn sixteen_bits_are_scaled_by_the_stated_depth_and_values_beyond_are_told() {
    let mini = Miniature::new();
    for name in ["a.png", "a.tif"] {
        deep(&mini, name, &[0, 8, 9, 2048, 4095]);
        let path = mini.path(name);
        let (image, lines) = told(|| read_image(&path, &reading("12-bit")).unwrap());
        assert_eq!((greys(&image), lines.len()), (vec![0, 0, 1, 128, 255], 0));
        let (image, lines) = told(|| read_image(&path, &reading("10-bit")).unwrap());
        assert_eq!(greys(&image), [0, 2, 2, 255, 255]);
        assert!(lines.len() == 1 && lines[0].contains(name) && lines[0].contains("10-bit"), "{lines:?}");
        assert_eq!(told(|| read_image(&path, &reading("10-bit")).unwrap()).1, Vec::<String>::new());
        assert_eq!(greys(&read_image(&path, &reading("0,4095")).unwrap()), [0, 0, 1, 128, 255]);
        assert_eq!(greys(&read_image(&path, &reading("8,9")).unwrap()), [0, 0, 255, 255, 255]);
    }
}

#[test]
fn a_single_file_of_few_levels_is_told() {
    let mini = Miniature::new();
    deep(&mini, "dark.png", &[0, 4095]);
    let (image, lines) = told(|| load_image(&mini.path("dark.png"), None).unwrap());
    assert_eq!(greys(&image), [0, 16]);
    assert!(
        lines.len() == 1 && lines[0].contains("dark.png") && lines[0].contains("4096 of 65536"),
        "{lines:?}"
    );
    assert!(lines[0].contains("12-bit"), "{lines:?}");
    deep(&mini, "bright.png", &[0, 8192]);
    assert_eq!(told(|| load_image(&mini.path("bright.png"), None).unwrap()).1, Vec::<String>::new());
    mini.image("eight.png", 2, 2, 1);
    assert_eq!(told(|| load_image(&mini.path("eight.png"), None).unwrap()).1, Vec::<String>::new());
}

#[test]
fn eight_bits_are_never_scaled() {
    let mini = Miniature::new();
    mini.image("a.png", 5, 4, 3);
    let plain = load_image(&mini.path("a.png"), None).unwrap();
    for range in ["12-bit", "0,4095", "0,1"] {
        assert_eq!(read_image(&mini.path("a.png"), &reading(range)).unwrap(), plain);
    }
}

#[test]
fn floating_point_numbers_need_a_range() {
    let mini = Miniature::new();
    let (grey, colour, double) = (mini.path("grey.tif"), mini.path("colour.tif"), mini.path("double.tif"));
    tiff_row::<colortype::Gray32Float>(&grey, 4, &[-0.5, 0.0, 0.5, 2.5]);
    tiff_row::<colortype::RGB32Float>(&colour, 1, &[0.25, 1.0, 3.0]);
    tiff_row::<colortype::Gray64Float>(&double, 2, &[0.5, 1.0]);
    let error = read_image(&grey, &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::NoValueRange { lowest: -0.5, highest: 2.5, .. }), "{error:?}");
    assert!(error.to_string().contains("grey.tif"), "{error}");
    assert!(matches!(read_image(&grey, &reading("12-bit")), Err(DatasetError::NoValueRange { .. })));
    let (image, lines) = told(|| read_image(&grey, &reading("0,1")).unwrap());
    assert_eq!(greys(&image), [0, 0, 128, 255]);
    assert!(lines.len() == 1 && lines[0].contains("grey.tif"), "{lines:?}");
    assert_eq!(read_image(&colour, &reading("0,1")).unwrap().pixel(0, 0), [64, 255, 255]);
    assert_eq!(greys(&read_image(&double, &reading("0,1")).unwrap()), [128, 255]);

    tiff_row::<colortype::Gray32Float>(&grey, 2, &[f32::NAN, 1.0]);
    for range in ["auto", "0,1"] {
        let error = read_image(&grey, &reading(range)).unwrap_err();
        assert!(matches!(error, DatasetError::NotANumber { .. }), "{error:?}");
    }
}

#[test]
fn other_numbers_are_refused_by_their_kind() {
    let mini = Miniature::new();
    let path = mini.path("a.tif");
    tiff_row::<colortype::GrayI16>(&path, 2, &[-1, 1]);
    let kind = |kind: PixelKind| {
        let error = read_image(&path, &Reading::default()).unwrap_err();
        assert!(matches!(&error, DatasetError::PixelKind { kind: found, .. } if *found == kind), "{error:?}");
        assert!(error.to_string().contains("a.tif"), "{error}");
    };
    kind(PixelKind::Signed { bits: 16 });
    tiff_row::<colortype::Gray32>(&path, 2, &[1, 2]);
    kind(PixelKind::Unsigned { bits: 32 });
    tiff_row::<colortype::RGB32>(&path, 1, &[1, 2, 3]);
    kind(PixelKind::Unsigned { bits: 32 });
    // The encoder does not state that the fourth sample is alpha.
    tiff_row::<colortype::RGBA8>(&path, 1, &[1, 2, 3, 4]);
    kind(PixelKind::UnstatedSample { count: 4 });
}

#[test]
fn what_lies_under_transparent_pixels_does_not_matter() {
    let mini = Miniature::new();
    let over = |name: &str, image: DynamicImage, background| {
        image.save(mini.path(name)).unwrap();
        let reading = Reading { background, ..Reading::default() };
        let (image, lines) = told(|| read_image(&mini.path(name), &reading).unwrap());
        (image.pixel(0, 0), lines.len())
    };
    let mut is_first = true;
    for background in [[0; 3], [124, 116, 104]] {
        for hidden in [[0, 0, 0], [255, 9, 200]] {
            let [r, g, b] = hidden;
            let rgba = ImageBuffer::from_pixel(2, 1, Rgba([r, g, b, 0_u8]));
            let (pixel, n_lines) = over("rgba8.png", rgba.into(), background);
            // The first transparent image of a folder is told.
            assert_eq!((pixel, n_lines), (background, usize::from(is_first)));
            is_first = false;
            let rgba = ImageBuffer::from_pixel(2, 1, Rgba([r, g, b, 0].map(|v| 257 * u16::from(v))));
            // All is transparent, so that no level is used.
            assert_eq!(over("rgba16.png", rgba.into(), background).0, background);
            let grey = ImageBuffer::from_pixel(2, 1, LumaA([r, 0_u8]));
            assert_eq!(over("la8.png", grey.into(), background).0, background);
        }
    }
    let half = ImageBuffer::from_pixel(1, 1, Rgba([100_u8, 200, 50, 128]));
    assert_eq!(over("half.png", half.into(), [0, 100, 255]).0, [50, 150, 152]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgba([100 * 257_u16, 200 * 257, 50 * 257, 128 * 257]));
    assert_eq!(over("deep.png", deep.into(), [0, 100, 255]).0, [50, 150, 152]);
}

#[test]
fn a_hidden_value_does_not_decide_the_depth() {
    let mini = Miniature::new();
    let pixels = [[900, 65535], [60_000, 0]].concat();
    let image = ImageBuffer::<LumaA<u16>, _>::from_vec(2, 1, pixels).unwrap();
    image.save(mini.path("a.png")).unwrap();
    let path = mini.path("a.png");
    let depth = training_depth(1, 1 << 20, |_| Some(ImageInput::File(&path))).unwrap().unwrap();
    assert_eq!((depth.bits, depth.highest), (10, 900));
    let (_, lines) = told(|| read_image(&path, &reading("10-bit")).unwrap());
    assert!(lines.len() == 1 && lines[0].contains("transparent"), "{lines:?}");
}

#[test]
fn an_opaque_alpha_is_not_told_and_a_transparent_one_once_a_folder() {
    let mini = Miniature::new();
    let save = |name: &str, alpha: u8| {
        ImageBuffer::from_pixel(2, 2, Rgba([9, 9, 9, alpha])).save(mini.path(name)).unwrap();
        told(|| load_image(&mini.path(name), None).unwrap()).1
    };
    assert_eq!(save("opaque.png", 255), Vec::<String>::new());
    let lines = save("glass.png", 254);
    assert!(lines.len() == 1 && lines[0].contains("glass.png") && lines[0].contains("0,0,0"), "{lines:?}");
    assert_eq!(save("other.png", 9), Vec::<String>::new());
    // A record has both.
    let paths = ["opaque.png", "glass.png", "other.png"].map(|name| mini.path(name));
    let found = choices_told(paths.iter().map(std::path::PathBuf::as_path));
    assert_eq!((found.len(), found[0].choice, found[0].n), (1, Choice::Transparent, 2));
    assert_eq!(found[0].path, paths[1]);
}

#[test]
fn the_depth_of_a_training_set_is_that_of_its_highest_value() {
    let mini = Miniature::new();
    mini.image("eight.png", 3, 3, 0);
    deep(&mini, "a.png", &[0, 1023]);
    deep(&mini, "b.tif", &[7, 3000]);
    deep(&mini, "c.png", &[3000, 1]);
    let bytes = std::fs::read(mini.path("b.tif")).unwrap();
    let paths = ["eight.png", "a.png", "b.tif", "c.png"].map(|name| mini.path(name));
    let find = |n| training_depth(n, 1 << 20, |index| Some(ImageInput::File(&paths[index]))).unwrap();
    assert_eq!(find(1), None);
    assert_eq!(find(2).map(|depth| depth.bits), Some(10));
    let depth = find(4).unwrap();
    assert_eq!((depth.bits, depth.highest, depth.name), (12, 3000, paths[2].clone()));
    assert_eq!((depth.n_files, depth.most_bits, depth.n_most), (3, 12, 3));
    let memory =
        training_depth(2, 1 << 20, |index| (index == 1).then_some(ImageInput::Bytes(&bytes, "upload")));
    assert_eq!(memory.unwrap().unwrap().name, Path::new("upload"));
    mini.write("a.png", b"no image");
    let error = training_depth(4, 1 << 20, |index| Some(ImageInput::File(&paths[index]))).unwrap_err();
    assert!(error.to_string().contains("a.png"), "{error}");
}

/// A PNG or TIFF file of `image` whose EXIF data state `orientation`.
fn save_turned(path: &Path, image: &RgbImage, orientation: u8) {
    let (width, height) = image.dimensions();
    let mut file = Cursor::new(Vec::new());
    if path.extension().is_some_and(|extension| extension == "tif") {
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        let mut encoder = encoder.new_image::<colortype::RGB8>(width, height).unwrap();
        encoder.encoder().write_tag(Tag::Orientation, u16::from(orientation)).unwrap();
        encoder.write_data(image.as_raw()).unwrap();
    } else {
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8).unwrap();
    }
    std::fs::write(path, file.into_inner()).unwrap();
}

/// EXIF data of one entry, little-endian.
fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
}

/// An upright gradient and the way in which a camera stores it under each orientation.
fn stored(orientation: u8, upright: &RgbImage) -> RgbImage {
    // The two quarter turns undo each other, every other orientation undoes itself.
    let inverse = match orientation {
        6 => 8,
        8 => 6,
        same => same,
    };
    let mut image = DynamicImage::from(upright.clone());
    image.apply_orientation(Orientation::from_exif(inverse).unwrap());
    image.into_rgb8()
}

#[test]
fn an_orientation_is_applied_and_decides_the_size() {
    let mini = Miniature::new();
    let upright = RgbImage::from_fn(5, 3, |x, y| Rgb([50 * x as u8, 80 * y as u8, 7]));
    upright.save(mini.path("upright.png")).unwrap();
    let expected = load_image(&mini.path("upright.png"), None).unwrap();
    for orientation in 1..=8 {
        for name in ["turned.png", "turned.tif"] {
            let path = mini.path(name);
            save_turned(&path, &stored(orientation, &upright), orientation);
            assert_eq!(image_size(&path).unwrap(), ImageSize::new(3, 5), "{orientation}");
            assert_eq!(image_header(&path).unwrap().orientation(), orientation);
            assert_eq!(load_image(&path, None).unwrap(), expected, "{name}, orientation {orientation}");
        }
    }
}

#[test]
fn a_mask_is_turned_with_its_image_where_its_size_says_so() {
    let mini = Miniature::new();
    let (image, mask) = (mini.path("image.png"), mini.path("mask.png"));
    let upright = RgbImage::from_fn(5, 3, |x, _| Rgb([50 * x as u8; 3]));
    // The defect is the left column of the upright image.
    let drawn = GrayImage::from_fn(5, 3, |x, _| Luma([if x == 0 { 255 } else { 0 }]));
    let size = ImageSize::new(3, 5);
    let expected = Mask::from_fn(size, |_, x| x == 0);
    for orientation in [5, 6, 7, 8] {
        save_turned(&image, &stored(orientation, &upright), orientation);
        drawn.save(&mask).unwrap();
        let (loaded, lines) = told(|| load_mask(&mask, &image, size).unwrap());
        assert_eq!((loaded, lines.len()), (expected.clone(), 0), "drawn upright, {orientation}");
        let turned = stored(orientation, &DynamicImage::from(drawn.clone()).into_rgb8());
        turned.save(&mask).unwrap();
        let (loaded, lines) = told(|| load_mask(&mask, &image, size).unwrap());
        assert_eq!((loaded, lines.len()), (expected.clone(), 0), "drawn on the stored pixels, {orientation}");
        save_turned(&mask, &turned, orientation);
        assert_eq!(load_mask(&mask, &image, size).unwrap(), expected, "with EXIF data, {orientation}");
    }
    GrayImage::from_pixel(4, 3, Luma([255])).save(&mask).unwrap();
    let error = load_mask(&mask, &image, size).unwrap_err();
    assert!(matches!(error, DatasetError::MaskSize { image_size, .. } if image_size == size), "{error:?}");
}

#[test]
fn a_mask_whose_size_says_nothing_is_taken_as_it_is_and_told() {
    let mini = Miniature::new();
    let square = RgbImage::from_fn(4, 4, |x, y| Rgb([50 * x as u8, 60 * y as u8, 0]));
    for (orientation, name) in [(6, "square"), (3, "half-turn")] {
        let (image, mask) = (mini.path(&format!("{name}.png")), mini.path(&format!("{name}_mask.png")));
        save_turned(&image, &square, orientation);
        mini.mask(&format!("{name}_mask.png"), 4, 4);
        let (loaded, lines) = told(|| load_mask(&mask, &image, ImageSize::square(4)).unwrap());
        assert_eq!(loaded, Mask::from_fn(ImageSize::square(4), |_, x| x < 2));
        assert!(lines.len() == 1 && lines[0].contains(name) && lines[0].contains("EXIF"), "{lines:?}");
        assert!(told(|| load_mask(&mask, &image, ImageSize::square(4)).unwrap()).1.is_empty());
    }
}

#[test]
fn a_second_frame_or_page_is_told() {
    let mini = Miniature::new();
    let pages = mini.path("pages.tif");
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<colortype::Gray8>(2, 1, &[10, 20]).unwrap();
    encoder.write_image::<colortype::Gray8>(2, 1, &[30, 40]).unwrap();
    std::fs::write(&pages, file.into_inner()).unwrap();
    let (image, lines) = told(|| load_image(&pages, None).unwrap());
    assert_eq!(greys(&image), [10, 20]);
    assert!(lines.len() == 1 && lines[0].contains("pages.tif") && lines[0].contains("first"), "{lines:?}");
    assert!(told(|| load_image(&pages, None).unwrap()).1.is_empty());

    let animated = mini.path("animated.gif");
    let mut encoder = image::codecs::gif::GifEncoder::new(std::fs::File::create(&animated).unwrap());
    for level in [0_u8, 255] {
        let frame = ImageBuffer::from_pixel(2, 2, Rgba([level, level, level, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let (image, lines) = told(|| load_image(&animated, None).unwrap());
    assert_eq!(image.pixel(1, 1), [0; 3]);
    assert!(lines.len() == 1 && lines[0].contains("animated.gif"), "{lines:?}");
}

/// A PNG file whose header states a size, without pixels.
fn giant(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    GrayImage::new(1, 1).write_to(&mut bytes, ImageFormat::Png).unwrap();
    let mut bytes = bytes.into_inner();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The check sum of a PNG chunk, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let next = |sum: u32| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| next(sum)))
}

#[test]
fn an_image_beyond_the_limit_is_refused_by_its_header() {
    let mini = Miniature::new();
    mini.write("giant.png", &giant(100_000, 50_000));
    let error = load_image(&mini.path("giant.png"), None).unwrap_err();
    assert!(
        matches!(error, DatasetError::TooLarge { needed: 5_000_000_000, limit, .. } if limit == 512 << 20),
        "{error:?}"
    );
    let message = error.to_string();
    for part in ["giant.png", "50000x100000", "4769 MiB", "512 MiB", "setting"] {
        assert!(message.contains(part), "{message}");
    }
    // Each format, at the byte of its limit.
    let image = RgbImage::from_pixel(10, 7, Rgb([9, 9, 9]));
    for name in ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm"] {
        image.save(mini.path(name)).unwrap();
        let limited = |max_bytes| read_image(&mini.path(name), &Reading { max_bytes, ..Reading::default() });
        let needed = if name == "a.jpg" {
            3 * 70.max(std::fs::metadata(mini.path(name)).unwrap().len().div_ceil(3))
        } else {
            210
        };
        assert!(limited(needed).is_ok(), "{name}: {:?}", limited(needed));
        assert!(matches!(limited(209), Err(DatasetError::TooLarge { .. })), "{name}");
    }
    mini.write("mask.png", &giant(100_000, 50_000));
    let error = load_mask(&mini.path("mask.png"), &mini.path("giant.png"), ImageSize::square(4)).unwrap_err();
    assert!(matches!(error, DatasetError::TooLarge { .. }), "{error:?}");
}

#[test]
fn only_a_regular_file_is_opened() {
    let mini = Miniature::new();
    std::fs::create_dir(mini.path("folder.png")).unwrap();
    let error = load_image(&mini.path("folder.png"), None).unwrap_err();
    assert!(matches!(error, DatasetError::NotAFile { .. }), "{error:?}");
    #[cfg(unix)]
    {
        let made = std::process::Command::new("mkfifo").arg(mini.path("pipe.png")).status();
        if made.is_ok_and(|status| status.success()) {
            let error = load_image(&mini.path("pipe.png"), None).unwrap_err();
            assert!(matches!(error, DatasetError::NotAFile { .. }), "{error:?}");
        }
        let device = load_image(Path::new("/dev/zero"), None).unwrap_err();
        assert!(matches!(device, DatasetError::NotAFile { .. }), "{device:?}");
    }
}

#[test]
fn bytes_are_read_as_their_file() {
    let mini = Miniature::new();
    deep(&mini, "a.png", &[0, 100, 4095]);
    let bytes = std::fs::read(mini.path("a.png")).unwrap();
    for range in ["auto", "12-bit", "50,200"] {
        let of_file = read_image(&mini.path("a.png"), &reading(range)).unwrap();
        assert_eq!(read_image_bytes(&bytes, "upload", &reading(range)).unwrap(), of_file);
    }
    assert_eq!(reading("12-bit").values, ValueRange::Bits(12));
}
