//! Anomaly maps as files for other programs, one map a file.

use std::fmt::{Display, Formatter};
use std::path::Path;
use std::str::FromStr;

use fmam_core::{AnomalyMap, ImageSize};
use fmam_record::{resized, write_map};
use png::{BitDepth, ColorType};

use crate::ReportError;
use crate::error::write_whole;
use crate::picture::large_png;

/// The format of the file of an anomaly map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapFormat {
    /// 16-bit grey PNG: `grey = round(65535 (score - low) / (high - low))`, clamped to 0..=65535,
    /// where `low` and `high` are the range that the caller gives. Equal scores have equal grey
    /// values in every file of one range. `low + grey (high - low) / 65535` is the score again,
    /// within half a step, where it lies in the range. The text chunks `fmam:low` and `fmam:high`
    /// of the file hold the range, to the last digit.
    Png16,
    /// TIFF of 32-bit floats, the scores as they are.
    Tiff,
    /// NumPy array of float32, [H, W], the scores as they are.
    Npy,
}

impl MapFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Png16, Self::Tiff, Self::Npy];

    /// The ending of its files, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png16 => "png",
            Self::Tiff => "tiff",
            Self::Npy => "npy",
        }
    }
}

impl Display for MapFormat {
    /// Writes `png16`, `tiff` or `npy`.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Png16 => "png16",
            Self::Tiff => "tiff",
            Self::Npy => "npy",
        })
    }
}

impl FromStr for MapFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| "the formats of maps are `png16`, `tiff` and `npy`".to_owned())
    }
}

/// Writes a map in `size`, that of the original image, to which it is brought bilinearly, see
/// [`map_in_size`](crate::map_in_size). `range` (lowest, highest score) is that of the grey values
/// of [`MapFormat::Png16`]; the other formats hold the scores themselves. The file appears whole or
/// not at all, without waiting for the disk, and its folder is made where it is missing.
///
/// # Errors
/// [`fmam_record::RecordError::Resize`] for a map or a size without pixels;
/// [`fmam_record::RecordError::MapFile`] and [`ReportError::Encode`] for one too large for the
/// format; [`ReportError::Write`] and [`fmam_record::RecordError::Write`], naming the path.
pub fn write_map_file(
    path: &Path,
    format: MapFormat,
    map: &AnomalyMap,
    size: ImageSize,
    range: (f32, f32),
) -> Result<(), ReportError> {
    let map = resized(map, size)?;
    match format {
        MapFormat::Tiff => Ok(write_map(path, &map, size)?),
        MapFormat::Npy => write_whole(path, &npy(&map)),
        MapFormat::Png16 => {
            let (greys, texts) = png16(&map, range);
            large_png::write(path, size, (ColorType::Grayscale, BitDepth::Sixteen), &greys, &texts)
        }
    }
}

/// The file of [`MapFormat::Png16`] as bytes, otherwise as [`write_map_file`].
///
/// # Errors
/// As [`write_map_file`]; [`ReportError::Png`] in the place of [`ReportError::Encode`].
pub fn encode_map_png16(
    map: &AnomalyMap,
    size: ImageSize,
    range: (f32, f32),
) -> Result<Vec<u8>, ReportError> {
    let map = resized(map, size)?;
    let (greys, texts) = png16(&map, range);
    large_png::in_memory(size, (ColorType::Grayscale, BitDepth::Sixteen), &greys, &texts)
}

