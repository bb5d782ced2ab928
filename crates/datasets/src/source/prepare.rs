use std::path::Path;

use fmam_core::{Frame, Mask, Preparation, RgbImage};

use super::area::{resize_mask, resize_region};
use super::decode::resize_image;
use super::regions::region_at;
use crate::DatasetError;

/// An image as a detector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// The pixels.
    pub image: RgbImage,
    /// The pixels that count, 1 for each: no padding, and wholly within the region of interest.
    /// `None` where all count.
    pub inside: Option<Mask>,
    /// The place of the image.
    pub frame: Frame,
}

/// Prepares the pixels of an image file for a detector: resized or padded as
/// [`Preparation::placing`] says, [`Preparation::FILL`] outside of `region`. `name` is the name of
/// the image in errors.
///
/// `region` is the region of interest, 1 inside, in the aspect ratio of the image;
/// [`Regions`](crate::Regions) gives that of `preparation`. Pixels outside are filled before the
/// image is resized, so that they influence no pixel, and after it, so that nothing shows their
/// place but [`Prepared::inside`].
///
/// # Errors
/// [`DatasetError::RegionAspect`]; [`DatasetError::EmptyRegion`] for a region without a pixel at
/// the size of the detector; otherwise as [`resize_image`].
pub fn prepare_image(
    pixels: RgbImage,
    name: impl AsRef<Path>,
    preparation: &Preparation,
    region: Option<&Mask>,
) -> Result<Prepared, DatasetError> {
    let name = name.as_ref();
    let mut pixels = pixels;
    let frame = preparation.frame(pixels.size());
    let region = region.map(|region| region_at(region, name, pixels.size())).transpose()?;
    if let Some(region) = &region {
        fill_outside(&mut pixels, region, name)?;
    }
    let content = resize_image(pixels, name, frame.content)?;
    let mut image = place(content, &frame);
    let inside = inside_of(&frame, region.as_ref(), name)?;
    if let Some(inside) = inside.as_ref().filter(|_| region.is_some()) {
        fill_outside(&mut image, inside, name)?;
    }
    Ok(Prepared { image, inside, frame })
}

/// Brings a ground-truth mask of the size of its file to the pixels that a detector sees: resized
/// by area, padding normal.
pub fn prepare_mask(mask: &Mask, frame: &Frame) -> Mask {
    let content = resize_mask(mask, frame.content);
    place_mask(content, frame)
}

/// The pixels that count: those of the image that lie wholly within `region`, which has the size of
/// the file. `None` where all count.
///
/// # Errors
/// [`DatasetError::EmptyRegion`] where none counts.
pub fn inside_of(frame: &Frame, region: Option<&Mask>, name: &Path) -> Result<Option<Mask>, DatasetError> {
    let Some(region) = region else { return Ok(frame.inside()) };
    let inside = place_mask(resize_region(region, frame.content), frame);
    if inside.is_empty() {
        return Err(DatasetError::EmptyRegion { image: name.to_owned(), size: frame.size });
    }
    Ok(Some(inside).filter(|inside| inside.area() < frame.size.pixels()))
}

fn place(content: RgbImage, frame: &Frame) -> RgbImage {
    if frame.is_filled() {
        return content;
    }
    let mut image = RgbImage::filled(frame.size, Preparation::FILL);
    let (width, length) = (frame.size.width, 3 * frame.content.width);
    for (y, row) in frame.rows().zip(content.data().chunks_exact(length.max(1))) {
        image.data_mut()[3 * (y * width + frame.left)..][..length].copy_from_slice(row);
    }
    image
}

fn place_mask(content: Mask, frame: &Frame) -> Mask {
    if frame.is_filled() {
        return content;
    }
    let (rows, columns) = (frame.rows(), frame.columns());
    Mask::from_fn(frame.size, |y, x| {
        rows.contains(&y) && columns.contains(&x) && content.at(y - frame.top, x - frame.left)
    })
}

/// Fills `image` outside of `inside`, of the same size.
fn fill_outside(image: &mut RgbImage, inside: &Mask, name: &Path) -> Result<(), DatasetError> {
    let size = image.size();
    image.fill_outside(inside, Preparation::FILL).map_err(|error| DatasetError::Resize {
        path: name.to_owned(),
        size,
        source: error.into(),
    })
}

/// `mask` without the pixels outside of `inside`.
pub(super) fn within(mask: Mask, inside: Option<&Mask>) -> Mask {
    match inside {
        Some(inside) => Mask::from_fn(mask.size(), |y, x| mask.at(y, x) && inside.at(y, x)),
        None => mask,
    }
}
