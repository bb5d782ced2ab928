use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, Mask, Reading, Sample};
use image::{DynamicImage, ImageBuffer, Pixel};

use super::area::resize_mask;
use super::header::{ImageHeader, image_header};
use super::mask_image::mask_image;
use crate::DatasetError;

/// Format in which a data set publishes the masks of its anomalous images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskFormat {
    /// The values of each file tell its anomalous pixels, see [`load_mask`].
    Binary,
    /// Anomalous above half of the range: the published masks have soft edges. Some of them have
    /// no anomalous pixel, though their images are anomalous, which is warned of.
    SoftOrBlank,
    /// The index of the defect's class, 0 where there is none: anomalous wherever it is not 0.
    ClassIndices,
}

/// More values than this are neither class indices nor grey levels of a drawing. They are the soft
/// edges of a smoothed or compressed mask where the largest is near the end of the range.
const MOST_LEVELS: usize = 16;

/// Decodes the mask file of the image file `image` and resizes it by area to `size`: a pixel of the
/// result is anomalous where at least half of the area that it covers is, so that partly covered
/// pixels do not add to a defect.
///
/// In the file, the value of a pixel is its largest channel in the file's own depth, times its
/// opacity; a palette is read as its colours. The values of the whole file tell its anomalous
/// pixels:
///
/// - A pixel that is not 0 is anomalous: 0 and 255, 0 and 1 in 8 or 16 bits, class indices, colours
///   on black, grey levels.
/// - A file with soft edges is anomalous above half of its range, 127 of 255: not 0 would widen the
///   defects by their edges. A file of lossy compression is such a file (JPEG, lossy WebP, TIFF
///   with JPEG inside), and one of more than 16 values that are not 0, where the largest is in the
///   upper eighth of the range.
/// - A file of more than 16 values that reach less far, or of several values without 0, is refused.
///
/// A mask without an EXIF orientation that has the size of the image's stored pixels is turned with
/// the image.
///
/// # Errors
/// [`DatasetError::MaskSize`] when mask and image differ in size, [`DatasetError::MaskValues`] for
/// values that do not tell, [`DatasetError::BlankMask`] when no pixel of the file is anomalous,
/// otherwise as [`load_image`](crate::load_image).
pub fn load_mask(path: &Path, image: &Path, size: ImageSize) -> Result<Mask, DatasetError> {
    let (header, limit) = (image_header(image)?, Reading::default().max_bytes);
    let of_image = MaskedImage { path: image, header: &header, limit };
    let mask = load_union(MaskFormat::Binary, &[path.to_owned()], &of_image, |_| {})?;
    Ok(resize_mask(&mask, size))
}

/// The union of the masks of `sample` in the size of its upright image, and the rule of each mask
/// file, as an evaluation reads them. A decoded mask may take `max_bytes`.
///
/// # Errors
/// As [`load_mask`], where [`DatasetError::BlankMask`] is for the union.
pub fn load_sample_mask(
    sample: &Sample,
    format: MaskFormat,
    max_bytes: u64,
) -> Result<(Mask, Vec<MaskRule>), DatasetError> {
    let path = &sample.image_path;
    let image = MaskedImage { path, header: &image_header(path)?, limit: max_bytes };
    let mut soft = Vec::new();
    let mask = load_union(format, &sample.mask_paths, &image, |path| soft.push(path.to_owned()))?;
    let rule = |path| if soft.contains(path) { MaskRule::AboveHalf } else { MaskRule::NotZero };
    Ok((mask, sample.mask_paths.iter().map(rule).collect()))
}

/// The image that a mask belongs to.
pub(super) struct MaskedImage<'a> {
    pub(super) path: &'a Path,
    pub(super) header: &'a ImageHeader,
    /// Bytes that a decoded mask may take.
    pub(super) limit: u64,
}

/// The union of the mask files `paths` of `image`, in the size of the upright image. `tell_soft` is
/// called with each file that is read by half of its range.
///
/// # Errors
/// As [`load_mask`], where [`DatasetError::BlankMask`] is for the union.
pub(super) fn load_union(
    format: MaskFormat,
    paths: &[PathBuf],
    image: &MaskedImage<'_>,
    mut tell_soft: impl FnMut(&Path),
) -> Result<Mask, DatasetError> {
    let size = image.header.size();
    let needed = (size.height as u64).saturating_mul(size.width as u64);
    if needed > image.limit {
        let (path, limit) = (image.path.to_owned(), image.limit);
        return Err(DatasetError::TooLarge { path, size, needed, limit });
    }
    let mut union: Option<Mask> = None;
    for path in paths {
        let (decoded, is_lossy) = mask_image(path, image.path, image.header, image.limit)?;
        let (mask, is_soft) = mask_of(format, &decoded, is_lossy, path)?;
        if is_soft {
            tell_soft(path);
        }
        union = Some(match union {
            None => mask,
            Some(union) => Mask::from_fn(size, |y, x| union.at(y, x) || mask.at(y, x)),
        });
    }
    let blank = || DatasetError::BlankMask { mask: paths.first().cloned().unwrap_or_default() };
    union.filter(|union| !union.is_empty()).ok_or_else(blank)
}

/// True where the mask file `path` has no anomalous pixel.
///
/// # Errors
/// As [`load_mask`], without a look at the image.
pub(crate) fn is_blank(path: &Path) -> Result<bool, DatasetError> {
    lone_mask(path, Reading::default().max_bytes).map(|(mask, _)| mask.is_empty())
}