/// The grey values of a map, big-endian, and the texts that state their range.
fn png16(map: &AnomalyMap, range: (f32, f32)) -> (Vec<u8>, [(&'static str, String); 2]) {
    let mut greys = vec![0; 2 * map.data().len()];
    for (bytes, &score) in greys.as_chunks_mut().0.iter_mut().zip(map.data()) {
        *bytes = grey(score, range).to_be_bytes();
    }
    // As f64, in which the formula is computed: `1.2` would be another number there.
    let texts = [("fmam:low", range.0), ("fmam:high", range.1)]
        .map(|(keyword, limit)| (keyword, f64::from(limit).to_string()));
    (greys, texts)
}

/// The grey value of a score, see [`MapFormat::Png16`]; 0 for NaN. An empty range has two values:
/// 0, and 65535 for scores above the range.
fn grey(score: f32, (low, high): (f32, f32)) -> u16 {
    let (score, low, high) = (f64::from(score), f64::from(low), f64::from(high));
    let place = if low < high { (score - low) / (high - low) } else { f64::from(u8::from(score > low)) };
    // The conversion clamps and turns NaN into 0.
    (65535.0 * place).round() as u16
}

/// The content of the `.npy` file of a map: the header and the scores, row by row.
fn npy(map: &AnomalyMap) -> Vec<u8> {
    let ImageSize { height, width } = map.size();
    let mut file = npy_header("<f4", &[height, width]);
    let start = file.len();
    file.resize(start + 4 * map.data().len(), 0);
    for (bytes, score) in file[start..].as_chunks_mut().0.iter_mut().zip(map.data()) {
        *bytes = score.to_le_bytes();
    }
    file
}

/// The bytes before the elements of a `.npy` file in C order, version 1.0 of NumPy's format.
/// `descr` is NumPy's name of the element type, `<f4` or `|u1`.
pub fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    // A tuple of one element has a comma after it.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let sizes = sizes.join(", ");
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}{comma}), }}");
    // Magic, version and length of the header take 10 bytes; the data begin at a multiple of 64,
    // after a line break.
    let start = (10 + header.len() + 1).next_multiple_of(64);
    header += &" ".repeat(start - 10 - header.len() - 1);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // Some numbers of at most twenty digits: far below 2^16 bytes.
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::BufReader;

    use npyz::NpyFile;

    use super::*;

    const SCORES: [f32; 6] = [0.0, -1.5, 1e-30, 3.25, 1e30, -0.0];

    fn bits(scores: &[f32]) -> Vec<u32> {
        scores.iter().map(|score| score.to_bits()).collect()
    }

    /// Writes a map of `scores` in the given format and gives the path to `read`.
    fn written<T>(format: MapFormat, map: &AnomalyMap, size: ImageSize, read: impl FnOnce(&Path) -> T) -> T {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("new").join(format!("a.{}", format.extension()));
        write_map_file(&path, format, map, size, (1.0, 3.0)).unwrap();
        read(&path)
    }

    fn read_npy(path: &Path) -> (Vec<u64>, Vec<f32>) {
        let file = NpyFile::new(BufReader::new(File::open(path).unwrap())).unwrap();
        assert_eq!(file.order(), npyz::Order::C);
        (file.shape().to_vec(), file.into_vec().unwrap())
    }

    #[test]
    fn raw_scores_come_back_to_the_bit() {
        let size = ImageSize::new(2, 3);
        let map = AnomalyMap::new(size, SCORES.to_vec()).unwrap();
        let (shape, scores) = written(MapFormat::Npy, &map, size, read_npy);
        assert_eq!((shape, bits(&scores)), (vec![2, 3], bits(&SCORES)));
        let tiff = written(MapFormat::Tiff, &map, size, |path| fmam_record::read_maps(path).unwrap());
        assert_eq!((tiff[0].size(), bits(tiff[0].data())), (size, bits(&SCORES)));
    }

    #[test]
    fn the_data_of_an_array_begin_at_a_multiple_of_64() {
        for width in [1, 99_999_999, usize::MAX] {
            let map = AnomalyMap::new(ImageSize::new(0, width), Vec::new()).unwrap();
            let file = npy(&map);
            assert_eq!((file.len() % 64, file[file.len() - 1]), (0, b'\n'), "{width}");
        }
    }

    #[test]
    fn every_format_has_the_size_of_the_original() {
        let map = AnomalyMap::new(ImageSize::new(1, 2), vec![1.0, 3.0]).unwrap();
        let size = ImageSize::new(2, 4);
        let full = crate::map_in_size(&map, size).unwrap();
        assert_eq!(written(MapFormat::Npy, &map, size, read_npy), (vec![2, 4], full.data().to_vec()));
        let tiff = written(MapFormat::Tiff, &map, size, |path| fmam_record::read_maps(path).unwrap());
        assert_eq!(tiff, [full]);
        let grey = written(MapFormat::Png16, &map, size, |path| image::open(path).unwrap().into_luma16());
        assert_eq!(grey.dimensions(), (4, 2));
        assert_eq!(grey.into_raw()[..4], [0, 16384, 49151, 65535]);
    }

    #[test]
    fn scores_can_be_read_back_from_grey_values() {
        let size = ImageSize::new(40, 50);
        let scores: Vec<f32> = (0..2000).map(|at| 1.0 + (at * 997 % 2000) as f32 / 999.5).collect();
        let map = AnomalyMap::new(size, scores).unwrap();
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("a.png");
        // Neither limit is a short decimal number in f64.
        write_map_file(&path, MapFormat::Png16, &map, size, (0.9, 3.1)).unwrap();
        let decoder = png::Decoder::new(BufReader::new(File::open(&path).unwrap()));
        let texts = decoder.read_info().unwrap().info().uncompressed_latin1_text.clone();
        let image::DynamicImage::ImageLuma16(grey) = image::open(&path).unwrap() else {
            panic!("16-bit grey")
        };
        let limit = |keyword: &str| -> f64 {
            texts.iter().find(|text| text.keyword == keyword).unwrap().text.parse().unwrap()
        };
        let (low, high) = (limit("fmam:low"), limit("fmam:high"));
        assert_eq!((low as f32, high as f32), (0.9, 3.1));
        let step = (high - low) / 65535.0;
        for (&grey, &score) in grey.as_raw().iter().zip(map.data()) {
            let read = low + f64::from(grey) * step;
            assert!((read - f64::from(score)).abs() <= 0.500_000_1 * step, "{read} for {score}");
        }
    }

    #[test]
    fn grey_values_are_clamped_and_the_threshold_is_in_the_middle() {
        let range = (-1.0, 3.0);
        let values = [-5.0, -1.0, 1.0, 3.0, 99.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let expected = [0, 0, 32768, 65535, 65535, 65535, 0, 0];
        assert_eq!(values.map(|score| grey(score, range)), expected);
        assert_eq!([1.0, 2.0, 2.5, f32::NAN].map(|score| grey(score, (2.0, 2.0))), [0, 0, 65535, 0]);
        assert_eq!(grey(f32::MAX, (f32::MIN, f32::MAX)), 65535);
    }

    #[test]
    fn formats_have_their_names() {
        for format in MapFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("png".parse::<MapFormat>().is_err() && "TIFF".parse::<MapFormat>().is_err());
    }
}
