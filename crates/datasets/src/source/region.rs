use std::path::Path;

use fmam_core::{Reading, RegionOfInterest};

use super::decode::{MaskFormat, decode_mask, image_size, read};
use crate::DatasetError;

/// The region of interest at `path`: a mask image for all images, whose pixels above half of the
/// range are inside, or a folder with a mask of the same stem for each image.
///
/// # Errors
/// [`DatasetError::Read`] or [`DatasetError::Decode`] for the file, [`DatasetError::BlankMask`] for
/// a region without a pixel.
pub fn region_of_interest(path: &Path, _reading: &Reading) -> Result<RegionOfInterest, DatasetError> {
    if path.is_dir() {
        return Ok(RegionOfInterest::Each(path.to_owned()));
    }
    let size = image_size(path)?;
    Ok(RegionOfInterest::One(decode_mask(MaskFormat::Binary, &read(path)?, path, size)?))
}
