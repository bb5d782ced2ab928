use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fmam_core::{ImageSize, Mask, RegionOfInterest};

use super::area::resize_region;
use super::mask::lone_mask;
use crate::told::first_time;
use crate::{Choice, DatasetError, has_image_extension};

/// The regions of interest of images, each in the size of its image.
#[derive(Debug)]
pub struct Regions {
    region: RegionOfInterest,
    max_bytes: u64,
    /// The masks of a folder by their paths within it, without extension; listed when the first is
    /// asked for.
    masks: Mutex<Option<Arc<HashMap<PathBuf, PathBuf>>>>,
}

/// Reads the mask file of a region of interest: a pixel lies inside where a mask of the same file
/// would be anomalous, see [`load_mask`](crate::load_mask). A mask with soft edges is told of.
///
/// # Errors
/// [`DatasetError::EmptyRegion`] for a mask without a pixel inside, otherwise as
/// [`load_mask`](crate::load_mask), for a decoded mask of at most `max_bytes`.
pub fn load_region(path: &Path, max_bytes: u64) -> Result<Mask, DatasetError> {
    told_region(path, max_bytes, path)
}

/// As [`load_region`], where a mask with soft edges is told of once for `told_for`: its file, or
/// the folder of several.
fn told_region(path: &Path, max_bytes: u64, told_for: &Path) -> Result<Mask, DatasetError> {
    let (region, is_soft) = lone_mask(path, max_bytes)?;
    if is_soft && first_time(Choice::SoftRegion, told_for) {
        tracing::warn!(
            region = %path.display(),
            "the region of interest has soft edges: pixels above half of its range lie inside, here and in \
             regions like it"
        );
    }
    if region.is_empty() {
        return Err(DatasetError::EmptyRegion { image: path.to_owned(), size: region.size() });
    }
    Ok(region)
}

impl Regions {
    /// The regions that `region` says. Mask files may have `max_bytes` once decoded.
    pub fn new(region: &RegionOfInterest, max_bytes: u64) -> Self {
        Self { region: region.clone(), max_bytes, masks: Mutex::new(None) }
    }

    /// The region of `image`, a path or a name, in the `size` of the image; `None` for the whole
    /// image.
    ///
    /// In a folder of masks, the mask of `a/b/c.jpg` is `a/b/c.*`, else `b/c.*`, else `c.*`.
    ///
    /// # Errors
    /// [`DatasetError::MissingRegion`], [`DatasetError::RegionAspect`],
    /// [`DatasetError::EmptyRegion`]; [`DatasetError::ListFolder`] and
    /// [`DatasetError::DuplicateStem`] for a folder of masks; otherwise as [`load_region`].
    pub fn of(&self, image: &Path, size: ImageSize) -> Result<Option<Mask>, DatasetError> {
        let region = match &self.region {
            RegionOfInterest::Whole => return Ok(None),
            RegionOfInterest::One(mask) => region_at(mask, image, size)?,
            RegionOfInterest::Each(folder) => {
                let mask = told_region(&self.mask_of(folder, image)?, self.max_bytes, folder)?;
                region_at(&mask, image, size)?
            }
        };
        Ok(Some(region))
    }

    fn mask_of(&self, folder: &Path, image: &Path) -> Result<PathBuf, DatasetError> {
        let masks = {
            let mut listed = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
            match &*listed {
                Some(masks) => Arc::clone(masks),
                None => {
                    let mut masks = HashMap::new();
                    list(folder, Path::new(""), &mut masks)?;
                    Arc::clone(listed.insert(Arc::new(masks)))
                }
            }
        };
        let stem = image.with_extension("");
        let parts: Vec<_> = stem.iter().collect();
        let suffixes = (0..parts.len()).map(|first| parts[first..].iter().collect::<PathBuf>());
        suffixes.into_iter().find_map(|suffix| masks.get(&suffix)).cloned().ok_or_else(|| {
            let mut name = stem.file_name().unwrap_or_default().to_owned();
            name.push(".png");
            DatasetError::MissingRegion { image: image.to_owned(), expected: folder.join(name) }
        })
    }
}

/// Adds the image files below `folder`, which lies at `within`. Links to folders are not followed.
fn list(folder: &Path, within: &Path, masks: &mut HashMap<PathBuf, PathBuf>) -> Result<(), DatasetError> {
    let list_error = |source| DatasetError::ListFolder { folder: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(list_error)? {
        let entry = entry.map_err(list_error)?;
        let (path, within) = (entry.path(), within.join(entry.file_name()));
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(list_error)?.is_dir() {
            list(&path, &within, masks)?;
        } else if has_image_extension(&path)
            && let Some(first) = masks.insert(within.with_extension(""), path.clone())
        {
            return Err(DatasetError::DuplicateStem { first, second: path });
        }
    }
    Ok(())
}

/// `region` at the size of its image: a pixel lies inside if all of it does.
///
/// # Errors
/// [`DatasetError::RegionAspect`], [`DatasetError::EmptyRegion`].
pub(super) fn region_at(region: &Mask, image: &Path, size: ImageSize) -> Result<Mask, DatasetError> {
    let from = region.size();
    // One side of the smaller of the two may be rounded by up to a pixel.
    let difference = (from.height * size.width).abs_diff(from.width * size.height);
    let most = if from.pixels() < size.pixels() { size } else { from };
    if difference > most.height.max(most.width) {
        return Err(DatasetError::RegionAspect { image: image.to_owned(), image_size: size, region: from });
    }
    let region = resize_region(region, size);
    if region.is_empty() {
        return Err(DatasetError::EmptyRegion { image: image.to_owned(), size });
    }
    Ok(region)
}
