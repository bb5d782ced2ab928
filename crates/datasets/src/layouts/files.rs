//! Listing of folders and joining of masks by stem, which the layouts share.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fmam_core::{Label, Sample, Split};

use crate::DatasetError;
use crate::names::refuse_shared_names;

/// Extensions, in lower case, of the files that are read as images.
pub(crate) const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// A normal sample (`defect_type` is `None`) or an anomalous one, so far without a mask. Its id is
/// `SPLIT/GROUP/STEM`.
pub(crate) fn sample(split: Split, group: &str, image: PathBuf, defect_type: Option<&str>) -> Sample {
    let split_name = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    Sample {
        id: format!("{split_name}/{group}/{}", stem_of(&image)),
        split,
        label: if defect_type.is_some() { Label::Anomalous } else { Label::Normal },
        defect_type: defect_type.map(str::to_owned),
        image_path: image,
        mask_path: None,
    }
}

/// The normal samples in `folder`, sorted by name.
///
/// # Errors
/// [`DatasetError::MissingSplit`], `contents` saying what belongs there, or
/// [`DatasetError::NoImages`].
pub(crate) fn normal_samples(
    folder: &Path,
    split: Split,
    contents: &'static str,
) -> Result<Vec<Sample>, DatasetError> {
    let images = required_images(folder, contents, &EXTENSIONS)?;
    let group = name_of(folder);
    Ok(images.into_iter().map(|image| sample(split, &group, image, None)).collect())
}

/// The anomalous test samples in `folder`, sorted by name, each with its mask in `masks`, which has
/// the image's stem, followed by `_mask` or not.
///
/// # Errors
/// [`DatasetError::MissingSplit`], [`DatasetError::NoImages`]; [`DatasetError::MissingMask`] for an
/// image without a mask and [`DatasetError::UnusedMask`] for a mask without an image.
pub(crate) fn masked_samples(
    folder: &Path,
    masks: &Path,
    contents: &'static str,
) -> Result<Vec<Sample>, DatasetError> {
    let defect_type = name_of(folder);
    let mask_files = image_files(masks)?;
    let mut unused: BTreeSet<&Path> = mask_files.iter().map(PathBuf::as_path).collect();
    let by_stem = by_stem(&mask_files)?;
    let mut samples = Vec::new();
    for image in required_images(folder, contents, &EXTENSIONS)? {
        let Some(mask) = mask_of(&by_stem, &image) else {
            let mut expected = image.file_stem().unwrap_or_default().to_owned();
            expected.push("_mask.png");
            return Err(DatasetError::MissingMask { image, expected: masks.join(expected) });
        };
        unused.remove(mask);
        let sample = sample(Split::Test, &defect_type, image, Some(&defect_type));
        samples.push(Sample { mask_path: Some(mask.to_owned()), ..sample });
    }
    if let Some(mask) = unused.first() {
        let stem = stem_of(mask);
        let image = format!("{}.png", stem.strip_suffix("_mask").unwrap_or(&stem));
        let (mask, expected) = (mask.to_path_buf(), folder.join(image));
        return Err(DatasetError::UnusedMask { mask, expected });
    }
    Ok(samples)
}

/// As [`files_with`], but there must be the folder, `contents` saying what belongs there, and an
/// image.
pub(crate) fn required_images(
    folder: &Path,
    contents: &'static str,
    extensions: &[&str],
) -> Result<Vec<PathBuf>, DatasetError> {
    if !folder.is_dir() {
        return Err(DatasetError::MissingSplit { folder: folder.to_owned(), contents });
    }
    let images = files_with(folder, extensions)?;
    if images.is_empty() {
        return Err(DatasetError::NoImages { folder: folder.to_owned() });
    }
    Ok(images)
}

/// The image files directly in `folder`, sorted by name; none where there is no such folder.
///
/// # Errors
/// As [`files_with`].
pub(crate) fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if folder.is_dir() { files_with(folder, &EXTENSIONS) } else { Ok(Vec::new()) }
}

