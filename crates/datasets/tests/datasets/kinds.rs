//! Kinds of files that few programs write: the right pixels, a word about what is passed over, or a
//! refusal by the kind.

use std::io::Cursor;

use fmam_core::{ImageSize, Reading};
use fmam_datasets::{DatasetError, PixelKind, image_header, load_image, load_mask, read_image};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageFormat, Luma, Rgb, RgbImage};

use crate::miniature::Miniature;
use crate::notices::told;

/// Tags of a TIFF file, each with its 16-bit numbers.
type Tags<'a> = &'a [(u16, &'a [u16])];

/// A TIFF file of one strip, or of one for each plane: the tags that `extra` adds to those of the
/// size, and the bytes of the strips. Tags of 16-bit numbers are enough.
pub(crate) fn tiff_file(width: u16, height: u16, extra: Tags<'_>, strip: &[u8]) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let mut tags: Vec<(u16, u16, Vec<u8>)> = extra
        .iter()
        .map(|(tag, values)| (*tag, SHORT, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let short = |tag: u16, value: u16| (tag, SHORT, value.to_le_bytes().to_vec());
    tags.extend([short(256, width), short(257, height), short(278, height)]);
    // The strips are behind the header of 8 bytes: one, or one for each of three planes.
    let planes = if extra.contains(&(PLANAR, &[2])) { 3 } else { 1 };
    let length = strip.len() as u32 / planes;
    let longs =
        |value: &dyn Fn(u32) -> u32| (0..planes).flat_map(|plane| value(plane).to_le_bytes()).collect();
    tags.push((273, LONG, longs(&|plane| 8 + plane * length)));
    tags.push((279, LONG, longs(&|_| length)));
    tags.sort();
    let mut file = [b"II*\0".to_vec(), vec![0; 4], strip.to_vec()].concat();
    if file.len() % 2 == 1 {
        file.push(0);
    }
    let directory = file.len() as u32;
    file[4..8].copy_from_slice(&directory.to_le_bytes());
    let mut behind = directory + 2 + 12 * tags.len() as u32 + 4;
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for (tag, kind, mut bytes) in tags {
        let count = bytes.len() as u32 / if kind == SHORT { 2 } else { 4 };
        entries.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        entries.extend(count.to_le_bytes());
        if bytes.len() <= 4 {
            bytes.resize(4, 0);
            entries.extend(bytes);
        } else {
            entries.extend(behind.to_le_bytes());
            behind += bytes.len() as u32;
            values.extend(bytes);
        }
    }
    file.extend(((entries.len() / 12) as u16).to_le_bytes());
    [file, entries, vec![0; 4], values].concat()
}

const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const MEANING: u16 = 262;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const COLOURS: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const FORMAT: u16 = 339;

/// Cyan, magenta, yellow and black: no ink, magenta with yellow, black alone.
pub(crate) fn cmyk_tiff() -> Vec<u8> {
    let inks = [[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]].concat();
    tiff_file(3, 1, &[(BITS, &[8; 4]), (MEANING, &[5]), (SAMPLES, &[4])], &inks)
}

/// 0, 0.5 and 1 as numbers of 16 bits.
pub(crate) fn half_tiff() -> Vec<u8> {
    let numbers: Vec<u8> = [0x0000_u16, 0x3800, 0x3c00].iter().flat_map(|half| half.to_le_bytes()).collect();
    tiff_file(3, 1, &[(BITS, &[16]), (MEANING, &[1]), (SAMPLES, &[1]), (FORMAT, &[3])], &numbers)
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Red that is half transparent, and a pixel of which nothing is seen.
pub(crate) fn float_alpha_tiff() -> Vec<u8> {
    let tags: Tags<'_> =
        &[(BITS, &[32; 4]), (MEANING, &[2]), (SAMPLES, &[4]), (EXTRA_SAMPLES, &[2]), (FORMAT, &[3; 4])];
    tiff_file(2, 1, tags, &floats(&[1.0, 0.0, 0.0, 0.5, 9.0, 9.0, 9.0, 0.0]))
}

/// A mask of 20x12 pixels, of which the first 7 columns are white, with the edges that a lossy
/// compression gives it.
fn drawn() -> GrayImage {
    GrayImage::from_fn(20, 12, |x, _| Luma([if x < 7 { 255 } else { 0 }]))
}

/// [`drawn`] in a TIFF file whose strip is a JPEG file.
pub(crate) fn jpeg_tiff() -> Vec<u8> {
    let mut strip = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut strip, 8);
    encoder.write_image(drawn().as_raw(), 20, 12, ExtendedColorType::L8).unwrap();
    tiff_file(20, 12, &[(BITS, &[8]), (COMPRESSION, &[7]), (MEANING, &[1]), (SAMPLES, &[1])], &strip)
}

/// [`drawn`] as lossy WebP, by `Image.save("m.webp", quality=20)` of Pillow 13. Its grey levels are
/// 0, 1, 2, 3, 5, 15, 250 and 255.
pub(crate) const LOSSY_WEBP: [u8; 68] = [
    82, 73, 70, 70, 60, 0, 0, 0, 87, 69, 66, 80, 86, 80, 56, 32, 48, 0, 0, 0, 80, 3, 0, 157, 1, 42, 20, 0,
    12, 0, 63, 57, 134, 185, 83, 175, 41, 37, 162, 176, 8, 1, 224, 39, 9, 105, 0, 0, 82, 168, 228, 175, 219,
    28, 144, 0, 254, 234, 127, 190, 140, 253, 214, 43, 106, 32, 0, 0,
];

/// Two frames, black and white, as PNG.
pub(crate) fn animated_png() -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 2);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 4]).unwrap();
    writer.write_image_data(&[255; 4]).unwrap();
    writer.finish().unwrap();
    file
}

