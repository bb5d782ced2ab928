//! Listing of folders and of the image files below them, which the layouts share.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::path::{Path, PathBuf};

use fmam_core::{Label, Sample, Split};

use crate::names::refuse_shared_names;
use crate::told::tell;
use crate::{Choice, DatasetError};

/// Extensions, in lower case, of the files that are read as images.
pub(crate) const EXTENSIONS: [&str; 11] =
    ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "pnm", "gif"];

/// A normal sample (`defect_type` is `None`) or an anomalous one, so far without a mask. Its id is
/// `SPLIT/GROUP/NAME`.
pub(crate) fn sample(
    split: Split,
    group: &str,
    name: &str,
    image: PathBuf,
    defect_type: Option<&str>,
) -> Sample {
    let split_name = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    Sample {
        id: format!("{split_name}/{group}/{name}"),
        split,
        label: if defect_type.is_some() { Label::Anomalous } else { Label::Normal },
        defect_type: defect_type.map(str::to_owned),
        image_path: image,
        mask_paths: Vec::new(),
    }
}

/// The normal samples below `folder`, in the order of [`Tree::files`].
///
/// # Errors
/// As [`Tree::required`].
pub(crate) fn normal_samples(
    folder: &Path,
    split: Split,
    group: &str,
    contents: &'static str,
) -> Result<Vec<Sample>, DatasetError> {
    let images = Tree::required(folder, contents, &EXTENSIONS)?;
    Ok(images
        .files
        .iter()
        .map(|image| sample(split, group, &images.name(image), image.clone(), None))
        .collect())
}

/// The image files of a folder and of all folders in it.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The folder.
    pub(crate) root: PathBuf,
    /// The files, those of a folder by name and before those of its sub-folders.
    pub(crate) files: Vec<PathBuf>,
}

impl Tree {
    /// The files below `root` with one of `extensions`; none where there is no such folder. Hidden
    /// files and folders are passed over; so are files that are no image by their extension, with
    /// a warning. Links are followed, and a folder to which several ways lead is read once.
    ///
    /// # Errors
    /// [`DatasetError::DuplicateStem`] when two files of a folder differ in the extension only:
    /// masks and ids go by stem. [`DatasetError::NotRegular`], [`DatasetError::ListFolder`].
    pub(crate) fn below(root: &Path, extensions: &[&str]) -> Result<Self, DatasetError> {
        let mut walk = Walk { extensions, files: Vec::new(), passed_over: None, n_passed_over: 0 };
        if root.is_dir() {
            walk.all(root)?;
        }
        if let Some(first) = walk.passed_over {
            tell(Choice::OtherFiles, &first, walk.n_passed_over, None);
        }
        Ok(Self { root: root.to_owned(), files: walk.files })
    }

    /// As [`Tree::below`], but there must be the folder, `contents` saying what belongs there, and
    /// an image.
    ///
    /// # Errors
    /// Also [`DatasetError::MissingSplit`] and [`DatasetError::NoImages`].
    pub(crate) fn required(
        root: &Path,
        contents: &'static str,
        extensions: &[&str],
    ) -> Result<Self, DatasetError> {
        if !root.is_dir() {
            return Err(DatasetError::MissingSplit { folder: root.to_owned(), contents });
        }
        let tree = Self::below(root, extensions)?;
        if tree.files.is_empty() {
            return Err(DatasetError::NoImages { folder: root.to_owned() });
        }
        Ok(tree)
    }

    /// The folder of `file`, relative to the root.
    pub(crate) fn folder_of<'a>(&self, file: &'a Path) -> &'a Path {
        let folder = file.parent().unwrap_or(Path::new(""));
        folder.strip_prefix(&self.root).unwrap_or(folder)
    }

    /// The name of `file` within the root, without its extension: `STEM` or `FOLDER/STEM`.
    pub(crate) fn name(&self, file: &Path) -> String {
        let mut name = String::new();
        for part in self.folder_of(file).components() {
            name.push_str(&part.as_os_str().to_string_lossy());
            name.push('/');
        }
        name + &stem_of(file)
    }
}

/// A search for files that is under way.
struct Walk<'a> {
    extensions: &'a [&'a str],
    files: Vec<PathBuf>,
    /// The first file that is no image by its extension.
    passed_over: Option<PathBuf>,
    n_passed_over: usize,
}

