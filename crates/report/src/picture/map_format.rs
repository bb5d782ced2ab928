//! Anomaly maps as files for other programs, one map a file.

use std::fmt::{Display, Formatter};
use std::path::Path;
use std::str::FromStr;

use fmam_core::{AnomalyMap, ImageSize};
use fmam_record::{resized, write_map};
use png::{BitDepth, ColorType};

use crate::ReportError;
use crate::error::write_atomic;
use crate::picture::large_png;

/// The format of the file of an anomaly map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapFormat {
    /// 16-bit grey PNG: `grey = round(65535 (score - low) / (high - low))`, clamped to 0..=65535,
    /// where `low` and `high` are the range that the caller gives. Equal scores have equal grey
    /// values in every file of one range. `low + grey (high - low) / 65535` is the score again,
    /// within half a step, where it lies in the range. The text chunks `fmam:low` and `fmam:high`
    /// of the file hold the range.
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
/// not at all, and its folder is made where it is missing.
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
        MapFormat::Npy => write_atomic(path, &npy(&map)),
        MapFormat::Png16 => {
            let grey: Vec<u8> =
                map.data().iter().flat_map(|&score| grey(score, range).to_be_bytes()).collect();
            let texts = [("fmam:low", range.0.to_string()), ("fmam:high", range.1.to_string())];
            large_png::write(path, size, (ColorType::Grayscale, BitDepth::Sixteen), &grey, &texts)
        }
    }
}

/// The grey value of a score, see [`MapFormat::Png16`]; 0 for NaN. An empty range has two values: 0,
/// and 65535 for scores above the range.
fn grey(score: f32, (low, high): (f32, f32)) -> u16 {
    let (score, low, high) = (f64::from(score), f64::from(low), f64::from(high));
    let place = if low < high { (score - low) / (high - low) } else { f64::from(u8::from(score > low)) };
    // The conversion clamps and turns NaN into 0.
    (65535.0 * place).round() as u16
}

/// The content of a `.npy` file, version 1.0 of NumPy's format: the scores, row by row.
fn npy(map: &AnomalyMap) -> Vec<u8> {
    let ImageSize { height, width } = map.size();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    // Magic, version and length of the header take 10 bytes; the data begin at a multiple of 64,
    // after a line break.
    let start = (10 + header.len() + 1).next_multiple_of(64);
    header += &" ".repeat(start - 10 - header.len() - 1);
    header.push('\n');
    let mut file = Vec::with_capacity(start + 4 * map.data().len());
    file.extend_from_slice(b"\x93NUMPY\x01\x00");
    // Two numbers of at most twenty digits: far below 2^16 bytes.
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend(map.data().iter().flat_map(|score| score.to_le_bytes()));
    file
}
