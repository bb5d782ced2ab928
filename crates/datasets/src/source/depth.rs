use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fmam_core::{ImageSize, Reading, ValueRange, ordered_map};

use super::bands::Bands;
use super::header::ImageHeader;
use super::stream::{Stream, in_memory, open};
use super::values::Values;
use crate::told::first_time;
use crate::{Choice, DatasetError};

/// An image file, or the bytes of one.
#[derive(Debug, Clone, Copy)]
pub enum ImageInput<'a> {
    /// A file.
    File(&'a Path),
    /// The bytes of a file, and the name of the image in errors.
    Bytes(&'a [u8], &'a str),
}

impl<'a> ImageInput<'a> {
    fn open(self) -> Result<(Stream<'a>, &'a Path), DatasetError> {
        Ok(match self {
            Self::File(path) => (open(path)?, path),
            Self::Bytes(bytes, name) => (in_memory(bytes), Path::new(name)),
        })
    }
}

/// The depth that the 16-bit files of a training set use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// Bits, one of [`ValueRange::DEPTHS`].
    pub bits: u8,
    /// The highest value of all files.
    pub highest: u16,
    /// The first file with that value.
    pub name: PathBuf,
    /// Number of 16-bit files.
    pub n_files: usize,
    /// The smallest depth that holds the highest values of more than half of the files.
    pub most_bits: u8,
    /// The number of files that `most_bits` holds.
    pub n_most: usize,
}

impl Depth {
    /// Tells the depth, once a file in a process.
    fn tell(&self) {
        if !first_time(Choice::Depth, &self.name) {
            return;
        }
        let (path, Self { bits, highest, n_files, most_bits, n_most, .. }) = (self.name.display(), self);
        if most_bits < bits {
            tracing::warn!(
                %path,
                "16-bit files use {bits} bits (the highest value is {highest}, in this file): scaled from \
                 there, though {n_most} of {n_files} files fit {most_bits} bits"
            );
        } else if *bits < 16 {
            tracing::warn!(
                %path,
                "16-bit files use {bits} bits (the highest value is {highest}, in this file): scaled from there"
            );
        } else {
            tracing::info!(%path, "16-bit files use all 16 bits (the highest value is {highest}, in this file)");
        }
    }
}

/// Finds the depth that the 16-bit files among `n` training images use: the smallest of
/// [`ValueRange::DEPTHS`] that holds their highest value. `None` where no file has 16 bits. Of
/// files of 8 bits and of floating-point numbers only the header is read; the others are decoded in
/// parallel, some rows at a time where the format allows it.
///
/// `input` gives image `index`; `None` for pixels in memory, which have 8 bits. Transparent pixels
/// do not count. A PNM file that states its highest value counts with that.
///
/// # Errors
/// The first fault of a file, as [`read_image`](crate::read_image) has it.
pub fn training_depth<'a>(
    n: usize,
    max_bytes: u64,
    input: impl Fn(usize) -> Option<ImageInput<'a>> + Sync,
) -> Result<Option<Depth>, DatasetError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = |index: usize| match input(index) {
        Some(input) => {
            let (stream, path) = input.open()?;
            Ok(highest_in(stream, path, max_bytes)?.map(|highest| (highest, path.to_owned())))
        }
        None => Ok(None),
    };
    let mut found: Option<(u16, PathBuf)> = None;
    let mut of_files = Vec::new();
    ordered_map(n, threads, threads, work, |_, of_file: Result<_, DatasetError>| {
        if let Some((highest, name)) = of_file? {
            of_files.push(bits_for(highest));
            if found.as_ref().is_none_or(|(most, _)| highest > *most) {
                found = Some((highest, name));
            }
        }
        Ok(())
    })?;
    Ok(found.map(|(highest, name)| {
        of_files.sort_unstable();
        let n_files = of_files.len();
        let most_bits = of_files[n_files / 2];
        let n_most = of_files.iter().filter(|&&bits| bits <= most_bits).count();
        Depth { bits: bits_for(highest), highest, name, n_files, most_bits, n_most }
    }))
}

/// The smallest depth that holds the value `highest`.
pub fn bits_for(highest: u16) -> u8 {
    match ValueRange::for_highest(highest) {
        ValueRange::Bits(bits) => bits,
        _ => 16,
    }
}

/// The highest value of the 16-bit file `path`, as it counts for [`training_depth`]; `None` for a
/// file of another kind, of which only the header is read.
///
/// # Errors
/// As [`read_image`](crate::read_image).
pub fn highest_value(path: &Path, max_bytes: u64) -> Result<Option<u16>, DatasetError> {
    highest_in(open(path)?, path, max_bytes)
}

fn highest_in(mut stream: Stream<'_>, path: &Path, limit: u64) -> Result<Option<u16>, DatasetError> {
    let header = ImageHeader::read(&mut stream, path)?;
    if !header.is_16_bit() {
        return Ok(None);
    }
    if header.white != u16::MAX {
        return Ok(Some(header.white));
    }
    let mut bands = Bands::open(stream, &header, path, limit)?;
    let has_alpha = matches!(header.channels, 2 | 4);
    let mut highest = 0;
    while let Some((rows, band)) = bands.next_band(path)? {
        let channels = band.channels(ImageSize::new(rows, header.stored.width));
        let Values::U16(values) = band else { continue };
        let has_alpha = has_alpha && channels == header.channels;
        for pixel in values.chunks_exact(channels.max(1)) {
            let colours = if has_alpha { &pixel[..channels - 1] } else { pixel };
            if !has_alpha || pixel[channels - 1] > 0 {
                highest = colours.iter().copied().fold(highest, u16::max);
            }
        }
    }
    Ok(Some(highest))
}

/// The depth of a training set, found when the first 16-bit file is asked for: a set of 8-bit files
/// costs nothing. Training and test images of a set share one.
#[derive(Debug, Default)]
pub struct TrainingDepth {
    found: Mutex<Option<Option<u8>>>,
}

impl TrainingDepth {
    /// The bits of [`training_depth`], found at the first call, which tells the depth and the file
    /// with the highest value. The arguments are those of `training_depth`, the same at each call.
    ///
    /// # Errors
    /// As [`training_depth`].
    pub fn bits<'a>(
        &self,
        n: usize,
        max_bytes: u64,
        input: impl Fn(usize) -> Option<ImageInput<'a>> + Sync,
    ) -> Result<Option<u8>, DatasetError> {
        // Other threads wait for the one that looks through the files.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bits) = *found {
            return Ok(bits);
        }
        let depth = training_depth(n, max_bytes, input)?;
        if let Some(depth) = &depth {
            depth.tell();
        }
        let bits = depth.map(|depth| depth.bits);
        *found = Some(bits);
        Ok(bits)
    }

    /// `reading` for the image behind `header`: [`ValueRange::Auto`] of a 16-bit file becomes the
    /// depth of the training set, where that has one. The other arguments are those of
    /// [`TrainingDepth::bits`].
    ///
    /// # Errors
    /// As [`training_depth`].
    pub fn reading<'a>(
        &self,
        reading: &Reading,
        header: &ImageHeader,
        n: usize,
        input: impl Fn(usize) -> Option<ImageInput<'a>> + Sync,
    ) -> Result<Reading, DatasetError> {
        if reading.values != ValueRange::Auto || !header.is_16_bit() {
            return Ok(*reading);
        }
        let bits = self.bits(n, reading.max_bytes, input)?;
        Ok(Reading { values: bits.map_or(ValueRange::Auto, ValueRange::Bits), ..*reading })
    }
}
