use std::io::{self, Read, SeekFrom};
use std::path::Path;

use fmam_core::ImageSize;
use fmam_files::{PLACEHOLDER_HEAD, Placeholder};
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{DecodingError, ImageFormatHint};
use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageFormat, ImageReader};
use tiff::tags::{SampleFormat, Tag};

use super::stream::{Stream, in_memory, open};
use crate::{DatasetError, PixelKind};

/// The type of the numbers in an image file, after the unpacking of fewer than 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    U8,
    U16,
    F16,
    F32,
    F64,
}

impl Numbers {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

/// The header of an image file: the facts that are known before any pixel is decoded.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    pub(super) format: ImageFormat,
    /// The size of the pixels as they are stored.
    pub(super) stored: ImageSize,
    pub(super) orientation: Orientation,
    /// 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha; 4 also for CMYK.
    pub(super) channels: usize,
    pub(super) numbers: Numbers,
    /// The value of a 16-bit file that its header calls white: 65535 but for PNM.
    pub(super) white: u16,
    /// True if colours are multiplied by alpha already.
    pub(super) is_premultiplied: bool,
    /// True if the `tiff` crate reads the strips or tiles one by one.
    pub(super) has_tiff_bands: bool,
    /// True if the pixels have gone through lossy compression.
    pub(super) is_lossy: bool,
    has_more_frames: bool,
    is_cmyk: bool,
    /// Bytes of the file.
    length: u64,
}

/// Reads the header of the image file `path`, and nothing behind it.
///
/// # Errors
/// [`DatasetError::NotAFile`], [`DatasetError::Read`], [`DatasetError::Decode`], and
/// [`DatasetError::PixelKind`] for pixels that are not read.
pub fn image_header(path: &Path) -> Result<ImageHeader, DatasetError> {
    ImageHeader::read(&mut open(path)?, path)
}

/// Reads the header of an image in memory as [`image_header`] does; `name` is the name of the image
/// in errors.
///
/// # Errors
/// As [`image_header`].
pub fn decode_header(bytes: &[u8], name: impl AsRef<Path>) -> Result<ImageHeader, DatasetError> {
    ImageHeader::read(&mut in_memory(bytes), name.as_ref())
}

/// Height and width of an image file after its EXIF orientation, from its header.
///
/// # Errors
/// As [`image_header`].
pub fn image_size(path: &Path) -> Result<ImageSize, DatasetError> {
    Ok(image_header(path)?.size())
}

impl ImageHeader {
    /// Height and width after the EXIF orientation is applied.
    pub fn size(&self) -> ImageSize {
        turned(self.stored, self.orientation)
    }

    /// The EXIF orientation, 1 to 8; 1 where the file states none.
    pub fn orientation(&self) -> u8 {
        self.orientation.to_exif()
    }

    /// Bits of a number: 8 (fewer are unpacked to 8), 16, 32 or 64.
    pub fn bits(&self) -> usize {
        8 * self.numbers.bytes()
    }

    /// True if the file holds floating-point numbers, which need a range of values.
    pub fn is_float(&self) -> bool {
        self.numbers.is_float()
    }

