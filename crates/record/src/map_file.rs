//! Anomaly maps as files for other programs.

use std::borrow::Cow;
use std::error::Error;
use std::io::{Cursor, Write};
use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use fmam_core::{AnomalyMap, Frame, ImageSize};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;

use crate::RecordError;
use crate::folder::write_atomic;

/// Writes a map as a TIFF file of one 32-bit float a pixel, which the evaluation code of MVTec AD
/// reads (Pillow and OpenCV do too). `size` is that of the original image, to which the map is
/// brought bilinearly: that code compares with the original ground truth. The file appears whole or
/// not at all, without waiting for the disk (see [`fmam_files::sync_files`]).
///
/// # Errors
/// [`RecordError::MapFile`] for a map or a `size` without pixels or too large for the format,
/// [`RecordError::MapNotFinite`], [`RecordError::Write`]; all name the path.
pub fn write_map(path: &Path, map: &AnomalyMap, size: ImageSize) -> Result<(), RecordError> {
    let file = pages(path, std::iter::once((map, size)))?;
    fmam_files::write_unsynced(path, |to| to.write_all(&file))
        .map_err(|source| RecordError::Write { path: path.to_owned(), source })
}

/// Bytes of a file of maps, at most: it is read whole.
const MAX_BYTES: u64 = 32 << 30;

/// Shorter side of the maps that [`write_maps`] keeps, at most.
const KEPT_SIDE: usize = 64;

/// The size of the maps that are kept of maps of `size`.
fn kept_size(size: ImageSize) -> ImageSize {
    let side = size.height.min(size.width);
    let scaled = |length: usize| (length * KEPT_SIDE + side / 2) / side;
    if side <= KEPT_SIDE { size } else { ImageSize::new(scaled(size.height), scaled(size.width)) }
}

/// Writes the maps of a whole test split as the pages of one TIFF file of 32-bit floats, in their
/// order, each as [`small_map`] makes it.
///
/// # Errors
/// As [`write_map`].
pub fn write_maps(path: &Path, maps: &[AnomalyMap]) -> Result<(), RecordError> {
    write_atomic(path, &pages(path, maps.iter().map(|map| (map, kept_size(map.size()))))?)
}

/// A map whose shorter side is 64 pixels at most: maps are smooth, so that a figure shows the same,
/// and a file stays small.
///
/// # Errors
/// As [`resized`].
pub fn small_map(map: &AnomalyMap) -> Result<Cow<'_, AnomalyMap>, RecordError> {
    resized(map, kept_size(map.size()))
}

/// The map of an image at the size of its file: the padding of `frame` is cut off, and the rest is
/// [`resized`].
///
/// # Errors
/// As [`resized`].
pub fn map_at_original<'a>(map: &'a AnomalyMap, frame: &Frame) -> Result<Cow<'a, AnomalyMap>, RecordError> {
    match without_padding(map, frame) {
        None => resized(map, frame.original),
        Some(content) => Ok(Cow::Owned(resized(&content, frame.original)?.into_owned())),
    }
}

/// The map of an image without the padding of `frame`; `None` where there is no padding.
pub fn without_padding(map: &AnomalyMap, frame: &Frame) -> Option<AnomalyMap> {
    if frame.is_filled() || map.size() != frame.size {
        return None;
    }
    let rows = frame.rows().flat_map(|y| &map.data()[y * map.size().width..][frame.columns()]);
    AnomalyMap::new(frame.content, rows.copied().collect()).ok()
}

/// Reads what [`write_maps`] wrote.
///
/// # Errors
/// [`RecordError::Read`], [`RecordError::DamagedMaps`]; both name the path.
pub fn read_maps(path: &Path) -> Result<Vec<AnomalyMap>, RecordError> {
    let damaged = |reason: String| RecordError::DamagedMaps { path: path.to_owned(), reason };
    let bytes = fmam_files::read_limited(path, MAX_BYTES);
    let bytes = bytes.map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let pages = || -> Result<Vec<AnomalyMap>, Box<dyn Error>> {
        // Pages are stored as they are, each in a place of its own: so they hold no more than the
        // file.
        let mut left = bytes.len();
        let mut limits = Limits::default();
        limits.decoding_buffer_size = left;
        let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
        let mut maps = Vec::new();
        loop {
            let (width, height) = decoder.dimensions()?;
            let DecodingResult::F32(values) = decoder.read_image()? else {
                return Err("a page is not of 32-bit floats".into());
            };
            let page = size_of_val(values.as_slice());
            left = left.checked_sub(page).ok_or("its pages hold more than the file")?;
            if values.iter().any(|score| !score.is_finite()) {
                return Err(format!("map {} has values that are not finite", maps.len()).into());
            }
            maps.push(AnomalyMap::new(ImageSize::new(height as usize, width as usize), values)?);
            if !decoder.more_images() {
                return Ok(maps);
            }
            decoder.next_image()?;
        }
    };
    pages().map_err(|error| damaged(error.to_string()))
}

