use std::path::{Path, PathBuf};

use fmam_core::{ImageRows, ImageSize, MemoryRows, Reading, RgbImage, SourceError, ValueRange};
use image::ImageFormat;
use image::metadata::Orientation;

use super::bands::Bands;
use super::decode::decode_rgb;
use super::header::ImageHeader;
use super::levels::Levels;
use super::stream::open;
use crate::DatasetError;

/// Opens an image file to be read from top to bottom. The rows are those of
/// [`read_image`](crate::read_image).
///
/// PNG without interlacing and TIFF in strips or tiles are decoded as far as rows are asked for,
/// and [`Reading::max_bytes`] is the limit of the rows that are held together. Other formats, and
/// files with an EXIF orientation, are decoded at once.
///
/// # Errors
/// As [`read_image`](crate::read_image). A fault behind the header of a file that is decoded row by
/// row is an error of [`ImageRows::next_rows`].
pub fn open_rows(path: &Path, reading: &Reading) -> Result<Box<dyn ImageRows>, DatasetError> {
    let mut stream = open(path)?;
    let header = ImageHeader::read(&mut stream, path)?;
    let is_by_rows = header.format == ImageFormat::Png || header.has_tiff_bands;
    let is_upright = header.orientation == Orientation::NoTransforms;
    // Without a range, floating-point numbers are an error that needs all of them.
    let is_scaled = !header.is_float() || matches!(reading.values, ValueRange::Between { .. });
    if !(is_by_rows && is_upright && is_scaled) {
        return Ok(Box::new(MemoryRows::new(decode_rgb(stream, &header, path, reading)?)));
    }
    Ok(Box::new(FileRows {
        bands: Bands::open(stream, &header, path, reading.max_bytes)?,
        levels: Levels::new(reading, &header),
        path: path.to_owned(),
        size: header.size(),
        limit: reading.max_bytes,
        decoded: Vec::new(),
        taken: 0,
        next: 0,
    }))
}

/// The rows of a file that is decoded band by band.
struct FileRows {
    bands: Bands<'static>,
    levels: Levels,
    path: PathBuf,
    size: ImageSize,
    limit: u64,
    /// 8-bit RGB of decoded rows.
    decoded: Vec<u8>,
    /// Bytes of `decoded` that were given.
    taken: usize,
    /// The next row to be given.
    next: usize,
}

impl FileRows {
    fn rows(&mut self, count: usize) -> Result<RgbImage, DatasetError> {
        let path = &self.path;
        let size = ImageSize::new(count.min(self.size.height - self.next), self.size.width);
        let needed = 3 * size.pixels();
        if needed as u64 > self.limit {
            let (path, needed) = (path.clone(), needed as u64);
            return Err(DatasetError::TooLarge { path, size, needed, limit: self.limit });
        }
        if self.decoded.len() - self.taken < needed {
            // Less than `needed` bytes move, so that a long strip is not moved for each of its
            // rows.
            self.decoded.drain(..self.taken);
            self.taken = 0;
        }
        while self.decoded.len() - self.taken < needed {
            let Some((rows, values)) = self.bands.next_band(path)? else {
                return Err(DatasetError::Truncated { path: path.clone() });
            };
            let channels = values.channels(ImageSize::new(rows, size.width));
            self.decoded.append(&mut self.levels.rgb(values, channels, path)?);
        }
        let rows = self.decoded[self.taken..][..needed].to_vec();
        self.taken += needed;
        self.next += size.height;
        if self.next == self.size.height && size.height > 0 {
            self.bands.finish(path)?;
            self.levels.tell(path);
        }
        RgbImage::new(size, rows).map_err(|error| DatasetError::Resize {
            path: path.clone(),
            size,
            source: error.into(),
        })
    }
}

impl ImageRows for FileRows {
    fn size(&self) -> ImageSize {
        self.size
    }

    fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError> {
        Ok(self.rows(count)?)
    }
}