/// Two frames, black and white, as WebP.
pub(crate) fn animated_webp() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut bytes = [&kind[..], &(content.len() as u32).to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let mut chunks = chunk(b"VP8X", &[0b10, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
    chunks.extend(chunk(b"ANIM", &[0; 6]));
    for level in [0, 255] {
        let mut still = Cursor::new(Vec::new());
        RgbImage::from_pixel(2, 2, Rgb([level; 3])).write_to(&mut still, ImageFormat::WebP).unwrap();
        // Place, size minus 1, duration and flags. The chunk of the pixels stands behind
        // `RIFF....WEBP` in a still file.
        let place = [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 100, 0, 0, 0];
        chunks.extend(chunk(b"ANMF", &[&place[..], &still.into_inner()[12..]].concat()));
    }
    [&b"RIFF"[..], &(4 + chunks.len() as u32).to_le_bytes(), b"WEBP", &chunks].concat()
}

/// The files above with their names.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("cmyk.tif", cmyk_tiff()),
        ("half.tif", half_tiff()),
        ("float_alpha.tif", float_alpha_tiff()),
        ("jpeg.tif", jpeg_tiff()),
        ("lossy.webp", LOSSY_WEBP.to_vec()),
        ("animated.png", animated_png()),
        ("animated.webp", animated_webp()),
    ]
}