/// The file `path` of maps, each in its size.
fn pages<'a>(
    path: &Path,
    maps: impl Iterator<Item = (&'a AnomalyMap, ImageSize)>,
) -> Result<Vec<u8>, RecordError> {
    let mut file = Cursor::new(Vec::new());
    write_pages(path, maps, &mut file)?;
    Ok(file.into_inner())
}

/// The pages of the file `path`, written into `file`.
fn write_pages<'a>(
    path: &Path,
    maps: impl Iterator<Item = (&'a AnomalyMap, ImageSize)>,
    file: &mut Cursor<Vec<u8>>,
) -> Result<(), RecordError> {
    let refused = |size| RecordError::MapFile { path: path.to_owned(), size };
    let mut tiff = TiffEncoder::new(file).map_err(|_| refused(ImageSize::new(0, 0)))?;
    for (index, (map, size)) in maps.enumerate() {
        if map.data().iter().any(|score| !score.is_finite()) {
            return Err(RecordError::MapNotFinite { path: path.to_owned(), index });
        }
        let mut write = || -> Result<(), Box<dyn Error>> {
            let values = resized(map, size)?;
            let [width, height] = sides(size)?;
            Ok(tiff.write_image::<Gray32Float>(width, height, values.data())?)
        };
        write().map_err(|_| refused(size))?;
    }
    Ok(())
}

/// Width and height, neither 0.
fn sides(size: ImageSize) -> Result<[u32; 2], Box<dyn Error>> {
    let [width, height] = [u32::try_from(size.width)?, u32::try_from(size.height)?];
    if width == 0 || height == 0 { Err("no pixels".into()) } else { Ok([width, height]) }
}

/// A map brought to `size` bilinearly, with pixel centres at half-integers and clamped edges, as
/// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=True)` does.
/// A side that shrinks is averaged over a triangle as wide as two of the new pixels. A map of that
/// size is given as it is.
///
/// # Errors
/// [`RecordError::Resize`] for a map or a `size` without pixels, or one of more than 2³² - 1 rows
/// or columns.
pub fn resized(map: &AnomalyMap, size: ImageSize) -> Result<Cow<'_, AnomalyMap>, RecordError> {
    if map.size() == size && size.pixels() > 0 {
        return Ok(Cow::Borrowed(map));
    }
    let refused = |_| RecordError::Resize { from: map.size(), to: size };
    interpolated(map, size).map(Cow::Owned).map_err(refused)
}

/// Bytes of an intermediate map above which the order of the passes is chosen for memory.
const LARGE: usize = 256 << 20;

/// The resizing library changes the width of a map of floats first. For a column of millions of
/// pixels that would take hundreds of times the memory of the map.
fn is_height_first(from: ImageSize, to: ImageSize) -> bool {
    let width_first = to.width.saturating_mul(from.height);
    let height_first = from.width.saturating_mul(to.height);
    width_first > LARGE / size_of::<f32>() && height_first < width_first / 2
}

fn interpolated(map: &AnomalyMap, size: ImageSize) -> Result<AnomalyMap, Box<dyn Error>> {
    if is_height_first(map.size(), size) {
        let between = ImageSize::new(size.height, map.size().width);
        return interpolated_both(&interpolated_both(map, between)?, size);
    }
    interpolated_both(map, size)
}

fn interpolated_both(map: &AnomalyMap, size: ImageSize) -> Result<AnomalyMap, Box<dyn Error>> {
    let (from, to) = (sides(map.size())?, sides(size)?);
    let source = ImageRef::new(from[0], from[1], bytemuck::cast_slice(map.data()), PixelType::F32)?;
    let mut target = Image::new(to[0], to[1], PixelType::F32);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    // `Resizer::resize` would compile the kernels of all thirteen pixel types: minutes.
    let (Some(source), Some(mut view)) = (source.typed_image::<F32>(), target.typed_image_mut()) else {
        return Err(ResizeError::PixelTypesAreDifferent.into());
    };
    Resizer::new().resize_typed(&source, &mut view, &options)?;
    let (values, _) = target.buffer().as_chunks();
    let values = values.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
    Ok(AnomalyMap::new(size, values)?)
}