    /// 1 for grey, 2 for grey and alpha, 3 for colour, 4 for colour and alpha, or CMYK in TIFF.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The format of the file as people write it: `PNG`, `JPEG`, `TIFF`.
    pub fn format(&self) -> &'static str {
        match self.format {
            ImageFormat::Png => "PNG",
            ImageFormat::Jpeg => "JPEG",
            ImageFormat::Tiff => "TIFF",
            ImageFormat::WebP => "WebP",
            ImageFormat::Gif => "GIF",
            ImageFormat::Pnm => "PNM",
            _ => "BMP",
        }
    }

    /// True for a file of cyan, magenta, yellow and black.
    pub fn is_cmyk(&self) -> bool {
        self.is_cmyk
    }

    /// True if pixels have an opacity.
    pub fn has_alpha(&self) -> bool {
        matches!(self.channels, 2 | 4) && !self.is_cmyk
    }

    /// True if the file holds further frames or pages, which are not read. A GIF file does not say
    /// so in its header.
    pub fn has_more_frames(&self) -> bool {
        self.has_more_frames
    }

    /// True for a file of 16-bit integers, which a depth scales.
    pub fn is_16_bit(&self) -> bool {
        self.numbers == Numbers::U16
    }

    /// Bytes of the decoded image.
    pub fn bytes(&self) -> u64 {
        let (height, width) = (self.stored.height as u64, self.stored.width as u64);
        let pixel = (self.channels * self.numbers.bytes()) as u64;
        let decoded = height.saturating_mul(width).saturating_mul(pixel);
        // The decoder of JPEG holds the file as well.
        if self.format == ImageFormat::Jpeg { decoded.max(self.length) } else { decoded }
    }

    /// Refuses an image that would take more than `limit` bytes.
    ///
    /// # Errors
    /// [`DatasetError::TooLarge`].
    pub(super) fn check_limit(&self, path: &Path, limit: u64) -> Result<(), DatasetError> {
        let needed = self.bytes();
        if needed > limit {
            let (path, size) = (path.to_owned(), self.size());
            return Err(DatasetError::TooLarge { path, size, needed, limit });
        }
        Ok(())
    }

    /// Reads the header, and goes back to the start.
    pub(super) fn read(stream: &mut Stream<'_>, path: &Path) -> Result<Self, DatasetError> {
        let read_error = |source| DatasetError::Read { path: path.to_owned(), source };
        let length = stream.seek(SeekFrom::End(0)).map_err(read_error)?;
        stream.rewind().map_err(read_error)?;
        let format = ImageReader::new(&mut *stream).with_guessed_format().map_err(read_error)?.format();
        let decode_error = |source| DatasetError::Decode { path: path.to_owned(), source };
        if format.is_none() {
            let mut head = Vec::new();
            stream.by_ref().take(PLACEHOLDER_HEAD).read_to_end(&mut head).map_err(read_error)?;
            if let Some(found) = Placeholder::of(&head) {
                return Err(decode_error(ImageError::IoError(io::Error::other(found))));
            }
            stream.rewind().map_err(read_error)?;
        }
        let header = match format {
            Some(ImageFormat::Png) => {
                let decoder = PngDecoder::new(&mut *stream).map_err(decode_error)?;
                let has_more_frames = decoder.is_apng().map_err(decode_error)?;
                Self::of(decoder, ImageFormat::Png).map(|header| Self { has_more_frames, ..header })
            }
            Some(ImageFormat::WebP) => {
                let decoder = WebPDecoder::new(&mut *stream).map_err(decode_error)?;
                let has_more_frames = decoder.has_animation();
                let header = Self::of(decoder, ImageFormat::WebP);
                let is_lossy = is_lossy_webp(stream).map_err(read_error)?;
                header.map(|header| Self { has_more_frames, is_lossy, ..header })
            }
            Some(ImageFormat::Pnm) => {
                let decoder = PnmDecoder::new(&mut *stream).map_err(decode_error)?;
                let most = decoder.header().maximal_sample();
                let white = if most > 255 { u16::try_from(most).unwrap_or(u16::MAX) } else { u16::MAX };
                Self::of(decoder, ImageFormat::Pnm).map(|header| Self { white, ..header })
            }
            Some(ImageFormat::Gif) => {
                GifDecoder::new(&mut *stream).and_then(|decoder| Self::of(decoder, ImageFormat::Gif))
            }
            Some(ImageFormat::Jpeg) => Self::of_jpeg(stream),
            Some(ImageFormat::Tiff) => {
                stream.rewind().map_err(read_error)?;
                Self::of_tiff(stream, path)?
            }
            format => {
                // The decoder of BMP, or the error that names an unknown format.
                let guessed = ImageReader::new(&mut *stream).with_guessed_format().map_err(read_error)?;
                let decoder = guessed.into_decoder().map_err(decode_error)?;
                Self::of(decoder, format.unwrap_or(ImageFormat::Bmp))
            }
        };
        let header = header.map_err(decode_error)?;
        stream.rewind().map_err(read_error)?;
        Ok(Self { length, ..header })
    }

    fn new(format: ImageFormat, stored: ImageSize, channels: usize, numbers: Numbers) -> Self {
        Self {
            format,
            stored,
            orientation: Orientation::NoTransforms,
            channels,
            numbers,
            white: u16::MAX,
            is_premultiplied: false,
            has_tiff_bands: false,
            is_lossy: format == ImageFormat::Jpeg,
            has_more_frames: false,
            is_cmyk: false,
            length: 0,
        }
    }

    fn of(mut decoder: impl ImageDecoder, format: ImageFormat) -> Result<Self, ImageError> {
        let (width, height) = decoder.dimensions();
        let color = decoder.color_type();
        let channels = usize::from(color.channel_count());
        let is_8_bit = usize::from(color.bytes_per_pixel()) == channels;
        let numbers = if is_8_bit { Numbers::U8 } else { Numbers::U16 };
        let stored = ImageSize::new(height as usize, width as usize);
        let mut header = Self::new(format, stored, channels, numbers);
        if let Some(exif) = decoder.exif_metadata()? {
            header.orientation = orientation_of(&exif);
        }
        Ok(header)
    }

    /// The decoder of the `image` crate would read the whole file.
    fn of_jpeg(stream: &mut Stream<'_>) -> Result<Self, ImageError> {
        let options = zune_jpeg::zune_core::options::DecoderOptions::default()
            .set_strict_mode(false)
            .set_max_width(usize::MAX)
            .set_max_height(usize::MAX);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(&mut *stream, options);
        let hint = || ImageFormatHint::Exact(ImageFormat::Jpeg);
        let decoded = decoder.decode_headers();
        decoded.map_err(|error| ImageError::Decoding(DecodingError::new(hint(), error)))?;
        let info = decoder.info();
        let info = info.ok_or_else(|| ImageError::Decoding(DecodingError::from_format_hint(hint())))?;
        let stored = ImageSize::new(usize::from(info.height), usize::from(info.width));
        let channels = if info.components == 1 { 1 } else { 3 };
        let mut header = Self::new(ImageFormat::Jpeg, stored, channels, Numbers::U8);
        header.is_cmyk = info.components == 4;
        if let Some(exif) = decoder.exif() {
            header.orientation = orientation_of(exif);
        }
        Ok(header)
    }

    fn of_tiff(stream: &mut Stream<'_>, path: &Path) -> Result<Result<Self, ImageError>, DatasetError> {
        let refuse = |kind| Err(DatasetError::PixelKind { path: path.to_owned(), kind });
        let hint = || ImageFormatHint::Exact(ImageFormat::Tiff);
        let facts = TiffFacts::read(stream);
        let facts = match facts {
            Ok(facts) => facts,
            Err(error) => return Ok(Err(ImageError::Decoding(DecodingError::new(hint(), error)))),
        };
        let bits = facts.color.bit_depth();
        let numbers = match (facts.format, bits) {
            (SampleFormat::Uint, 1 | 8) => Numbers::U8,
            (SampleFormat::Uint, 16) => Numbers::U16,
            (SampleFormat::IEEEFP, 16) => Numbers::F16,
            (SampleFormat::IEEEFP, 32) => Numbers::F32,
            (SampleFormat::IEEEFP, 64) => Numbers::F64,
            (SampleFormat::Int, bits) => return refuse(PixelKind::Signed { bits }),
            (SampleFormat::IEEEFP, bits) => return refuse(PixelKind::Float { bits }),
            (_, bits) => return refuse(PixelKind::Unsigned { bits }),
        };
        let (channels, is_ours) = match facts.color {
            tiff::ColorType::Gray(1) => (1, false),
            tiff::ColorType::Gray(_) => (1, true),
            tiff::ColorType::Multiband { num_samples: 2, .. } if facts.alpha.is_some() => (2, true),
            tiff::ColorType::RGB(_) => (3, true),
            tiff::ColorType::RGBA(_) => (4, true),
            tiff::ColorType::CMYK(_) if !numbers.is_float() => (4, false),
            tiff::ColorType::Palette(_) => return refuse(PixelKind::Palette),
            color => return refuse(PixelKind::Channels { count: usize::from(color.num_samples()) }),
        };
        if channels >= 3 && !facts.states_its_samples() {
            return refuse(PixelKind::UnstatedSample { count: facts.samples });
        }
        // The decoder inverts such numbers from the end of their range, which hides their depth.
        if facts.is_white_zero && numbers != Numbers::U8 {
            return refuse(PixelKind::WhiteIsZero { bits });
        }
        if !facts.is_chunky && (numbers.is_float() || channels == 2) {
            return refuse(PixelKind::Planar);
        }
        let mut header = Self::new(ImageFormat::Tiff, facts.size, channels, numbers);
        header.orientation = Orientation::from_exif(facts.orientation).unwrap_or(Orientation::NoTransforms);
        header.is_premultiplied = facts.alpha == Some(1) && matches!(channels, 2 | 4);
        header.has_tiff_bands = is_ours && facts.is_chunky;
        header.is_lossy = facts.is_jpeg;
        header.has_more_frames = facts.has_more_pages;
        header.is_cmyk = matches!(facts.color, tiff::ColorType::CMYK(_));
        Ok(Ok(header))
    }
}