/// The mask file `path`, which belongs to no image and may be empty, and true where it is read by
/// half of its range.
///
/// # Errors
/// As [`is_blank`].
pub(super) fn lone_mask(path: &Path, limit: u64) -> Result<(Mask, bool), DatasetError> {
    let (decoded, is_lossy) = mask_image(path, path, &image_header(path)?, limit)?;
    mask_of(MaskFormat::Binary, &decoded, is_lossy, path)
}

/// The mask in the `decoded` file `path`, which may be empty, and true where it is read by half of
/// its range.
fn mask_of(
    format: MaskFormat,
    decoded: &DynamicImage,
    is_lossy: bool,
    path: &Path,
) -> Result<(Mask, bool), DatasetError> {
    // The values are walked through twice: as numbers they would take four times the memory.
    let size = ImageSize::new(decoded.height() as usize, decoded.width() as usize);
    let mut levels = Levels::default();
    let range = each_value(decoded, |value| levels.add(value));
    let levels = levels.sorted();
    let rule = match format {
        MaskFormat::ClassIndices => Some(MaskRule::NotZero),
        MaskFormat::SoftOrBlank => Some(MaskRule::AboveHalf),
        MaskFormat::Binary => levels.rule(range, is_lossy),
    };
    let Some(rule) = rule else {
        return Err(DatasetError::MaskValues { mask: path.to_owned(), values: levels.distinct });
    };
    let limit = match rule {
        MaskRule::NotZero => 0.0,
        MaskRule::AboveHalf => range / 2.0,
    };
    let mut data = Vec::with_capacity(size.pixels());
    each_value(decoded, |value| data.push(u8::from(value > limit)));
    // The length is that of `size` by construction.
    let mask = Mask::new(size, data).unwrap_or_else(|_| Mask::empty(size));
    Ok((mask, rule == MaskRule::AboveHalf))
}

/// The values of a mask file that are anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaskRule {
    /// Every value that is not 0.
    NotZero,
    /// Values above half of the range: the mask has soft edges.
    AboveHalf,
}

/// Hands the value of each pixel of a mask file to `see`, row by row and in the file's own depth,
/// and gives the largest value that the depth has.
fn each_value(decoded: &DynamicImage, see: impl FnMut(f32)) -> f32 {
    let range = match decoded {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageRgb8(_)
        | DynamicImage::ImageRgba8(_) => 255.0,
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => 65535.0,
        _ => 1.0,
    };
    match decoded {
        DynamicImage::ImageLuma8(image) => values(image, range, see),
        DynamicImage::ImageLumaA8(image) => values(image, range, see),
        DynamicImage::ImageRgb8(image) => values(image, range, see),
        DynamicImage::ImageRgba8(image) => values(image, range, see),
        DynamicImage::ImageLuma16(image) => values(image, range, see),
        DynamicImage::ImageLumaA16(image) => values(image, range, see),
        DynamicImage::ImageRgb16(image) => values(image, range, see),
        DynamicImage::ImageRgba16(image) => values(image, range, see),
        DynamicImage::ImageRgb32F(image) => values(image, range, see),
        other => values(&other.to_rgba32f(), range, see),
    }
    range
}

/// The largest colour channel of each pixel, composed on black where the image has an opacity.
fn values<P: Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>, opaque: f32, see: impl FnMut(f32))
where
    P::Subpixel: Into<f32>,
{
    let has_opacity = matches!(P::CHANNEL_COUNT, 2 | 4);
    let value = |pixel: &P| {
        let channels = pixel.channels();
        let (colours, opacity) = match channels.split_last() {
            Some((&opacity, colours)) if has_opacity => (colours, opacity.into() / opaque),
            _ => (channels, 1.0),
        };
        opacity * colours.iter().map(|&channel| channel.into()).fold(0.0, f32::max)
    };
    image.pixels().map(value).for_each(see);
}

/// The different values of a mask file.
struct Levels {
    /// Of more than [`MOST_LEVELS`] values that are not 0, as many and one more.
    distinct: Vec<f32>,
    largest: f32,
    last: f32,
}

impl Default for Levels {
    fn default() -> Self {
        Self { distinct: Vec::new(), largest: 0.0, last: f32::NAN }
    }
}

impl Levels {
    fn add(&mut self, value: f32) {
        if value == self.last {
            return;
        }
        self.last = value;
        self.largest = self.largest.max(value);
        // 0 is one of the values, and one more tells that there are too many.
        if self.distinct.len() <= MOST_LEVELS + 1 && !self.distinct.contains(&value) {
            self.distinct.push(value);
        }
    }

    fn sorted(mut self) -> Self {
        self.distinct.sort_by(f32::total_cmp);
        self
    }

    /// `None` where the values do not tell.
    fn rule(&self, range: f32, is_lossy: bool) -> Option<MaskRule> {
        let has_zero = self.distinct.first() == Some(&0.0);
        let n_levels = self.distinct.len() - usize::from(has_zero);
        let reaches_far = self.largest >= 0.875 * range;
        if n_levels > 0 && is_lossy {
            return (self.largest > range / 2.0).then_some(MaskRule::AboveHalf);
        }
        if n_levels > MOST_LEVELS {
            return reaches_far.then_some(MaskRule::AboveHalf);
        }
        (has_zero || n_levels <= 1).then_some(MaskRule::NotZero)
    }
}