#[test]
fn the_inks_of_a_tiff_file_become_colours() {
    let mini = Miniature::new();
    mini.write("a.tif", &cmyk_tiff());
    assert!(image_header(&mini.path("a.tif")).unwrap().is_cmyk());
    let (image, lines) = told(|| load_image(&mini.path("a.tif"), None).unwrap());
    assert_eq!([0, 1, 2].map(|x| image.pixel(0, x)), [[255; 3], [255, 0, 0], [0; 3]]);
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn numbers_of_16_bits_and_numbers_with_alpha_are_scaled_by_a_range() {
    let mini = Miniature::new();
    let reading = Reading { values: "0,1".parse().unwrap(), background: [0, 0, 255], ..Reading::default() };
    mini.write("half.tif", &half_tiff());
    let image = read_image(&mini.path("half.tif"), &reading).unwrap();
    assert_eq!([0, 1, 2].map(|x| image.pixel(0, x)[0]), [0, 128, 255]);
    let unstated = read_image(&mini.path("half.tif"), &Reading::default()).unwrap_err();
    assert!(matches!(unstated, DatasetError::NoValueRange { lowest: 0.0, highest: 1.0, .. }), "{unstated:?}");

    mini.write("alpha.tif", &float_alpha_tiff());
    let (image, lines) = told(|| read_image(&mini.path("alpha.tif"), &reading).unwrap());
    assert_eq!((image.pixel(0, 0), image.pixel(0, 1)), ([128, 0, 127], [0, 0, 255]));
    // The hidden 9 is beyond the range and of no account.
    assert!(lines.len() == 1 && lines[0].contains("alpha.tif") && lines[0].contains("0,0,255"), "{lines:?}");
}

#[test]
fn the_first_frame_of_an_animation_is_used_which_is_told() {
    let mini = Miniature::new();
    for (name, bytes) in [("a.png", animated_png()), ("a.webp", animated_webp())] {
        mini.write(name, &bytes);
        assert!(image_header(&mini.path(name)).unwrap().has_more_frames(), "{name}");
        let (image, lines) = told(|| load_image(&mini.path(name), None).unwrap());
        assert_eq!(image.pixel(1, 1), [0; 3], "{name}");
        assert!(lines.len() == 1 && lines[0].contains(name) && lines[0].contains("first"), "{lines:?}");
        assert!(told(|| load_image(&mini.path(name), None).unwrap()).1.is_empty(), "{name}");
    }
}

#[test]
fn a_mask_of_lossy_compression_is_cut_at_half_of_its_range() {
    let mini = Miniature::new();
    let size = ImageSize::new(12, 20);
    RgbImage::new(20, 12).save(mini.path("image.png")).unwrap();
    for (name, bytes) in [("mask.webp", LOSSY_WEBP.to_vec()), ("mask.tif", jpeg_tiff())] {
        mini.write(name, &bytes);
        // Not 0 would be more than the 7 columns that were drawn.
        let image = load_image(&mini.path(name), None).unwrap();
        let n_lit = image.data().iter().step_by(3).filter(|value| **value > 0).count();
        assert!(n_lit > 7 * 12, "{name}: {n_lit}");
        let mask = load_mask(&mini.path(name), &mini.path("image.png"), size).unwrap();
        assert_eq!(mask, fmam_core::Mask::from_fn(size, |_, x| x < 7), "{name}");
    }
}

#[test]
fn kinds_of_tiff_that_would_be_guessed_are_refused_by_name() {
    let mini = Miniature::new();
    let deep: Vec<u8> = [7_u16, 4000].iter().flat_map(|value| value.to_le_bytes()).collect();
    let colours = [0_u16; 3 * 256];
    let cases: [(Tags<'_>, &[u8], PixelKind, &str); 3] = [
        (
            &[(BITS, &[16]), (MEANING, &[0]), (SAMPLES, &[1])],
            &deep,
            PixelKind::WhiteIsZero { bits: 16 },
            "white",
        ),
        (
            &[(BITS, &[32; 3]), (MEANING, &[2]), (SAMPLES, &[3]), (PLANAR, &[2]), (FORMAT, &[3; 3])],
            &floats(&[0.0; 6]),
            PixelKind::Planar,
            "plane by plane",
        ),
        (
            &[(BITS, &[8]), (MEANING, &[3]), (SAMPLES, &[1]), (COLOURS, &colours)],
            &[1, 2],
            PixelKind::Palette,
            "colour map",
        ),
    ];
    for (tags, strip, kind, word) in cases {
        mini.write("a.tif", &tiff_file(2, 1, tags, strip));
        let error = load_image(&mini.path("a.tif"), None).unwrap_err();
        assert!(
            matches!(&error, DatasetError::PixelKind { kind: found, .. } if *found == kind),
            "{word}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("a.tif") && text.contains(word), "{text}");
    }
}