#[cfg(test)]
mod tests {
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
    fn the_padding_of_a_map_is_cut_off_before_it_is_resized() {
        let frame = Frame::keeping_aspect(ImageSize::new(2, 8), ImageSize::new(4, 4));
        assert_eq!((frame.content, frame.top), (ImageSize::new(1, 4), 1));
        let map = AnomalyMap::new(frame.size, (0..16).map(|at| at as f32).collect()).unwrap();
        let original = map_at_original(&map, &frame).unwrap();
        assert_eq!(original.size(), frame.original);
        assert_eq!((original.at(0, 0), original.at(1, 7)), (4.0, 7.0));
        let filled = Frame::filling(ImageSize::new(4, 4), ImageSize::new(4, 4));
        assert_eq!(map_at_original(&map, &filled).unwrap().as_ref(), &map);
    }

    #[test]
    fn a_thin_map_is_resized_without_a_large_intermediate_map() {
        let square = ImageSize::square(256);
        assert!(is_height_first(square, ImageSize::new(1, 4_000_000)));
        for usual in [ImageSize::new(4_000_000, 1), ImageSize::square(1024), ImageSize::new(12_000, 15_000)] {
            assert!(!is_height_first(square, usual), "{usual}");
        }
        let map =
            AnomalyMap::new(square, (0..square.pixels()).map(|at| (at / 256) as f32).collect()).unwrap();
        // Each row has one value, and the mean of all rows is 127.5.
        let wide = resized(&map, ImageSize::new(1, 4_000_000)).unwrap();
        assert_eq!(wide.size(), ImageSize::new(1, 4_000_000));
        assert!(wide.data().iter().all(|value| (value - 127.5).abs() < 1e-3));
        let tall = resized(&map, ImageSize::new(4_000_000, 1)).unwrap();
        assert_eq!((tall.at(0, 0), tall.at(3_999_999, 0)), (0.0, 255.0));
    }

    #[test]
    fn the_order_of_the_passes_changes_a_map_by_rounding_only() {
        let (from, to) = (ImageSize::new(9, 7), ImageSize::new(4, 50));
        let map =
            AnomalyMap::new(from, (0..from.pixels()).map(|at| (at * at % 29) as f32).collect()).unwrap();
        let between = interpolated_both(&map, ImageSize::new(to.height, from.width)).unwrap();
        let height_first = interpolated_both(&between, to).unwrap();
        let width_first = interpolated_both(&map, to).unwrap();
        let differences = width_first.data().iter().zip(height_first.data()).map(|(a, b)| (a - b).abs());
        assert!(differences.fold(0.0, f32::max) < 1e-4);
    }

    #[test]
    fn a_map_that_is_not_finite_is_neither_written_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maps.tiff");
        let size = ImageSize::new(1, 3);
        let good = AnomalyMap::new(size, vec![0.0, 1.0, 2.0]).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let maps = [good.clone(), AnomalyMap::new(size, vec![0.0, bad, 2.0]).unwrap()];
            let error = write_maps(&path, &maps).unwrap_err();
            let is_named =
                matches!(&error, RecordError::MapNotFinite { path: named, index: 1 } if *named == path);
            assert!(is_named && !path.exists(), "{error}");
            let mut file = Cursor::new(Vec::new());
            let mut tiff = TiffEncoder::new(&mut file).unwrap();
            for map in &maps {
                tiff.write_image::<Gray32Float>(3, 1, map.data()).unwrap();
            }
            std::fs::write(&path, file.get_ref()).unwrap();
            let error = read_maps(&path).unwrap_err();
            assert!(matches!(error, RecordError::DamagedMaps { .. }), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
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
        assert!(matches!(write_map(&path, &map, ImageSize::new(0, 4)), Err(RecordError::MapFile { .. })));
    }

