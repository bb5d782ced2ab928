use std::io::SeekFrom;
use std::path::Path;

use image::error::{DecodingError, ImageFormatHint};
use image::{ImageError, ImageFormat};

use super::header::{ImageHeader, Numbers};
use super::samples::decode_values;
use super::stream::Stream;
use super::tiff_bands::TiffBands;
use super::values::Values;
use crate::DatasetError;
use crate::told::tell_first_frame;

/// The pixels of an image file from top to bottom, as they are stored: row by row where the format
/// allows it, so that memory holds few rows.
pub(super) enum Bands<'a> {
    Png(Box<png::Reader<Stream<'a>>>, Numbers),
    Tiff(Box<TiffBands<'a>>),
    /// All rows at once, until they are taken.
    Whole(Option<(usize, Values)>),
}

impl<'a> Bands<'a> {
    /// Opens a file at its first row. `limit` is that of the rows which are held together.
    ///
    /// # Errors
    /// [`DatasetError::Read`], [`DatasetError::Decode`], [`DatasetError::TooLarge`].
    pub(super) fn open(
        mut stream: Stream<'a>,
        header: &ImageHeader,
        path: &Path,
        limit: u64,
    ) -> Result<Self, DatasetError> {
        let read_error = |source| DatasetError::Read { path: path.to_owned(), source };
        if header.has_tiff_bands {
            return Ok(Self::Tiff(Box::new(TiffBands::open(stream, header, path, limit)?)));
        }
        if header.format == ImageFormat::Png && !is_interlaced(&mut stream).map_err(read_error)? {
            tell_first_frame(header.has_more_frames(), path);
            let bytes = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut decoder = png::Decoder::new_with_limits(stream, png::Limits { bytes });
            decoder.set_transformations(png::Transformations::EXPAND);
            let reader = decoder.read_info().map_err(|error| decode_error(path, error))?;
            return Ok(Self::Png(Box::new(reader), header.numbers));
        }
        let values = decode_values(stream, header, path, limit)?;
        Ok(Self::Whole(Some((header.stored.height, values))))
    }

    /// The number of rows of the next band, and their numbers; `None` at the end.
    ///
    /// # Errors
    /// [`DatasetError::Decode`] for a damaged file.
    pub(super) fn next_band(&mut self, path: &Path) -> Result<Option<(usize, Values)>, DatasetError> {
        match self {
            Self::Png(reader, numbers) => {
                let row = reader.next_row().map_err(|error| decode_error(path, error))?;
                let Some(row) = row else { return Ok(None) };
                let row = row.data();
                let is_16_bit = *numbers == Numbers::U16;
                let values = if is_16_bit {
                    let pairs = row.chunks_exact(2);
                    Values::U16(pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
                } else {
                    Values::U8(row.to_vec())
                };
                Ok(Some((1, values)))
            }
            Self::Tiff(bands) => bands.next_band(path),
            Self::Whole(all) => Ok(all.take()),
        }
    }
}

impl Bands<'_> {
    /// Reads to the end of the pixels, behind the last row: the checksum of a PNG file is there.
    ///
    /// # Errors
    /// [`DatasetError::Decode`] for a file that is cut off or whose checksum does not fit.
    pub(super) fn finish(&mut self, path: &Path) -> Result<(), DatasetError> {
        match self {
            Self::Png(reader, _) => reader.next_row().map(drop).map_err(|error| decode_error(path, error)),
            Self::Tiff(_) | Self::Whole(_) => Ok(()),
        }
    }
}

/// True if the header of a PNG file says that its rows are interlaced. Goes back to the start.
fn is_interlaced(stream: &mut Stream<'_>) -> std::io::Result<bool> {
    /// Place of the interlace method: behind the signature and 20 bytes of the first chunk.
    const INTERLACE_METHOD: u64 = 28;
    stream.seek(SeekFrom::Start(INTERLACE_METHOD))?;
    let mut method = [0];
    stream.read_exact(&mut method)?;
    stream.rewind()?;
    Ok(method != [0])
}

fn decode_error(path: &Path, error: png::DecodingError) -> DatasetError {
    let hint = ImageFormatHint::Exact(ImageFormat::Png);
    DatasetError::Decode {
        path: path.to_owned(),
        source: ImageError::Decoding(DecodingError::new(hint, error)),
    }
}
