//! Joining of masks and images by their names, which the layouts share.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fmam_core::{Sample, Split};

use super::files::{EXTENSIONS, Tree, name_of, sample, stem_of};
use crate::DatasetError;

/// Ends of the stem of a mask, in lower case, behind the stem of its image.
const SUFFIXES: [&str; 3] = ["_mask", "_gt", "_label"];

/// `stem` without one of the known suffixes of masks, in upper or lower case; `None` without a
/// suffix.
pub(crate) fn without_suffix(stem: &str) -> Option<&str> {
    base_of(stem.as_bytes()).and_then(|base| stem.get(..base.len()))
}

/// As [`without_suffix`], for a stem in any encoding.
fn base_of(stem: &[u8]) -> Option<&[u8]> {
    SUFFIXES.iter().find_map(|suffix| {
        let (base, end) = stem.split_at_checked(stem.len().checked_sub(suffix.len())?)?;
        (!base.is_empty() && end.eq_ignore_ascii_case(suffix.as_bytes())).then_some(base)
    })
}

/// The masks of images.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The masks of each image, in the order of the images: none, one, or all of a folder.
    pub(crate) masks: Vec<Vec<PathBuf>>,
    /// The masks that fit no image.
    pub(crate) unused: Vec<PathBuf>,
}

/// Joins `masks` to `images`. The mask of the image `FOLDER/STEM` is
///
/// - the file `STEM`, or `STEM` with `_mask`, `_gt` or `_label` behind it, in `FOLDER` below the
///   root of the masks;
/// - or all files in the folder `FOLDER/STEM` there, where no images are in such a folder;
/// - or, where neither is there, the same in the folder above, up to the root.
///
/// A file of exactly the stem of another image of the folder is the mask of that image.
///
/// # Errors
/// [`DatasetError::SeveralMasks`] for two candidates of one image, [`DatasetError::SharedMask`] for
/// two images of one mask.
pub(crate) fn join(images: &Tree, masks: &Tree) -> Result<Joined, DatasetError> {
    let index = Index::new(images, masks);
    let mut owners: Vec<Option<&Path>> = vec![None; masks.files.len()];
    let mut joined = Vec::with_capacity(images.files.len());
    for image in &images.files {
        let of_image = index.masks_of(image, images.folder_of(image), &masks.files)?;
        for &mask in &of_image {
            if let Some(first) = owners[mask].replace(image) {
                let (first, second) = (first.to_owned(), image.clone());
                return Err(DatasetError::SharedMask { mask: masks.files[mask].clone(), first, second });
            }
        }
        joined.push(of_image.into_iter().map(|mask| masks.files[mask].clone()).collect());
    }
    let unused = masks.files.iter().zip(&owners).filter(|(_, owner)| owner.is_none());
    Ok(Joined { masks: joined, unused: unused.map(|(mask, _)| mask.clone()).collect() })
}

/// Masks and images by relative folder and stem.
struct Index<'a> {
    exact: HashMap<(&'a Path, &'a [u8]), usize>,
    /// By the stem without the suffix.
    suffixed: HashMap<(&'a Path, &'a [u8]), Vec<usize>>,
    /// By the folder.
    folders: HashMap<&'a Path, Vec<usize>>,
    images: HashSet<(&'a Path, &'a [u8])>,
    /// The folders of images and those above.
    image_folders: HashSet<&'a Path>,
}

impl<'a> Index<'a> {
    fn new(images: &'a Tree, masks: &'a Tree) -> Self {
        let stem = |file: &'a PathBuf| stem_bytes(file);
        let mut index = Self {
            exact: HashMap::with_capacity(masks.files.len()),
            suffixed: HashMap::new(),
            folders: HashMap::new(),
            images: images.files.iter().map(|image| (images.folder_of(image), stem(image))).collect(),
            image_folders: HashSet::new(),
        };
        for image in &images.files {
            for folder in images.folder_of(image).ancestors() {
                if !index.image_folders.insert(folder) {
                    break;
                }
            }
        }
        for (number, mask) in masks.files.iter().enumerate() {
            let (folder, stem) = (masks.folder_of(mask), stem(mask));
            index.exact.insert((folder, stem), number);
            if let Some(base) = base_of(stem) {
                index.suffixed.entry((folder, base)).or_default().push(number);
            }
            if !folder.as_os_str().is_empty() {
                index.folders.entry(folder).or_default().push(number);
            }
        }
        index
    }

    /// The masks of `image`, which lies in `folder` below the root of the images.
    fn masks_of(&self, image: &Path, folder: &Path, masks: &[PathBuf]) -> Result<Vec<usize>, DatasetError> {
        let stem = stem_bytes(image);
        for level in folder.ancestors() {
            let mut candidates: Vec<Vec<usize>> = Vec::new();
            candidates.extend(self.exact.get(&(level, stem)).map(|&mask| vec![mask]));
            for &mask in self.suffixed.get(&(level, stem)).into_iter().flatten() {
                let of_another = self.images.contains(&(folder, stem_bytes(&masks[mask])));
                if !of_another {
                    candidates.push(vec![mask]);
                }
            }
            if !self.folders.is_empty() {
                let several = level.join(image.file_stem().unwrap_or_default());
                if !self.image_folders.contains(several.as_path()) {
                    candidates.extend(self.folders.get(several.as_path()).cloned());
                }
            }
            match candidates.len() {
                0 => {}
                1 => return Ok(candidates.swap_remove(0)),
                _ => {
                    let (first, second) = (masks[candidates[0][0]].clone(), masks[candidates[1][0]].clone());
                    return Err(DatasetError::SeveralMasks { image: image.to_owned(), first, second });
                }
            }
        }
        Ok(Vec::new())
    }
}

