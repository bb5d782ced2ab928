use std::path::Path;

use image::DynamicImage;
use image::metadata::Orientation;

use super::header::{ImageHeader, image_header};
use super::samples::decode_dynamic;
use super::stream::open;
use crate::told::first_time;
use crate::{Choice, DatasetError};

/// Decodes the file of a mask and turns it as its image is turned, so that it has the size of the
/// upright image behind `header`; with true for a file of lossy compression.
///
/// # Errors
/// [`DatasetError::MaskSize`], otherwise as [`read_image`](crate::read_image).
pub(super) fn mask_image(
    path: &Path,
    image: &Path,
    header: &ImageHeader,
    limit: u64,
) -> Result<(DynamicImage, bool), DatasetError> {
    let mut stream = open(path)?;
    let own = ImageHeader::read(&mut stream, path)?;
    let orientation = orientation(path, &own, image, header)?;
    let mut decoded = decode_dynamic(stream, &own, path, limit)?;
    decoded.apply_orientation(orientation);
    Ok((decoded, own.is_lossy))
}

/// Compares the sizes that the headers of a mask and its image state.
///
/// # Errors
/// [`DatasetError::MaskSize`], otherwise as [`image_header`].
pub(crate) fn check_mask_size(mask: &Path, image: &Path) -> Result<(), DatasetError> {
    orientation(mask, &image_header(mask)?, image, &image_header(image)?).map(|_| ())
}

/// The orientation that makes a mask fit its upright image: its own where the file states one. A
/// mask without one has the size of the upright image, or that of the stored pixels, with which it
/// is turned. Where both sizes are the same, the mask is taken as it is, which a warning tells.
fn orientation(
    mask: &Path,
    of_mask: &ImageHeader,
    image: &Path,
    of_image: &ImageHeader,
) -> Result<Orientation, DatasetError> {
    let upright = of_image.size();
    if of_mask.size() != upright {
        let is_turned = of_mask.orientation == Orientation::NoTransforms && of_mask.stored == of_image.stored;
        return if is_turned {
            Ok(of_image.orientation)
        } else {
            Err(DatasetError::MaskSize {
                mask: mask.to_owned(),
                mask_size: of_mask.size(),
                image: image.to_owned(),
                image_size: upright,
            })
        };
    }
    let is_open = of_mask.orientation == Orientation::NoTransforms
        && of_image.orientation != Orientation::NoTransforms
        && of_mask.stored == of_image.stored;
    if is_open && first_time(Choice::MaskOrientation, mask) {
        tracing::warn!(
            mask = %mask.display(), image = %image.display(), orientation = of_image.orientation(),
            "the image has an EXIF orientation and the mask has none: the mask is taken as drawn on the \
             upright image"
        );
    }
    Ok(of_mask.orientation)
}