    /// A TIFF file of `n_pages` pages of 16 by 16 zeros, all of which have the same place. The
    /// pages claim `height` rows.
    fn shared_pages(n_pages: u32, height: u32) -> Vec<u8> {
        const PLACE: u32 = 8;
        const BYTES: u32 = 4 * 16 * 16;
        let mut file = b"II*\0".to_vec();
        file.extend((PLACE + BYTES).to_le_bytes());
        file.resize((PLACE + BYTES) as usize, 0);
        for page in 1..=n_pages {
            let entries: [(u16, u32); 9] = [
                (256, 16),
                (257, height),
                (258, 32),
                (259, 1),
                (262, 1),
                (273, PLACE),
                (278, height),
                (279, BYTES),
                (339, 3),
            ];
            file.extend((entries.len() as u16).to_le_bytes());
            for (tag, value) in entries {
                file.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
                file.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
            }
            let next = if page < n_pages { file.len() as u32 + 4 } else { 0 };
            file.extend(next.to_le_bytes());
        }
        file
    }

    #[test]
    fn pages_hold_no_more_than_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maps.tiff");
        std::fs::write(&path, shared_pages(1, 16)).unwrap();
        assert_eq!(read_maps(&path).unwrap()[0].size(), ImageSize::square(16));
        for (n_pages, height) in [(2, 16), (1000, 16), (1, 1 << 24)] {
            std::fs::write(&path, shared_pages(n_pages, height)).unwrap();
            let error = read_maps(&path).unwrap_err();
            assert!(matches!(error, RecordError::DamagedMaps { .. }), "{n_pages} of {height}: {error}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Grid {
        shape: [usize; 2],
        data: Vec<f32>,
    }

    impl Grid {
        fn map(self) -> AnomalyMap {
            AnomalyMap::new(ImageSize::new(self.shape[0], self.shape[1]), self.data).unwrap()
        }
    }

    /// Pillow's and OpenCV's values: `tests/reference/pictures/make.py` made the fixture.
    #[test]
    fn resized_maps_are_those_of_other_programs() {
        #[derive(serde::Deserialize)]
        struct Case {
            map: Grid,
            resized: Grid,
        }
        #[derive(serde::Deserialize)]
        struct Fixture {
            cases: Vec<Case>,
        }
        let text = include_str!("../../../tests/reference/pictures/resized.json");
        let Fixture { cases } = serde_json::from_str(text).unwrap();
        assert_eq!(cases.len(), 6);
        for Case { map, resized: expected } in cases {
            let (map, expected) = (map.map(), expected.map());
            let actual = resized(&map, expected.size()).unwrap();
            for (actual, expected) in actual.data().iter().zip(expected.data()) {
                assert!((actual - expected).abs() < 1e-5, "{}: {actual} for {expected}", map.size());
            }
        }
    }

    #[test]
    fn a_map_of_the_right_size_is_not_copied_and_none_can_have_no_pixels() {
        let map = AnomalyMap::new(ImageSize::new(1, 2), vec![-1.0, 3.0]).unwrap();
        assert!(matches!(resized(&map, map.size()), Ok(Cow::Borrowed(_))));
        let none = ImageSize::new(0, 4);
        assert!(matches!(resized(&map, none), Err(RecordError::Resize { to, .. }) if to == none));
        let empty = AnomalyMap::new(none, Vec::new()).unwrap();
        assert!(matches!(resized(&empty, none), Err(RecordError::Resize { .. })));
        // The highest score of a map bounds those between its pixels, to the bit.
        let level = AnomalyMap::new(ImageSize::square(3), vec![0.1; 9]).unwrap();
        assert_eq!(resized(&level, ImageSize::new(7, 11)).unwrap().data(), [0.1; 77]);
    }

    #[test]
    fn the_maps_of_a_split_come_back_smaller_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maps.tiff");
        let small = AnomalyMap::new(ImageSize::new(2, 3), vec![0.0, -1.5, 1e-30, 3.25, 1e30, 0.1]).unwrap();
        let size = ImageSize::new(128, 256);
        let ramp = (0..size.pixels()).map(|at| (at % 256) as f32).collect();
        let large = AnomalyMap::new(size, ramp).unwrap();
        write_maps(&path, &[small.clone(), large]).unwrap();
        let [first, second] = &read_maps(&path).unwrap()[..] else { panic!("two maps") };
        assert_eq!(first, &small);
        assert_eq!(second.size(), ImageSize::new(64, 128));
        // Each value is a mean over its two pixels and, less, their neighbours.
        assert!((second.at(9, 50) - 100.5).abs() < 1e-3, "{}", second.at(9, 50));

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = read_maps(&path).unwrap_err();
        assert!(matches!(&error, RecordError::DamagedMaps { path: named, .. } if *named == path), "{error}");
        assert!(matches!(read_maps(&folder.path().join("none")), Err(RecordError::Read { .. })));
    }
}