impl Walk<'_> {
    /// Folders come before linked folders: of a folder that is there twice, the name that is no
    /// link counts.
    fn all(&mut self, root: &Path) -> Result<(), DatasetError> {
        let list_error = |folder: &Path| {
            let folder = folder.to_owned();
            move |source| DatasetError::ListFolder { folder, source }
        };
        let (mut folders, mut links) = (Vec::new(), vec![root.to_owned()]);
        let mut read = HashSet::new();
        let mut n_folders = 0;
        loop {
            let (folder, canonical) = if let Some(next) = folders.pop() {
                next
            } else if let Some(link) = links.pop() {
                let canonical = link.canonicalize().map_err(list_error(&link))?;
                (link, canonical)
            } else {
                break;
            };
            if !read.insert(canonical.clone()) {
                tell(Choice::RepeatedFolder, &folder, 1, None);
                continue;
            }
            n_folders += 1;
            for (name, kind) in self.folder(&folder)? {
                if kind.is_symlink() {
                    links.push(folder.join(name));
                } else {
                    folders.push((folder.join(&name), canonical.join(name)));
                }
            }
        }
        if n_folders > 1 {
            self.files.sort_by(|a, b| (a.parent(), a.file_name()).cmp(&(b.parent(), b.file_name())));
        }
        Ok(())
    }

    /// Adds the files of `folder` and returns its sub-folders, which may be links.
    fn folder(&mut self, folder: &Path) -> Result<Vec<(OsString, FileType)>, DatasetError> {
        let mut folders = Vec::new();
        let first = self.files.len();
        for (name, kind) in entries(folder)? {
            let path = folder.join(&name);
            // A link that leads nowhere is told when it is read.
            let target =
                if kind.is_symlink() { path.metadata().map_or(kind, |to| to.file_type()) } else { kind };
            let is_wanted = has_extension(&path, self.extensions);
            if target.is_dir() {
                folders.push((name, kind));
            } else if !is_wanted && !has_extension(&path, &EXTENSIONS) {
                self.n_passed_over += 1;
                self.passed_over.get_or_insert(path);
            } else if is_wanted && !target.is_file() && !target.is_symlink() {
                return Err(DatasetError::NotRegular { path });
            } else if is_wanted {
                self.files.push(path);
            }
        }
        refuse_shared_stems(&self.files[first..])?;
        Ok(folders)
    }
}

/// # Errors
/// [`DatasetError::DuplicateStem`] for two files of one folder.
fn refuse_shared_stems(files: &[PathBuf]) -> Result<(), DatasetError> {
    let mut stems: HashMap<&OsStr, &Path> = HashMap::with_capacity(files.len());
    for path in files {
        if let Some(first) = stems.insert(path.file_stem().unwrap_or_default(), path) {
            return Err(DatasetError::DuplicateStem { first: first.to_owned(), second: path.clone() });
        }
    }
    Ok(())
}

/// The category folders in `folder`, those with one of `parts`; `None` where there is none. What is
/// missing in a category is told when the category is used.
///
/// # Errors
/// [`DatasetError::SharedName`] when the names of two folders read the same.
pub(crate) fn category_folders(folder: &Path, parts: &[&str]) -> Result<Option<Vec<PathBuf>>, DatasetError> {
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
    let is_folder = |(name, kind): (OsString, FileType)| {
        let path = folder.join(name);
        let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        is_folder.then_some(path)
    };
    Ok(entries(folder)?.into_iter().filter_map(is_folder).collect())
}

/// The files directly in `folder` that are not hidden and have one of `extensions`, sorted by name.
pub(crate) fn files_in(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, DatasetError> {
    let paths = entries(folder)?.into_iter().map(|(name, _)| folder.join(name));
    Ok(paths.filter(|path| has_extension(path, extensions) && !path.is_dir()).collect())
}

/// The name of a file or folder, for a person.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file name without its extension, for a person.
pub(crate) fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// True if the name of `path` ends like that of an image: `.png`, `.jpg`, `.jpeg`, `.bmp`, `.tif`,
/// `.tiff`, `.webp`, `.pgm`, `.ppm`, `.pnm` or `.gif`, in upper or lower case.
pub fn has_image_extension(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

/// True when `path`'s extension is one of `extensions`, in upper or lower case.
fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|extension| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The names and types of the entries of `folder` that are not hidden, sorted by name. The type of
/// a link is that of a link.
fn entries(folder: &Path) -> Result<Vec<(OsString, FileType)>, DatasetError> {
    let list = || -> std::io::Result<Vec<(OsString, FileType)>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                entries.push((name, entry.file_type()?));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    };
    list().map_err(|source| DatasetError::ListFolder { folder: folder.to_owned(), source })
}
