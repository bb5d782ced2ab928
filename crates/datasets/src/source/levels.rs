use std::path::Path;

use fmam_core::{Reading, ValueRange};

use super::header::{ImageHeader, Numbers};
use super::values::Values;
use crate::told::{first_of_folder, first_time};
use crate::{Choice, DatasetError};

/// The way from the numbers of a file to 8-bit RGB, over all parts of the file.
pub(super) struct Levels {
    reading: Reading,
    /// Level of each value of a 16-bit file; empty for other files.
    table: Vec<u8>,
    /// The highest value of a 16-bit file that is no black or white by force.
    white: u16,
    is_premultiplied: bool,
    is_clamped: bool,
    is_transparent: bool,
    highest: u16,
}

/// A single 16-bit file below this value is told of: it uses less than 1/8 of its range.
const FEW_LEVELS: u16 = 1 << 13;

impl Levels {
    pub(super) fn new(reading: &Reading, header: &ImageHeader) -> Self {
        let is_16_bit = header.numbers == Numbers::U16;
        let white = match reading.values {
            ValueRange::Bits(bits) => ((1_u32 << bits.min(16)) - 1) as u16,
            _ => header.white,
        };
        let level = |value: u16| match reading.values {
            ValueRange::Between { low, high } => between(f64::from(value), low, high).0,
            _ => share(value.min(white), white),
        };
        let table = if is_16_bit { (0..=u16::MAX).map(level).collect() } else { Vec::new() };
        let is_premultiplied = header.is_premultiplied;
        Self {
            reading: *reading,
            table,
            white,
            is_premultiplied,
            is_clamped: false,
            is_transparent: false,
            highest: 0,
        }
    }

    /// 8-bit RGB of `values`, which have `channels` channels.
    ///
    /// # Errors
    /// [`DatasetError::NotANumber`]; [`DatasetError::NoValueRange`] for floating-point numbers
    /// without a range. Its bounds are those of `values`.
    pub(super) fn rgb(
        &mut self,
        values: Values,
        channels: usize,
        path: &Path,
    ) -> Result<Vec<u8>, DatasetError> {
        self.is_transparent |= values.is_transparent(channels);
        match values {
            Values::U8(values) => Ok(self.rgb_of_8_bit(values, channels)),
            Values::U16(values) => Ok(self.rgb_of_16_bit(&values, channels)),
            Values::F32(values) => self.rgb_of_floats(&values, channels, path),
            Values::F64(values) => self.rgb_of_floats(&values, channels, path),
        }
    }

    /// Warns, once a file, of values beyond the range, and of a file that uses few levels; once a
    /// folder, of transparent pixels.
    pub(super) fn tell(&self, path: &Path) {
        if self.is_transparent {
            first_time(Choice::Transparent, path);
            let [red, green, blue] = self.reading.background;
            if first_of_folder(Choice::Transparent, path) {
                tracing::warn!(
                    path = %path.display(),
                    "the image has transparent pixels: they are laid over the colour {red},{green},{blue}, here \
                     and in images of this folder"
                );
            }
        }
        let values = self.reading.values;
        if self.is_clamped && first_time(Choice::Clamped, path) {
            tracing::warn!(
                path = %path.display(), range = %values,
                "values beyond the range become black or white"
            );
        }
        let is_one_file = values == ValueRange::Auto && !self.table.is_empty() && self.white == u16::MAX;
        if is_one_file && self.highest < FEW_LEVELS && first_time(Choice::FewLevels, path) {
            tracing::warn!(
                path = %path.display(),
                "the file uses {} of 65536 levels: state the depth of its values, such as {}",
                u32::from(self.highest) + 1, ValueRange::for_highest(self.highest)
            );
        }
    }

    fn rgb_of_8_bit(&self, values: Vec<u8>, channels: usize) -> Vec<u8> {
        match channels {
            1 => repeat(values.into_iter()),
            2 => self.compose(values.iter().map(|&value| u32::from(value)), 2, 255),
            4 => self.compose(values.iter().map(|&value| u32::from(value)), 4, 255),
            _ => values,
        }
    }

    fn rgb_of_16_bit(&mut self, values: &[u16], channels: usize) -> Vec<u8> {
        let has_alpha = matches!(channels, 2 | 4);
        let colours = channels - usize::from(has_alpha);
        let range = self.reading.values;
        for pixel in values.chunks_exact(channels) {
            if has_alpha && pixel[colours] == 0 {
                continue;
            }
            for &value in &pixel[..colours] {
                self.highest = self.highest.max(value);
                if let ValueRange::Between { low, high } = range {
                    self.is_clamped |= between(f64::from(value), low, high).1;
                }
            }
        }
        self.is_clamped |= !matches!(range, ValueRange::Between { .. }) && self.highest > self.white;
        let level = |value: u16| self.table[usize::from(value)];
        match channels {
            1 => repeat(values.iter().map(|&value| level(value))),
            3 => values.iter().map(|&value| level(value)).collect(),
            _ => {
                let levels = values.iter().enumerate().map(|(index, &value)| {
                    let is_alpha = index % channels == colours;
                    u32::from(if is_alpha { value } else { u16::from(level(value)) })
                });
                self.compose(levels, channels, 65535)
            }
        }
    }