/// The photometric interpretation of a TIFF file of indices.
const COLOUR_MAP: u16 = 3;

/// The tags of a TIFF file that decide how its pixels are read.
struct TiffFacts {
    size: ImageSize,
    color: tiff::ColorType,
    format: SampleFormat,
    /// The kind of the first extra sample where it is alpha: 1 premultiplied, 2 not.
    alpha: Option<u16>,
    /// Numbers of a pixel.
    samples: usize,
    /// True if 0 is white.
    is_white_zero: bool,
    /// True if strips or tiles are JPEG.
    is_jpeg: bool,
    is_chunky: bool,
    orientation: u8,
    has_more_pages: bool,
}

impl TiffFacts {
    fn read(stream: &mut Stream<'_>) -> Result<Self, tiff::TiffError> {
        let mut decoder = tiff::decoder::Decoder::new(&mut *stream)?;
        let (width, height) = decoder.dimensions()?;
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?.unwrap_or_default();
        let format = formats.first().copied().unwrap_or(1);
        let format = if formats.iter().all(|&other| other == format) {
            SampleFormat::from_u16(format).unwrap_or(SampleFormat::Void)
        } else {
            SampleFormat::Void
        };
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.unwrap_or_default();
        let planar = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?.unwrap_or(1);
        let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation)?.unwrap_or(1);
        let samples = decoder.find_tag_unsigned::<u16>(Tag::SamplesPerPixel)?.unwrap_or(1);
        let meaning = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)?;
        let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression)?;
        // The decoder has an error of its own for indices, which names no kind of pixels.
        let is_palette = meaning == Some(COLOUR_MAP);
        let color = if is_palette { tiff::ColorType::Palette(8) } else { decoder.colortype()? };
        Ok(Self {
            size: ImageSize::new(height as usize, width as usize),
            color,
            format,
            alpha: extra.first().copied().filter(|kind| matches!(kind, 1 | 2)),
            samples: usize::from(samples),
            is_white_zero: meaning == Some(0),
            is_jpeg: matches!(compression, Some(6 | 7)),
            is_chunky: planar == 1,
            orientation: u8::try_from(orientation).unwrap_or(1),
            has_more_pages: decoder.more_images(),
        })
    }

    /// False for red, green and blue with a further sample that is not stated as alpha.
    fn states_its_samples(&self) -> bool {
        match self.color {
            tiff::ColorType::RGB(_) => self.samples == 3,
            tiff::ColorType::RGBA(_) => self.samples == 4 && self.alpha.is_some(),
            _ => true,
        }
    }
}

/// True if the first image of a WebP file has lossy compression: its chunk is `VP8 ` and not
/// `VP8L`.
fn is_lossy_webp(stream: &mut Stream<'_>) -> std::io::Result<bool> {
    /// Place of the first chunk, behind `RIFF`, the size and `WEBP`.
    const FIRST_CHUNK: u64 = 12;
    /// Bytes of a frame of an animation before its own chunks.
    const FRAME_HEADER: u64 = 16;
    let mut place = FIRST_CHUNK;
    loop {
        stream.seek(SeekFrom::Start(place))?;
        let mut head = [0; 8];
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        let [kind @ .., a, b, c, d] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        place += match &kind {
            b"VP8 " => return Ok(true),
            b"VP8L" => return Ok(false),
            b"ANMF" => 8 + FRAME_HEADER,
            // Chunks have an even length.
            _ => 8 + length + length % 2,
        };
    }
}

/// `size` after `orientation` is applied.
pub(super) fn turned(size: ImageSize, orientation: Orientation) -> ImageSize {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => ImageSize::new(size.width, size.height),
        _ => size,
    }
}

/// The orientation in EXIF data, which some writers of WebP begin with the mark of JPEG's segment.
fn orientation_of(exif: &[u8]) -> Orientation {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}
