use std::path::Path;

use image::error::{DecodingError, ImageFormatHint};
use image::{ImageError, ImageFormat};
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::decoder_limit::decoder_bytes;
use super::header::ImageHeader;
use super::stream::Stream;
use super::values::Values;
use crate::told::tell_first_frame;
use crate::{DatasetError, PixelKind};

/// The strips or rows of tiles of a TIFF file, from top to bottom.
pub(super) struct TiffBands<'a> {
    decoder: Decoder<Stream<'a>>,
    width: usize,
    height: usize,
    channels: usize,
    /// Height and width of a strip or tile.
    chunk: (usize, usize),
    next_row: usize,
}

impl<'a> TiffBands<'a> {
    /// Opens a file whose header [has bands](ImageHeader::has_tiff_bands).
    ///
    /// # Errors
    /// [`DatasetError::Decode`]; [`DatasetError::TooLarge`] if one strip or row of tiles takes more
    /// than `limit` bytes.
    pub(super) fn open(
        stream: Stream<'a>,
        header: &ImageHeader,
        path: &Path,
        limit: u64,
    ) -> Result<Self, DatasetError> {
        tell_first_frame(header.has_more_frames(), path);
        let decoder = Decoder::new(stream).map_err(|error| decode_error(path, error))?;
        let (width, height) = decoder.chunk_dimensions();
        let chunk = (height as usize, width as usize);
        let size = header.stored;
        let pixel = (header.channels * header.numbers.bytes()) as u64;
        let rows = chunk.0.min(size.height) as u64;
        let band = rows.saturating_mul(size.width as u64).saturating_mul(pixel);
        // A tile may be wider than the image.
        let tile = (chunk.0 as u64).saturating_mul(chunk.1 as u64).saturating_mul(pixel);
        let tile = if chunk.1 > size.width { tile } else { 0 };
        if chunk.0 == 0 || chunk.1 == 0 || band.max(tile) > limit {
            let (path, needed) = (path.to_owned(), band.max(tile));
            return Err(DatasetError::TooLarge { path, size: header.size(), needed, limit });
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = usize::try_from(limit).unwrap_or(usize::MAX);
        // As much as for an image that is decoded at once, so that both take the same files.
        limits.intermediate_buffer_size = usize::try_from(decoder_bytes(limit)).unwrap_or(usize::MAX);
        limits.ifd_value_size = limits.intermediate_buffer_size;
        let decoder = decoder.with_limits(limits);
        let (channels, next_row) = (header.channels, 0);
        Ok(Self { decoder, width: size.width, height: size.height, channels, chunk, next_row })
    }

    /// The number of rows of the next band, and their numbers; `None` at the end.
    ///
    /// # Errors
    /// [`DatasetError::Decode`] for a damaged file.
    pub(super) fn next_band(&mut self, path: &Path) -> Result<Option<(usize, Values)>, DatasetError> {
        if self.next_row >= self.height {
            return Ok(None);
        }
        let across = self.width.div_ceil(self.chunk.1);
        let first = self.next_row / self.chunk.0 * across;
        let rows = self.chunk.0.min(self.height - self.next_row);
        self.next_row += rows;
        let mut tiles = Vec::with_capacity(across);
        for index in first..first + across {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            tiles.push(self.decoder.read_chunk(index).map_err(|error| decode_error(path, error))?);
        }
        let joined = self.join(tiles, rows);
        let unread = || {
            let kind = PixelKind::Channels { count: self.channels };
            DatasetError::PixelKind { path: path.to_owned(), kind }
        };
        Ok(Some((rows, joined.ok_or_else(unread)?)))
    }

    /// The rows of `tiles`, which lie side by side. `None` where a tile has another type or number
    /// of values than the header says.
    fn join(&self, tiles: Vec<DecodingResult>, rows: usize) -> Option<Values> {
        Some(match tiles.first()? {
            DecodingResult::U8(_) => Values::U8(self.interleave(rows, tiles, |tile| match tile {
                DecodingResult::U8(values) => Some(values),
                _ => None,
            })?),
            DecodingResult::U16(_) => Values::U16(self.interleave(rows, tiles, |tile| match tile {
                DecodingResult::U16(values) => Some(values),
                _ => None,
            })?),
            DecodingResult::F16(_) | DecodingResult::F32(_) => {
                Values::F32(self.interleave(rows, tiles, |tile| match tile {
                    DecodingResult::F16(values) => {
                        Some(values.into_iter().map(|value| value.to_f32()).collect())
                    }
                    DecodingResult::F32(values) => Some(values),
                    _ => None,
                })?)
            }
            DecodingResult::F64(_) => Values::F64(self.interleave(rows, tiles, |tile| match tile {
                DecodingResult::F64(values) => Some(values),
                _ => None,
            })?),
            _ => return None,
        })
    }

    fn interleave<T: Copy + Default>(
        &self,
        rows: usize,
        tiles: Vec<DecodingResult>,
        values_of: impl Fn(DecodingResult) -> Option<Vec<T>>,
    ) -> Option<Vec<T>> {
        let row_length = self.width * self.channels;
        let is_strip = self.chunk.1 == self.width;
        let mut band = if is_strip { Vec::new() } else { vec![T::default(); rows * row_length] };
        for (column, tile) in tiles.into_iter().enumerate() {
            let tile = values_of(tile)?;
            let left = column * self.chunk.1;
            let length = self.chunk.1.min(self.width - left) * self.channels;
            if tile.len() != rows * length {
                return None;
            }
            if is_strip {
                return Some(tile);
            }
            for (row, source) in tile.chunks_exact(length).enumerate() {
                band[row * row_length + left * self.channels..][..length].copy_from_slice(source);
            }
        }
        Some(band)
    }
}

fn decode_error(path: &Path, error: tiff::TiffError) -> DatasetError {
    let hint = ImageFormatHint::Exact(ImageFormat::Tiff);
    DatasetError::Decode {
        path: path.to_owned(),
        source: ImageError::Decoding(DecodingError::new(hint, error)),
    }
}