/// The file name without its extension, in the encoding of the system.
fn stem_bytes(file: &Path) -> &[u8] {
    file.file_stem().unwrap_or_default().as_encoded_bytes()
}

/// The anomalous test samples of `images`, each with its masks. The mask of the image `STEM` is
/// expected as `STEM`, `suffix` and `.png`, and its id begins with `test/DEFECT_TYPE`.
///
/// # Errors
/// The errors of [`join`]; [`DatasetError::MissingMask`] for an image without a mask,
/// [`DatasetError::UnusedMask`] for a mask without an image and [`DatasetError::MisnamedMask`]
/// where both are.
pub(crate) fn masked_samples(
    images: &Tree,
    masks: &Tree,
    suffix: &str,
    defect_type: &str,
) -> Result<Vec<Sample>, DatasetError> {
    let joined = join(images, masks)?;
    if let Some(mask) = joined.unused.first() {
        return Err(unused_mask(mask, images, masks, &joined.masks, suffix));
    }
    let mut samples = Vec::with_capacity(images.files.len());
    for (image, mask_paths) in images.files.iter().zip(joined.masks) {
        if mask_paths.is_empty() {
            let expected = expected_mask(image, images, masks, suffix);
            return Err(DatasetError::MissingMask { image: image.clone(), expected });
        }
        let sample = sample(Split::Test, defect_type, &images.name(image), image.clone(), Some(defect_type));
        samples.push(Sample { mask_paths, ..sample });
    }
    Ok(samples)
}

/// The error for a mask that fits no image: it names the mask of an image that has none, or the
/// image that is missing. `joined` are the masks of each image.
pub(crate) fn unused_mask(
    mask: &Path,
    images: &Tree,
    masks: &Tree,
    joined: &[Vec<PathBuf>],
    suffix: &str,
) -> DatasetError {
    let without = images.files.iter().zip(joined).find(|(_, masks)| masks.is_empty());
    let mask = mask.to_owned();
    if let Some((image, _)) = without {
        let expected = expected_mask(image, images, masks, suffix);
        return DatasetError::MisnamedMask { mask, image: image.clone(), expected };
    }
    let expected = expected_image(&mask, images, masks);
    DatasetError::UnusedMask { mask, expected }
}

/// # Errors
/// [`DatasetError::UnusedMask`] for a mask that fits none of `images`, be it listed or not.
pub(crate) fn refuse_unused(images: &Tree, masks: &Tree) -> Result<(), DatasetError> {
    match join(images, masks)?.unused.first() {
        None => Ok(()),
        Some(mask) => {
            let expected = expected_image(mask, images, masks);
            Err(DatasetError::UnusedMask { mask: mask.clone(), expected })
        }
    }
}

/// Pixel figures need the masks of all anomalous images: a forgotten one would silently take them
/// away.
pub(crate) fn refuse_some_without_mask(samples: &[Sample]) -> Result<(), DatasetError> {
    let mut without = samples.iter().filter(|sample| sample.mask_paths.is_empty());
    let Some(first) = without.next() else { return Ok(()) };
    let (without, of) = (1 + without.count(), samples.len());
    if without == of {
        return Ok(());
    }
    Err(DatasetError::SomeMasksMissing { image: first.image_path.clone(), without, of })
}

/// The path at which the mask of `image` is expected.
fn expected_mask(image: &Path, images: &Tree, masks: &Tree, suffix: &str) -> PathBuf {
    let mut name = image.file_stem().unwrap_or_default().to_owned();
    name.push(suffix);
    name.push(".png");
    masks.root.join(images.folder_of(image)).join(name)
}

/// The path at which the image of `mask` is expected.
fn expected_image(mask: &Path, images: &Tree, masks: &Tree) -> PathBuf {
    let extension = images.files.first().and_then(|image| image.extension()).unwrap_or(OsStr::new("png"));
    let folder = masks.folder_of(mask);
    let has_images =
        |folder: &Path| images.files.iter().any(|image| images.folder_of(image).starts_with(folder));
    // A folder of masks that is no folder of images stands for one image.
    let (folder, stem) = match folder.parent() {
        Some(above) if !has_images(folder) => (above, name_of(folder)),
        _ => {
            let stem = stem_of(mask);
            (folder, without_suffix(&stem).map(str::to_owned).unwrap_or(stem))
        }
    };
    let mut name = std::ffi::OsString::from(stem);
    name.push(".");
    name.push(extension);
    images.root.join(folder).join(name)
}

/// The masks below `folder`.
///
/// # Errors
/// As [`Tree::below`].
pub(crate) fn mask_tree(folder: &Path) -> Result<Tree, DatasetError> {
    Tree::below(folder, &EXTENSIONS)
}