/// The files directly in `folder` with one of `extensions`, sorted by name. Hidden files are passed
/// over; so are files that are no image by their extension, with a warning.
///
/// # Errors
/// [`DatasetError::DuplicateStem`] when two differ in the extension only: masks and ids go by stem.
pub(crate) fn files_with(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| !path.is_dir()) {
        if has_extension(&path, extensions) {
            files.push(path);
        } else if !has_extension(&path, &EXTENSIONS) {
            tracing::warn!(path = %path.display(), "not an image by its extension: ignored");
        }
    }
    by_stem(&files)?;
    Ok(files)
}

/// The folders in `folder` that hold `train` or `test`, complete or not; `None` where there is
/// none.
///
/// # Errors
/// As [`category_folders_with`].
pub(crate) fn category_folders(folder: &Path) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    category_folders_with(folder, &["train", "test"])
}

/// The category folders in `folder`, those with one of `parts`; `None` where there is none. What is
/// missing in a category is told when the category is used.
///
/// # Errors
/// [`DatasetError::SharedName`] when the names of two folders read the same.
pub(crate) fn category_folders_with(
    folder: &Path,
    parts: &[&str],
) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    let looks_like_one = |folder: &PathBuf| has_part(folder, parts);
    let categories: Vec<PathBuf> = subfolders(folder)?.into_iter().filter(looks_like_one).collect();
    refuse_shared_names(categories.iter().map(|folder| (name_of(folder), folder.as_path())))?;
    Ok(Some(categories).filter(|categories| !categories.is_empty()))
}

/// True where `folder` holds a folder that is called as one of `parts`.
pub(crate) fn has_part(folder: &Path, parts: &[&str]) -> bool {
    parts.iter().any(|part| folder.join(part).is_dir())
}

/// The folder among `categories` that is called `name`.
///
/// # Errors
/// [`DatasetError::UnknownCategory`].
pub(crate) fn find_category<'a>(
    dataset: &'static str,
    categories: &'a [PathBuf],
    name: &str,
) -> Result<&'a Path, DatasetError> {
    categories.iter().map(PathBuf::as_path).find(|folder| name_of(folder) == name).ok_or_else(|| {
        let known = categories.iter().map(|folder| name_of(folder)).collect();
        DatasetError::UnknownCategory { dataset, name: name.to_owned(), known }
    })
}

/// The folders directly in `folder` that are not hidden, sorted by name.
pub(crate) fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// `paths` by file name without extension.
///
/// # Errors
/// [`DatasetError::DuplicateStem`].
pub(crate) fn by_stem(paths: &[PathBuf]) -> Result<HashMap<&OsStr, &Path>, DatasetError> {
    let mut stems = HashMap::new();
    for path in paths {
        let stem = path.file_stem().unwrap_or_default();
        if let Some(first) = stems.insert(stem, path.as_path()) {
            return Err(DatasetError::DuplicateStem { first: first.to_owned(), second: path.clone() });
        }
    }
    Ok(stems)
}

/// The mask of `image` among `masks`: the one of the same stem, or of the stem followed by `_mask`.
pub(crate) fn mask_of<'a>(masks: &HashMap<&OsStr, &'a Path>, image: &Path) -> Option<&'a Path> {
    let stem = image.file_stem()?;
    let mut with_suffix = stem.to_owned();
    with_suffix.push("_mask");
    masks.get(with_suffix.as_os_str()).or_else(|| masks.get(stem)).copied()
}

/// The name of a file or folder, for a person.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file name without its extension, for a person.
pub(crate) fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// True if the name of `path` ends like that of an image: `.png`, `.jpg`, `.jpeg`, `.bmp`, `.tif`
/// or `.tiff`, in upper or lower case.
pub fn has_image_extension(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

/// True when `path`'s extension is one of `extensions`, in upper or lower case.
fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|extension| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The entries of `folder` that are not hidden, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| DatasetError::ListFolder { folder: folder.to_owned(), source })
}