    fn rgb_of_floats<T: Copy + Into<f64>>(
        &mut self,
        values: &[T],
        channels: usize,
        path: &Path,
    ) -> Result<Vec<u8>, DatasetError> {
        let has_alpha = matches!(channels, 2 | 4);
        let colours = channels - usize::from(has_alpha);
        if values.iter().any(|&value| value.into().is_nan()) {
            return Err(DatasetError::NotANumber { path: path.to_owned() });
        }
        let ValueRange::Between { low, high } = self.reading.values else {
            let colours = values.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]);
            let (lowest, highest) = colours
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
                    (low.min(value.into()), high.max(value.into()))
                });
            return Err(DatasetError::NoValueRange { path: path.to_owned(), lowest, highest });
        };
        let mut levels = Vec::with_capacity(values.len());
        for pixel in values.chunks_exact(channels) {
            let is_visible = !has_alpha || pixel[colours].into() > 0.0;
            for &value in &pixel[..colours] {
                let (level, is_beyond) = between(value.into(), low, high);
                self.is_clamped |= is_beyond && is_visible;
                levels.push(u32::from(level));
            }
            if has_alpha {
                levels.push((pixel[colours].into().clamp(0.0, 1.0) * 65535.0).round() as u32);
            }
        }
        Ok(match channels {
            1 => repeat(levels.into_iter().map(|level| level as u8)),
            3 => levels.into_iter().map(|level| level as u8).collect(),
            _ => self.compose(levels.into_iter(), channels, 65535),
        })
    }

    /// Lays pixels of 8-bit colours and an alpha of 0 to `opaque` over the background.
    fn compose(&self, levels: impl Iterator<Item = u32>, channels: usize, opaque: u32) -> Vec<u8> {
        let colours = channels - 1;
        let (mut rgb, mut pixel) = (Vec::new(), Vec::with_capacity(channels));
        for level in levels {
            pixel.push(level);
            if pixel.len() < channels {
                continue;
            }
            let alpha = pixel[colours];
            for (channel, &back) in self.reading.background.iter().enumerate() {
                let colour = pixel[channel.min(colours - 1)];
                let back = u32::from(back) * (opaque - alpha);
                let level = if self.is_premultiplied {
                    (colour * u32::from(alpha > 0) + (back + opaque / 2) / opaque).min(255)
                } else {
                    (colour * alpha + back + opaque / 2) / opaque
                };
                rgb.push(level as u8);
            }
            pixel.clear();
        }
        rgb
    }
}

/// Each level three times.
fn repeat(levels: impl ExactSizeIterator<Item = u8>) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(3 * levels.len());
    for level in levels {
        rgb.extend_from_slice(&[level; 3]);
    }
    rgb
}

/// The level of `value` between black at 0 and white at `white`, rounded.
fn share(value: u16, white: u16) -> u8 {
    let (value, white) = (u32::from(value), u32::from(white).max(1));
    ((2 * 255 * value + white) / (2 * white)) as u8
}

/// The level of `value` between black at `low` and white at `high`, rounded; true if `value` lies
/// beyond.
fn between(value: f64, low: f64, high: f64) -> (u8, bool) {
    let share = (value - low) / (high - low);
    ((share.clamp(0.0, 1.0) * 255.0).round() as u8, !(0.0..=1.0).contains(&share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_round_as_the_image_crate_does() {
        for value in 0..=u16::MAX {
            let pixel = image::ImageBuffer::from_pixel(1, 1, image::Luma([value]));
            let theirs = image::DynamicImage::ImageLuma16(pixel).into_rgb8().get_pixel(0, 0).0;
            assert_eq!([share(value, u16::MAX); 3], theirs, "{value}");
        }
    }

    #[test]
    fn a_level_is_rounded_and_a_value_beyond_is_told() {
        assert_eq!([0, 8, 9, 2047, 2048, 4095].map(|value| share(value, 4095)), [0, 0, 1, 127, 128, 255]);
        assert_eq!(between(0.5, 0.0, 1.0), (128, false));
        assert_eq!(between(-10.0, -10.0, 10.0), (0, false));
        assert_eq!(between(1.01, 0.0, 1.0), (255, true));
        assert_eq!(between(f64::NEG_INFINITY, 0.0, 1.0), (0, true));
    }
}
